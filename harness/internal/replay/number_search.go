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

// numberPart is the part of an output that numbers are searched on: some rows.
type numberPart struct {
	output  Output
	problem *oracle.Problem // the rows are its; cached
	rows    []int           // nil: all rows
	got     []float64       // in these rows
	sigma   []float64       // of the right result, in these rows
}

// newNumberPart takes the rows that are most wrong, and others of all batch elements and heads: a
// row may see too few keys to tell two values apart.
func newNumberPart(o Output) *numberPart {
	const wrong, others = 8, 16
	z := rowDistances(o.Comparison)
	rows := slices.SortedStableFunc(slices.Values(num.UpTo(len(z))), func(a, b int) int {
		return cmp.Compare(z[b], z[a])
	})
	rows = append(rows[:min(wrong, len(z))], spreadOver(len(z), others)...)
	slices.Sort(rows)
	rows = slices.Compact(rows)
	return &numberPart{
		output: o, problem: o.Case.Problem, rows: rows,
		got: rowsOf(o.Got, rows, o.width()), sigma: rowsOf(o.Case.Truth.Sigma, rows, o.width()),
	}
}

// rowDistances returns the sum of the squared z of each row. A z counts at most a large number.
func rowDistances(c compare.Comparison) []float64 {
	const most = 1e9
	width := num.Last(c.WantShape)
	distances := make([]float64, len(c.Z)/width)
	for i, z := range c.Z {
		distances[i/width] += min(z, most) * min(z, most)
	}
	return distances
}

// numberSearch looks for the value of one number on a part of an output.
type numberSearch struct {
	ctx    context.Context
	part   *numberPart
	number catalogue.Number
	right  float64

	whole *oracle.Problem     // of all rows, with all that is wrong but the number; cached
	with  []catalogue.Mistake // the mistakes in it

	least, most float64 // the range of the number
}

func newNumberSearch(ctx context.Context, part *numberPart, n catalogue.Number, right float64) *numberSearch {
	q := &numberSearch{ctx: ctx, part: part, number: n, right: right, whole: part.output.Case.Problem}
	q.least, q.most = n.Range(part.output.Case.Problem)
	return q
}

// onWholeCase returns the same search on all rows.
func (q *numberSearch) onWholeCase() *numberSearch {
	other, o := *q, q.part.output
	other.part = &numberPart{output: o, problem: q.whole, got: o.Got, sigma: o.Case.Truth.Sigma}
	return &other
}

// explains compares the output with the whole case computed with a value; of a large case, with the
// rows of the search.
func (q *numberSearch) explains(value float64) (compare.Comparison, bool) {
	if q.part.output.Sampled.Partial() {
		return q.compared(value, q.part.rows)
	}
	return q.compared(value, nil)
}

// compared computes some rows with a value, and compares the output's rows with them. nil means all
// rows.
func (q *numberSearch) compared(value float64, rows []int) (compare.Comparison, bool) {
	p, o := q.whole.Fork(), q.part.output
	q.number.Set(p, value)
	f, err := p.Rows(q.ctx, rows, oracle.WithNoise)
	if err != nil {
		return compare.Comparison{}, false
	}
	c := compare.Outputs(f.Shape, rowsOf(o.Got, rows, o.width()), f.Expected())
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
	return inNoise(q.part.got, values, q.part.sigma)
}

// candidates is how many values, at most, are compared with the whole case.
const candidates = 3

// candidates returns the values that come nearest to the output in the part, the nearest first.
func (q *numberSearch) candidates() []float64 {
	grid := q.grid()
	var tried []near
	for _, v := range grid {
		tried = append(tried, near{v, q.at(v)})
	}
	if q.number.Step > 0 {
		return nearest(q.refined(tried))
	}
	var found []near
	for _, i := range minima(tried, candidates) {
		if !math.IsInf(tried[i].off, 1) {
			found = append(found, q.deepest(tried, i))
		}
	}
	return nearest(found)
}

// refined adds to the values of a coarse grid all whole numbers around the nearest of them.
func (q *numberSearch) refined(tried []near) []near {
	if len(tried) == 0 {
		return tried
	}
	i, step := lowest(tried), float64(q.number.Step)
	before, after := neighbours(tried, i)
	for v := before.value + step; v < after.value; v += step {
		if v != tried[i].value && v != q.right {
			tried = append(tried, near{v, q.at(v)})
		}
	}
	return tried
}

// deepest returns the value that comes nearest to the output around a minimum of the grid. A number
// that is added may come near on either side of it: a softcap bends scores of both signs alike.
func (q *numberSearch) deepest(tried []near, i int) near {
	at := tried[i]
	before, after := neighbours(tried, i)
	edge := min(before.off, after.off)
	if !q.number.Added {
		return q.deepestIn(bracket{before.value, after.value}, at, edge)
	}
	below := q.deepestIn(bracket{before.value, at.value}, at, edge)
	return nearer(below, q.deepestIn(bracket{at.value, after.value}, at, edge))
}

// deepestIn returns the value that comes nearest in an interval around a value of the grid, or at
// its side. It stops early where the distance does not fall as it does towards an explanation. edge
// is the distance at the nearer neighbour on the grid.
func (q *numberSearch) deepestIn(in bracket, at near, edge float64) near {
	const coarse, fine = 10, 18 // steps
	const falls = 0.1           // of the distance at the edge, in a fiftieth of the interval
	const close = 3000          // in units of the noise
	best, b := q.golden(in, coarse)
	best = nearer(best, at)
	if best.off > falls*edge && best.off != edge {
		return best
	}
	fineBest, _ := q.golden(b, fine)
	if best = nearer(fineBest, best); best.off > close {
		return best
	}
	return q.polished(best)
}

// near is a value, and how far the output is from the computation with it.
type near struct{ value, off float64 }

// nearer returns the nearer of two values, the first if they are equal.
func nearer(a, b near) near {
	if b.off < a.off {
		return b
	}
	return a
}

// nearest returns the values that come nearest, the nearest first.
func nearest(found []near) []float64 {
	slices.SortStableFunc(found, func(a, b near) int { return cmp.Compare(a.off, b.off) })
	var values []float64
	for _, n := range found[:min(candidates, len(found))] {
		values = append(values, n.value)
	}
	return values
}

// coordinate returns the logarithm of a value, or the value itself if the number is added. The
// search takes even steps of it.
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
		const side, most = 16, 64 // values on each side of the right one, and about so many in all
		stride := step * math.Ceil((q.most-q.least)/step/most)
		for v := q.least; v <= q.most; v += step {
			close := math.Abs(v-q.right) <= side*step
			if v != q.right && (close || math.Mod(v-q.least, stride) == 0) {
				grid = append(grid, v)
			}
		}
		return grid
	}
	step := 2 * math.Ln2
	switch {
	case q.number.Added:
		step = 3
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

// neighbours returns the values before and behind one of a list, or the value itself at an end.
func neighbours(list []near, i int) (before, after near) {
	return list[max(0, i-1)], list[min(len(list)-1, i+1)]
}

// lowest returns the index of the nearest value of a list, of equals the first.
func lowest(list []near) int {
	best := 0
	for i, v := range list {
		if v.off < list[best].off {
			best = i
		}
	}
	return best
}

// minima returns the indices of the local minima of a list, the least first. It returns at most the
// given number of them.
func minima(list []near, most int) []int {
	var found []int
	for i, v := range list {
		if (i == 0 || v.off <= list[i-1].off) && (i == len(list)-1 || v.off <= list[i+1].off) {
			found = append(found, i)
		}
	}
	slices.SortStableFunc(found, func(a, b int) int { return cmp.Compare(list[a].off, list[b].off) })
	return found[:min(most, len(found))]
}

// polished returns a value near the given one that comes nearest to the output.
func (q *numberSearch) polished(start near) near {
	const reach, steps = 1e-4, 40
	x := q.coordinate(start.value)
	best, _ := q.golden(bracket{q.valueAt(x - reach), q.valueAt(x + reach)}, steps)
	return nearer(start, best)
}

// bracket is an interval that holds a minimum.
type bracket struct{ least, most float64 }

// golden finds the minimum in an interval by golden section. It also returns the interval that is
// left.
func (q *numberSearch) golden(in bracket, steps int) (near, bracket) {
	const shrink = 0.6180339887498949
	a, b := q.coordinate(in.least), q.coordinate(in.most)
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
	return nearer(near{q.valueAt(x), fx}, near{q.valueAt(y), fy}), bracket{q.valueAt(a), q.valueAt(b)}
}
