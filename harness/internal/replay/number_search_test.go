package replay

import (
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// ofScale searches for the scale of two keys' scores. The second value alone is not zero, so that
// the output is the sigmoid of twice the scale.
func ofScale(t *testing.T, right, wrong float64, n catalogue.Number) *numberSearch {
	t.Helper()
	array := func(v ...float64) oracle.Array { return oracle.Array{Shape: []int{1, 1, len(v), 1}, Value: v} }
	p := &oracle.Problem{
		Query: array(1), Key: array(0, 2), Value: array(0, 1), Scale: right, EmptyRow: attention.EmptyZero,
	}
	got := []float64{1 / (1 + math.Exp(-2*wrong))}
	o := against(t, caseOf(p), got)
	n.Set = func(p *oracle.Problem, v float64) { p.Scale = v }
	return &numberSearch{
		ctx: t.Context(), number: n, right: right, least: 0.01, most: 64, whole: p,
		part: &numberPart{output: o, problem: p, got: got, sigma: o.Case.Truth.Sigma},
	}
}

// The values that are tried first: whole numbers near the right one and some others, doublings
// twice, steps of a tenth for numbers with several minima, and even steps for numbers that are
// added.
func TestFirstValuesOfANumber(t *testing.T) {
	grid := func(n catalogue.Number, least, most, right float64) []float64 {
		q := &numberSearch{number: n, least: least, most: most, right: right}
		return q.grid()
	}
	require.Equal(t, []float64{1, 2, 4, 5}, grid(catalogue.Number{Step: 1}, 1, 5, 3))
	require.Equal(t, []float64{2, 4, 8}, grid(catalogue.Number{Step: 2}, 2, 8, 6))
	many := grid(catalogue.Number{Step: 1}, 1, 1000, 500)
	// every sixteenth from 1 to 993, and 484 to 516 without 500; 497 and 513 are both
	require.Len(t, many, 63+32-2)
	require.Equal(t, []float64{1, 17, 33}, many[:3])
	require.Contains(t, many, 484.0)
	require.Contains(t, many, 516.0)
	require.NotContains(t, many, 483.0)
	require.NotContains(t, many, 500.0)

	// every 17th from 1 to 1038, and 484 to 516 without 500; 494 and 511 are both
	require.Len(t, grid(catalogue.Number{Step: 1}, 1, 1041, 500), 62+32-2)
	// every 32nd from 2 to 2050, and even ones from 968 to 1032 without 1000; 994 and 1026 are both
	require.Len(t, grid(catalogue.Number{Step: 2}, 2, 2050, 1000), 65+32-2)

	require.InDeltaSlice(t, []float64{1, 4, 16, 20}, grid(catalogue.Number{}, 1, 20, 3), 1e-9)
	require.InDeltaSlice(t, []float64{1, 1.1, 1.21, 1.3}, grid(catalogue.Number{Periodic: true}, 1, 1.3, 3), 1e-9)
	added := catalogue.Number{Added: true, Usual: []float64{0.5, 4}}
	require.InDeltaSlice(t, []float64{-4, -1, 0.5, 2, 4}, grid(added, -4, 4, 0), 1e-9)
	q := &numberSearch{}
	require.InDelta(t, math.Log(5), q.coordinate(5), 1e-15)
	require.InDelta(t, 5, q.valueAt(q.coordinate(5)), 1e-12)
	q.number.Added = true
	require.Equal(t, []float64{-5, -5}, []float64{q.coordinate(-5), q.valueAt(-5)})
}

// The local minima of a list, the least first.
func TestMinima(t *testing.T) {
	of := func(most int, off ...float64) []int {
		var list []near
		for i, v := range off {
			list = append(list, near{float64(i), v})
		}
		return minima(list, most)
	}
	require.Equal(t, []int{3, 0, 5}, of(9, 2, 4, 3, 1, 5, 3))
	require.Equal(t, []int{3, 0}, of(2, 2, 4, 3, 1, 5, 3))
	require.Equal(t, []int{1, 2}, of(9, 2, 1, 1, 2), "equal neighbours")
	require.Equal(t, []int{2}, of(9, 3, 2, 1))
	require.Equal(t, []int{0}, of(9, 1, 2, 3))
	require.Empty(t, of(9))
	list := []near{{1, 5}, {2, 3}, {3, 3}, {4, 9}}
	require.Equal(t, 1, lowest(list), "the first of equals")
	require.Equal(t, 0, lowest(list[:1]))
	for i, want := range [][2]near{{list[0], list[1]}, {list[0], list[2]}, {list[1], list[3]}, {list[2], list[3]}} {
		before, after := neighbours(list, i)
		require.Equal(t, want, [2]near{before, after})
	}
	require.Equal(t, near{1, 2}, nearer(near{1, 2}, near{3, 2}), "the first of equals")
	require.Equal(t, near{3, 1}, nearer(near{1, 2}, near{3, 1}))
	require.Equal(t, []float64{4, 1, 3}, nearest([]near{{1, 2}, {2, 9}, {3, 5}, {4, 0}}))
}

// Rounding to significant digits, and the roundest value that explains the output.
func TestRoundestValue(t *testing.T) {
	for _, tc := range []struct {
		value  float64
		digits int
		want   float64
	}{{1234, 2, 1200}, {-0.0567, 1, -0.06}, {9.96, 2, 10}, {1000, 1, 1000}, {0, 3, 0}, {0.125, 3, 0.125}} {
		require.InDelta(t, tc.want, roundTo(tc.value, tc.digits), 1e-12)
	}
	m := NumberMatch{Value: 1.2345, Least: 1.2, Most: 1.26}
	require.InDelta(t, 1.2, roundest(nil, m), 1e-12)
	m.Most = 1.23
	m.Least = 1.21
	require.InDelta(t, 1.23, roundest(nil, m), 0, "a bound")
	m.Most = 1.26
	require.InDelta(t, 1.23, roundest([]float64{1.2, 1.27}, m), 1e-12)
	require.InDelta(t, 1.26, roundest([]float64{1.2, 1.26, 1.23}, m), 1e-12)
	require.InDelta(t, 1.21, roundest([]float64{1.21}, m), 1e-12)
	require.InDelta(t, 2, roundest(nil, NumberMatch{Value: 1.9, Least: 1.5, Most: 2.5}), 0, "one digit")
	require.InDelta(t, 0.3, roundest(nil, NumberMatch{Value: 0.3, Least: -1, Most: 1}), 0, "at least one digit")
	const long, half = 1.234567890123449, 2e-15
	require.InDelta(t, 1.23456789012345, roundest(nil, NumberMatch{Value: long, Least: long - half, Most: long + half}), 3e-16,
		"fifteen digits")
	const longer, tiny = 0.12345678901234562, 4e-17
	require.InDelta(t, longer, roundest(nil, NumberMatch{Value: longer, Least: longer - tiny, Most: longer + tiny}), 0,
		"no more digits")
}

// A scale is found from the output alone, with its bounds.
func TestSearchForAScale(t *testing.T) {
	const wrong = 0.8
	q := ofScale(t, 0.3, wrong, catalogue.Number{})
	require.Zero(t, ofScale(t, wrong, wrong, catalogue.Number{}).at(wrong))
	require.InDelta(t, 0, q.residual(wrong), 1e-15)
	require.InDelta(t, (1/(1+math.Exp(-0.6))-q.part.got[0])/(-1/(1+math.Exp(-0.6))), q.residual(0.3), 1e-12)
	found := q.candidates()
	require.InDelta(t, wrong, found[0], 1e-6)
	best, left := q.golden(bracket{0.5, 1.5}, 30)
	require.InDelta(t, wrong, best.value, 1e-5)
	require.InDelta(t, wrong, left.least, 1e-5)
	require.InDelta(t, wrong, left.most, 1e-5)
	require.Less(t, left.least, left.most)
	_, left = q.golden(bracket{0.5, 1.5}, 1)
	require.InDelta(t, 0.618, math.Log(left.most/left.least)/math.Log(3), 1e-3, "a step leaves the golden section")
	require.InDelta(t, wrong, q.polished(near{wrong * (1 + 5e-5), 1}).value, 1e-8)
	require.InDelta(t, 0.9, q.polished(near{0.9, 0}).value, 0, "nothing nearby is nearer")

	_, ok := q.explains(wrong)
	require.True(t, ok)
	for direction, end := range map[float64]float64{1: 64, -1: 0.3} {
		last, open := q.bound(wrong, direction)
		require.True(t, open)
		require.Positive(t, (last-wrong)*direction)
		_, ok = q.explains(last)
		require.True(t, ok)
		beyond := q.valueAt(q.coordinate(wrong) + 1.01*(q.coordinate(last)-q.coordinate(wrong)))
		_, ok = q.explains(beyond)
		require.False(t, ok, "%g towards %g", direction, end)
	}
	q.most = wrong * (1 + 1e-12)
	_, ok = q.bound(wrong, 1)
	require.False(t, ok, "the end explains the output, too")
}

// recorded lists the values that a search tries from now on.
func recorded(q *numberSearch) *[]float64 {
	tried, set := &[]float64{}, q.number.Set
	q.number.Set = func(p *oracle.Problem, v float64) {
		*tried = append(*tried, v)
		set(p, v)
	}
	return tried
}

// The sections of an interval from 0 to 1 around 0.8, by hand.
func TestGoldenSections(t *testing.T) {
	q := ofScale(t, 0.3, 0.8, catalogue.Number{Added: true})
	tried := recorded(q)
	best, left := q.golden(bracket{0, 1}, 3)
	require.InDeltaSlice(t, []float64{0.381966, 0.618034, 0.763932, 0.854102, 0.708204}, *tried, 1e-6)
	require.InDelta(t, 0.763932, best.value, 1e-6)
	require.InDelta(t, q.at(best.value), best.off, 0)
	require.InDeltaSlice(t, []float64{0.618034, 0.854102}, []float64{left.least, left.most}, 1e-6)
	best, _ = q.golden(bracket{0, 1}, 0)
	require.InDelta(t, 0.618034, best.value, 1e-6, "the nearer of both")
	best, _ = q.golden(bracket{0.6, 1.6}, 0)
	require.InDelta(t, 0.981966, best.value, 1e-6)
	q = ofScale(t, 0.3, 40, catalogue.Number{Added: true}) // all outputs from 20 on are equal
	_, left = q.golden(bracket{30, 40}, 1)
	require.InDeltaSlice(t, []float64{33.81966, 40}, []float64{left.least, left.most}, 1e-5)

	q = ofScale(t, 0.3, 0.8, catalogue.Number{Added: true})
	tried = recorded(q)
	q.polished(near{0.9, math.Inf(1)})
	require.Len(t, *tried, 2+40)
	require.InDeltaSlice(t, []float64{0.9 - 0.236068e-4, 0.9 + 0.236068e-4}, (*tried)[:2], 1e-10)
	for _, v := range *tried {
		require.InDelta(t, 0.9, v, 1e-4)
	}
}

// A search looks closer where the first ten sections come ten times as near as the neighbour on the
// grid, or no nearer than the neighbour. After eighteen more it polishes what is within 3000 times
// the noise.
func TestHowFarASearchLooks(t *testing.T) {
	const coarse, fine, polish = 2 + 10, 2 + 18, 2 + 40
	in, none, exact := bracket{0.5, 0.7}, near{0.6, math.Inf(1)}, near{0.6, 0}
	count := func(distance float64, edge func(off float64) float64) int {
		q := ofScale(t, 0.3, 0.8, catalogue.Number{Added: true})
		// Nothing in the interval comes nearer than its end.
		end, _ := q.values(in.most)
		q.part.sigma = []float64{(q.part.got[0] - end[0]) / distance}
		best, _ := q.golden(in, 10)
		tried := recorded(q)
		q.deepestIn(in, none, edge(best.off))
		return len(*tried)
	}
	const near, far = 2999.5, 3000.5
	require.Equal(t, coarse, count(near, func(off float64) float64 { return 9.9 * off }))
	require.Equal(t, coarse+fine+polish, count(near, func(off float64) float64 { return 10.1 * off }))
	require.Equal(t, coarse+fine+polish, count(near, func(off float64) float64 { return off }))
	require.Equal(t, coarse+fine, count(far, func(off float64) float64 { return off }))
	q := ofScale(t, 0.3, 0.8, catalogue.Number{Added: true})
	require.Equal(t, exact, q.deepestIn(in, exact, 1e9))
}

// The value at the limit of the residual is polished, and a value of the part at the limit is
// confirmed.
func TestAResidualAtTheLimit(t *testing.T) {
	q := ofScale(t, 0.3, 0.8, catalogue.Number{Added: true})
	value, residual := 0.7, 0.0
	for residual != compare.MaxResidual {
		value += 0.001
		values, _ := q.values(value)
		q.part.got[0] = values[0] * 1.05
		residual = compare.Residual(q.part.got, values)
	}
	require.Less(t, value, 0.8)
	q.part.output.Got = q.part.got
	tried := recorded(q)
	_, ok := q.confirm(newSearch(), value)
	require.False(t, ok)
	require.Len(t, *tried, 1+2+40+1)
	q.number.Added, q.number.Step, q.least, q.most = false, 1, value, value
	*tried = nil
	q.find(newSearch())
	require.Equal(t, []float64{value, value, value}, *tried, "in the grid, its residual, and the whole case")
	*tried = nil
	q.findNear(newSearch())
	require.Equal(t, []float64{value, value, value}, *tried)
}

// The bound of a value on the way to an end: steps of eight times as much from a part in 10^10 on,
// and twelve halvings.
func TestStepsToABoundary(t *testing.T) {
	q := ofScale(t, 0.3, 0.8, catalogue.Number{Added: true})
	tried := recorded(q)
	holds := func(v float64) bool {
		p := q.whole.Fork()
		p.Scale = v
		f := p.Run()
		return compare.Outputs(f.Shape, q.part.got, f.Expected()).Explained()
	}
	for _, end := range []float64{2.8, -1.2, 1e9} { // the first step to 1e9 is too long
		*tried = nil
		part, in, out := 1e-10, 0.0, 0.0
		var want []float64
		for out == 0 {
			v := 0.8 + part*(end-0.8)
			want = append(want, v)
			if holds(v) {
				in, part = part, 8*part
			} else {
				out = part
			}
		}
		for range 12 {
			middle := (in + out) / 2
			v := 0.8 + middle*(end-0.8)
			want = append(want, v)
			if holds(v) {
				in = middle
			} else {
				out = middle
			}
		}
		require.InDelta(t, 0.8+in*(end-0.8), q.boundary(0.8, end), 1e-15)
		require.InDeltaSlice(t, want, *tried, 1e-15)
	}

	// Of a wide bound, the last step ends at the end.
	q = ofScale(t, 0.3, 40, catalogue.Number{Added: true})
	low := 20.0
	for holds(low) {
		low -= 1. / 256
	}
	end := low - 0.5
	tried = recorded(q)
	require.InDelta(t, low, q.boundary(40, end), 1./128)
	require.InDelta(t, 40+(1+0.8589934592)/2*(end-40), (*tried)[12], 1e-9)
}

// A value that explains the output is confirmed as it stands. Another value near it is improved
// first, unless the case is large.
func TestConfirmWhatHolds(t *testing.T) {
	q := ofScale(t, 0.3, 0.8, catalogue.Number{Added: true})
	tried := recorded(q)
	_, ok := q.confirm(newSearch(), 0.8)
	require.True(t, ok)
	require.InDeltaSlice(t, []float64{0.8, 0.8 - 1e-10*0.5, 0.8 - 8e-10*0.5}, (*tried)[:3], 1e-12)
	*tried = nil
	_, ok = q.confirm(newSearch(), 0.9)
	require.False(t, ok)
	require.Len(t, *tried, 1+2+40+1)
	*tried = nil
	q.part.output.Sampled.Rows = []int{0}
	s := newSearch()
	_, ok = q.confirm(s, 0.9)
	require.False(t, ok)
	require.Equal(t, []float64{0.9}, *tried)
	require.InDelta(t, q.residual(0.9), s.next, 1e-12)
}

// Whole numbers have the neighbours for bounds that explain nothing, or the right value.
func TestBoundsOfWholeNumbers(t *testing.T) {
	q := ofScale(t, 30, 40, catalogue.Number{Step: 1}) // from 20 on the output is 1 in float64
	last, ok := q.bound(40, -1)
	require.True(t, ok)
	require.InDelta(t, 31, last, 0, "the right value is the end")
	last, _ = q.bound(40, 1)
	require.InDelta(t, 64, last, 0)
	q.least, q.most = 38, 42
	last, _ = q.bound(40, -1)
	require.InDelta(t, 38, last, 0)
	last, _ = q.bound(40, 1)
	require.InDelta(t, 42, last, 0)
	q = ofScale(t, 1, 3, catalogue.Number{Step: 1})
	for _, direction := range []float64{-1, 1} {
		last, _ = q.bound(3, direction)
		require.InDelta(t, 3, last, 0)
	}
	q.least, q.most = 1, 12
	tried := []near{{1, 9}, {5, 2}, {9, 4}}
	var values []float64
	for _, n := range q.refined(tried) {
		values = append(values, n.value)
	}
	require.Equal(t, []float64{1, 5, 9, 2, 3, 4, 6, 7, 8}, values)
	require.InDelta(t, 3, q.candidates()[0], 0)
	q.right = 6
	require.Len(t, q.refined(tried), 8, "without the right value")
	require.Empty(t, q.refined(nil))

	q = ofScale(t, 30, 40, catalogue.Number{Step: 2})
	q.least, q.most = 36, 44
	last, _ = q.bound(40, -1)
	require.InDelta(t, 36, last, 0)
	last, _ = q.bound(40, 1)
	require.InDelta(t, 44, last, 0)
}

// Rows are ranked by their squared distances. One that is not finite counts as a large number.
func TestRowDistances(t *testing.T) {
	c := compare.Comparison{WantShape: []int{2, 2}, Z: []float64{3, 4, math.Inf(1), 1}}
	require.InDeltaSlice(t, []float64{25, 1e18 + 1}, rowDistances(c), 1)
}

// The rows of a search are the eight that are most wrong, of equals the first, and sixteen spread
// over all. A row has two elements here.
func TestRowsOfANumberSearch(t *testing.T) {
	const rows = 100
	o := Output{
		Case: &Case{Truth: compare.Expected{Sigma: make([]float64, 2*rows)}}, Got: make([]float64, 2*rows),
		Comparison: compare.Comparison{WantShape: []int{4, 25, 2}, Z: make([]float64, 2*rows)},
	}
	for i := range 2 * rows {
		o.Got[i], o.Case.Truth.Sigma[i] = float64(i), float64(-i)
	}
	most := []int{50, 51, 58, 59, 70, 71, 80, 98}
	for n, row := range most {
		o.Comparison.Z[2*row+1] = float64(10 + n)
	}
	o.Comparison.Z[2*30] = 9
	want := slices.Concat(most, spreadOver(rows, 16))
	slices.Sort(want)
	want = slices.Compact(want)
	require.NotContains(t, want, 30)
	p := newNumberPart(o)
	require.Equal(t, want, p.rows)
	for i, row := range want {
		require.Equal(t, []float64{float64(2 * row), float64(2*row + 1)}, p.got[2*i:][:2])
		require.Equal(t, []float64{float64(-2 * row), float64(-2*row - 1)}, p.sigma[2*i:][:2])
	}
	o.Comparison.WantShape, o.Comparison.Z, o.Got, o.Case.Truth.Sigma = []int{1, 2}, []float64{1, 2}, o.Got[:2], o.Got[:2]
	require.Equal(t, []int{0}, newNumberPart(o).rows)
	require.Equal(t, num.UpTo(1), newNumberPart(o).rows)
}

// A search whose context has ended explains nothing and has no candidate.
func TestASearchEnds(t *testing.T) {
	q := ofScale(t, 0.3, 0.8, catalogue.Number{})
	q.ctx = ended(t)
	c, ok := q.explains(0.8)
	require.False(t, ok)
	require.Zero(t, c)
	require.True(t, math.IsInf(q.at(0.8), 1))
	require.True(t, math.IsInf(q.residual(0.8), 1))
	require.Empty(t, q.candidates())
}
