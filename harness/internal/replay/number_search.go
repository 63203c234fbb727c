package replay

import (
	"cmp"
	"context"
	"math"
	"slices"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// numberPart is the part of an output that numbers are searched on: some rows of the batch element
// that is most wrong.
type numberPart struct {
	output  Output
	problem *oracle.Problem // of the element, cached
	rows    []int           // of the element
	got     []float64       // in these rows
	sigma   []float64       // of the right result, in these rows
}

func newNumberPart(o Output) *numberPart {
	const wrong, others = 12, 12 // rows
	perElement := o.rows() / o.batches()
	element, first := 0, 0
	z := rowDistances(o.Comparison)
	for b := range o.batches() {
		if num.RMS(z[b*perElement:][:perElement]) > num.RMS(z[first:][:perElement]) {
			element, first = b, b*perElement
		}
	}
	rows := slices.SortedStableFunc(slices.Values(num.UpTo(perElement)), func(a, b int) int {
		return cmp.Compare(z[first+b], z[first+a])
	})
	rows = append(rows[:min(wrong, perElement)], spreadOver(perElement, others)...)
	slices.Sort(rows)
	part := &numberPart{
		output: o, problem: o.Case.Problem.Element(element).Cached(), rows: slices.Compact(rows),
	}
	for _, row := range part.rows {
		at := (first + row) * o.width()
		part.got = append(part.got, o.Got[at:][:o.width()]...)
		part.sigma = append(part.sigma, o.Case.Truth.Sigma[at:][:o.width()]...)
	}
	return part
}

// wholePart returns all rows of the output as a part.
func (p *numberPart) wholePart() *numberPart {
	o := p.output
	return &numberPart{output: o, problem: o.Case.Problem, got: o.Got, sigma: o.Case.Truth.Sigma}
}

// rowDistances returns the root mean square z of each row, at most a large number.
func rowDistances(c compare.Comparison) []float64 {
	const most = 1e9
	width := num.Last(c.WantShape)
	distances := make([]float64, len(c.Z)/width)
	for row := range distances {
		for _, z := range c.Z[row*width:][:width] {
			distances[row] += min(z, most) * min(z, most) / float64(width)
		}
	}
	return distances
}

// numberSearch looks for the value of one number on a part of an output.
type numberSearch struct {
	ctx    context.Context
	part   *numberPart
	number catalogue.Number
	right  float64

	least, most float64 // the range of the number
}

func newNumberSearch(ctx context.Context, part *numberPart, n catalogue.Number, right float64) *numberSearch {
	q := &numberSearch{ctx: ctx, part: part, number: n, right: right}
	q.least, q.most = n.Range(part.output.Case.Problem)
	return q
}

// onWholeCase returns the same search on all rows.
func (q *numberSearch) onWholeCase() *numberSearch {
	other := *q
	other.part = q.part.wholePart()
	return &other
}

// explains compares the output with the whole case computed with a value.
func (q *numberSearch) explains(value float64) (compare.Comparison, bool) {
	p := q.part.output.Case.Problem.Fork()
	q.number.Set(p, value)
	f, err := p.Rows(q.ctx, nil, oracle.WithNoise)
	if err != nil {
		return compare.Comparison{}, false
	}
	c := compare.Outputs(f.Shape, q.part.output.Got, f.Expected())
	return c, c.Explained()
}

// values computes the part with a value.
func (q *numberSearch) values(value float64) ([]float64, bool) {
	p := q.part.problem.Fork()
	q.number.Set(p, value)
	f, err := p.Rows(q.ctx, q.part.rows, oracle.ValuesAlone)
	return f.Value, err == nil
}

// residual returns how far the output is from the computation with a value, in the part.
func (q *numberSearch) residual(value float64) float64 {
	if values, ok := q.values(value); ok {
		return compare.Residual(q.part.got, values)
	}
	return math.Inf(1)
}

// at returns the same distance in units of the right result's noise. The search minimises it.
func (q *numberSearch) at(value float64) float64 {
	values, ok := q.values(value)
	if !ok {
		return math.Inf(1)
	}
	off, noisy := 0.0, 0.0
	for i, v := range values {
		switch g := q.part.got[i]; {
		case math.IsNaN(v) && math.IsNaN(g):
		case math.IsNaN(v-g) || math.IsInf(v-g, 0):
			return math.Inf(1)
		case q.part.sigma[i] > 0:
			d := (v - g) / q.part.sigma[i]
			off, noisy = off+d*d, noisy+1
		}
	}
	return math.Sqrt(off / noisy)
}

// most candidates that are confirmed on the whole case.
const candidates = 3

// candidates returns the values that come nearest to the output in the part, the nearest first.
func (q *numberSearch) candidates() []float64 {
	grid := q.grid()
	offs := make([]float64, len(grid))
	for i, v := range grid {
		offs[i] = q.at(v)
	}
	var found []near
	if q.number.Step > 0 {
		for i, v := range grid {
			found = append(found, near{v, offs[i]})
		}
		return nearest(found)
	}
	for _, i := range minima(offs, candidates) {
		if math.IsInf(offs[i], 1) {
			break
		}
		least, most := grid[max(0, i-1)], grid[min(len(grid)-1, i+1)]
		best := q.golden(least, most, 25)
		if offs[i] < best.off {
			best = near{grid[i], offs[i]}
		}
		found = append(found, best)
	}
	values := nearest(found)
	for i, v := range values {
		if q.residual(v) <= compare.MaxResidual {
			values[i] = q.polished(v)
		}
	}
	return values
}

// near is a value, and how far the output is from the computation with it.
type near struct{ value, off float64 }

// nearest returns the values that come nearest, the nearest first.
func nearest(found []near) []float64 {
	slices.SortStableFunc(found, func(a, b near) int { return cmp.Compare(a.off, b.off) })
	var values []float64
	for _, n := range found[:min(candidates, len(found))] {
		values = append(values, n.value)
	}
	return values
}

// coordinate returns what is searched on an even scale: the logarithm of a value, unless the number
// is added.
func (q *numberSearch) coordinate(value float64) float64 {
	if q.number.Added {
		return value
	}
	return math.Log(value)
}

func (q *numberSearch) valueAt(coordinate float64) float64 {
	if q.number.Added {
		return coordinate
	}
	return math.Exp(coordinate)
}

// grid returns the values that are tried first, in order.
func (q *numberSearch) grid() []float64 {
	var grid []float64
	if step := float64(q.number.Step); step > 0 {
		for v := q.least; v <= q.most; v += step {
			if v != q.right {
				grid = append(grid, v)
			}
		}
		return grid
	}
	step := math.Ln2 / 2
	switch {
	case q.number.Added:
		step = 1
	case q.number.Periodic:
		step = math.Log(1.1)
	}
	from, to := q.coordinate(q.least), q.coordinate(q.most)
	for x := from; x < to; x += step {
		grid = append(grid, q.valueAt(x))
	}
	grid = append(append(grid, q.most), q.number.Usual...)
	slices.Sort(grid)
	return slices.Compact(grid)
}

// minima returns the indices of the local minima of a list, the least first. It returns at most the
// given number of them.
func minima(list []float64, most int) []int {
	var found []int
	for i, v := range list {
		if (i == 0 || v <= list[i-1]) && (i == len(list)-1 || v <= list[i+1]) {
			found = append(found, i)
		}
	}
	slices.SortStableFunc(found, func(a, b int) int { return cmp.Compare(list[a], list[b]) })
	return found[:min(most, len(found))]
}

// polished returns a value near the given one that comes nearest to the output.
func (q *numberSearch) polished(value float64) float64 {
	const reach, steps = 1e-4, 40
	x := q.coordinate(value)
	best := q.golden(q.valueAt(x-reach), q.valueAt(x+reach), steps)
	if q.at(value) <= best.off {
		return value
	}
	return best.value
}

// golden finds the minimum between two values by golden section.
func (q *numberSearch) golden(least, most float64, steps int) near {
	const shrink = 0.6180339887498949
	a, b := q.coordinate(least), q.coordinate(most)
	x, y := b-shrink*(b-a), a+shrink*(b-a)
	fx, fy := q.at(q.valueAt(x)), q.at(q.valueAt(y))
	for range steps {
		if fx < fy {
			b, y, fy = y, x, fx
			x = b - shrink*(b-a)
			fx = q.at(q.valueAt(x))
		} else {
			a, x, fx = x, y, fy
			y = a + shrink*(b-a)
			fy = q.at(q.valueAt(y))
		}
	}
	if fx < fy {
		return near{q.valueAt(x), fx}
	}
	return near{q.valueAt(y), fy}
}
