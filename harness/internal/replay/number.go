package replay

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// NumberMatch is a number of the configuration with another value that gives the output, to
// rounding.
type NumberMatch struct {
	Number   catalogue.Number
	Value    float64 // in the output
	Right    float64 // in the case
	Residual float64 // RMS(got - replay) / RMS(replay)
	MaxZ     float64 // of got - replay, in units of the replay's sigma
	Next     float64 // residual of the nearest other explanation; infinite without any

	// Least and Most bound the values that explain the output as well.
	Least, Most float64
}

// String says which value the number has in the output, and which in the case.
func (m NumberMatch) String() string {
	return fmt.Sprintf("the %s is %.6g, the case says %.6g", m.Number.Title, m.Value, m.Right)
}

// Title follows "computed with": "the RoPE base 1e+06 instead of 10000".
func (m NumberMatch) Title() string {
	return fmt.Sprintf("the %s %.6g instead of %.6g", m.Number.Title, m.Value, m.Right)
}

// Allows reports whether a value explains the output as well, within a part in a million.
func (m NumberMatch) Allows(value float64) bool {
	const slack = 1e-6
	return m.Least*(1-slack) <= value && value <= m.Most*(1+slack)
}

// Label names the number and its value: "rope-base 1e+06".
func (m NumberMatch) Label() string { return fmt.Sprintf("%s %.6g", m.Number.ID, m.Value) }

// FindNumbers looks for numbers of the configuration that give the output with another value. It
// returns several if the case cannot tell them apart.
func FindNumbers(ctx context.Context, o Output) ([]NumberMatch, Cut) {
	wrong := num.Where(o.Comparison.WrongRows())
	if len(wrong) == 0 || o.Comparison.NonFinite > 0 || !o.PairsAffordable() {
		return nil, ""
	}
	s := newSearch()
	var found []NumberMatch
	for _, n := range catalogue.Numbers {
		right, ok := n.Get(o.Case.Problem)
		if !ok {
			continue
		}
		if ctx.Err() != nil {
			return nil, "no number of the configuration was searched, and no two mistakes at once"
		}
		q := newNumberSearch(ctx, o, n, right, wrong)
		value, off := q.best()
		if !(off <= compare.MaxResidual) {
			s.miss(off)
			continue
		}
		if m, ok := q.confirm(s, value); ok {
			found = append(found, m)
		}
	}
	for i := range found {
		found[i].Next = s.next
		if s.next/found[i].Residual < compare.MinMargin {
			return nil, ""
		}
	}
	return found, ""
}

// numberSearch looks for the value of one number, on a batch element that is wrong.
type numberSearch struct {
	ctx    context.Context
	output Output
	number catalogue.Number
	right  float64

	element *oracle.Problem // cached
	got     []float64       // of the element
	rows    []int           // some wrong rows of the element, and some right ones
	few     []float64       // got in these rows
}

func newNumberSearch(ctx context.Context, o Output, n catalogue.Number, right float64, wrong []int) *numberSearch {
	perElement := len(o.Got) / o.width() / o.Comparison.WantShape[0]
	element := wrong[0] / perElement
	q := &numberSearch{
		ctx: ctx, output: o, number: n, right: right,
		element: o.Case.Problem.Element(element).Cached(),
		got:     o.Got[element*perElement*o.width():][:perElement*o.width()],
	}
	const few = 12
	q.rows = spreadOver(perElement, few)
	for _, row := range wrong {
		if row/perElement == element && len(q.rows) < 2*few {
			q.rows = append(q.rows, row%perElement)
		}
	}
	slices.Sort(q.rows)
	q.rows = slices.Compact(q.rows)
	q.few = rowsOf(q.got, q.rows, o.width())
	return q
}

// at returns how far the output is from the computation with a value, in the rows of the search.
func (q *numberSearch) at(value float64) float64 {
	p := q.element.Fork()
	q.number.Set(p, value)
	f, err := p.Rows(q.ctx, q.rows, oracle.ValuesAlone)
	if err != nil {
		return math.Inf(1)
	}
	if off := compare.Residual(q.few, f.Value); !math.IsNaN(off) {
		return off
	}
	return math.Inf(1)
}

// best returns the value that comes nearest, and its distance.
func (q *numberSearch) best() (value, off float64) {
	grid := q.grid()
	offs := make([]float64, len(grid))
	for i, v := range grid {
		offs[i] = q.at(v)
	}
	if len(grid) == 0 {
		return math.NaN(), math.Inf(1)
	}
	if q.number.Step > 0 {
		i := slices.Index(offs, slices.Min(offs))
		return grid[i], offs[i]
	}
	value, off = math.NaN(), math.Inf(1)
	for _, i := range minima(offs, 3) {
		least, most := grid[max(0, i-1)], grid[min(len(grid)-1, i+1)]
		if v, d := q.golden(least, most); d < off {
			value, off = v, d
		}
		if offs[i] <= off {
			value, off = grid[i], offs[i]
		}
	}
	return value, off
}

// grid returns the values that are tried first, in order.
func (q *numberSearch) grid() []float64 {
	var grid []float64
	if step := q.number.Step; step > 0 {
		for v := step; v <= q.number.Most(q.output.Case.Problem); v += step {
			if float64(v) != q.right {
				grid = append(grid, float64(v))
			}
		}
		return grid
	}
	ratio, reach := math.Sqrt2, 1e5
	if q.number.Periodic {
		ratio, reach = 1.1, 64
	}
	for v := q.right / reach; v <= q.right*reach; v *= ratio {
		grid = append(grid, v)
	}
	grid = append(grid, q.number.Usual...)
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

// golden finds the minimum between two values by golden section in the logarithm.
func (q *numberSearch) golden(least, most float64) (value, off float64) {
	const steps = 60
	const shrink = 0.6180339887498949
	a, b := math.Log(least), math.Log(most)
	x, y := b-shrink*(b-a), a+shrink*(b-a)
	fx, fy := q.at(math.Exp(x)), q.at(math.Exp(y))
	for range steps {
		if fx < fy {
			b, y, fy = y, x, fx
			x = b - shrink*(b-a)
			fx = q.at(math.Exp(x))
		} else {
			a, x, fx = x, y, fy
			y = a + shrink*(b-a)
			fy = q.at(math.Exp(y))
		}
	}
	if fx < fy {
		return math.Exp(x), fx
	}
	return math.Exp(y), fy
}

// confirm computes the whole case with a value and its noise. It reports false if the output is
// not explained, or if the case's own number explains it as well.
func (q *numberSearch) confirm(s *search, value float64) (NumberMatch, bool) {
	c, ok := q.whole(value)
	if !ok {
		if c.NonFinite == 0 {
			s.miss(c.Rel)
		}
		return NumberMatch{}, false
	}
	m := NumberMatch{Number: q.number, Value: value, Right: q.right, Least: value, Most: value}
	if q.number.Step == 0 {
		m.Least, m.Most = q.bound(value, -1), q.bound(value, 1)
		if m.Least <= q.right && q.right <= m.Most {
			return NumberMatch{}, false
		}
		m.Value = roundest(q.number.Usual, m)
		if m.Value != value {
			if c, ok = q.whole(m.Value); !ok {
				m.Value = value
				c, _ = q.whole(value)
			}
		}
	}
	m.Residual, m.MaxZ = c.Rel, c.MaxZ
	return m, true
}

// whole compares the output with the whole case computed with a value.
func (q *numberSearch) whole(value float64) (compare.Comparison, bool) {
	p := q.output.Case.Problem.Fork()
	q.number.Set(p, value)
	f, err := p.Rows(q.ctx, nil, oracle.WithNoise)
	if err != nil {
		return compare.Comparison{}, false
	}
	c := compare.Outputs(f.Shape, q.output.Got, f.Expected())
	return c, c.Explained()
}

// bound returns the last value, downwards or upwards, that still explains the output.
func (q *numberSearch) bound(value float64, direction float64) float64 {
	const widest, steps = 1.0, 24 // of the logarithm
	explains := func(distance float64) bool {
		_, ok := q.whole(value * math.Exp(direction*distance))
		return ok
	}
	if explains(widest) {
		return value * math.Exp(direction*widest)
	}
	in, out := 0.0, widest
	for range steps {
		middle := (in + out) / 2
		if in == 0 && out > 1e-9 {
			middle = out / 8
		}
		if explains(middle) {
			in = middle
		} else {
			out = middle
		}
	}
	return value * math.Exp(direction*in)
}

// roundest returns a usual value between the bounds of a match, or otherwise the value with the
// fewest digits there.
func roundest(usual []float64, m NumberMatch) float64 {
	for _, v := range usual {
		if m.Least <= v && v <= m.Most {
			return v
		}
	}
	for digits := range 15 {
		if v := roundTo(m.Value, digits+1); m.Least <= v && v <= m.Most {
			return v
		}
	}
	return m.Value
}

// roundTo rounds a value to a number of significant digits.
func roundTo(value float64, digits int) float64 {
	scale := math.Pow(10, float64(digits)-1-math.Floor(math.Log10(math.Abs(value))))
	return math.Round(value*scale) / scale
}
