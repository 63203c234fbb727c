package replay

import (
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/graph"
)

// The multiples of two ways that lead nearest to a third, by the equations of least squares.
func TestNearestOfTwoWays(t *testing.T) {
	for _, tc := range []struct {
		a, b, to []float64
		want     [2]float64
	}{
		{[]float64{1, 0, 0}, []float64{0, 2, 0}, []float64{3, 4, 9}, [2]float64{3, 2}},
		{[]float64{2, 0, 0}, []float64{1, 1, 0}, []float64{5, 3, 9}, [2]float64{1, 3}},
		{[]float64{2, 1, 0}, []float64{1, 1, 0}, []float64{-3, -1, 9}, [2]float64{-2, 1}},
		{[]float64{2, 0, 0}, nil, []float64{3, 3, 0}, [2]float64{1.5, 0}},
		{nil, []float64{0, 4, 0}, []float64{3, 2, 0}, [2]float64{0, 0.5}},
		{nil, nil, []float64{3, 2, 0}, [2]float64{}},
		{[]float64{0, 0, 0}, nil, []float64{3, 2, 0}, [2]float64{}},
		{nil, []float64{0, 0, 0}, []float64{3, 2, 0}, [2]float64{}},
		{[]float64{1, 1, 0}, []float64{2, 2, 0}, []float64{3, 2, 0}, [2]float64{}},
		{[]float64{0, 0, 0}, []float64{0, 4, 0}, []float64{3, 2, 0}, [2]float64{}},
		{[]float64{0.5, 0, 0}, nil, []float64{3, 3, 0}, [2]float64{6, 0}},
		{nil, []float64{0, 0.5, 0}, []float64{3, 2, 0}, [2]float64{0, 4}},
	} {
		got := nearest2([2][]float64{tc.a, tc.b}, tc.to)
		assert.InDeltaSlice(t, tc.want[:], got[:], 1e-12, "%v", tc)
	}
	// Ways are parallel if the square of the sine between them is 1e-10 at most.
	for sine, parallel := range map[float64]bool{0.9e-5: true, 1.1e-5: false} {
		got := nearest2([2][]float64{{3, 0}, {10 * math.Sqrt(1-sine*sine), 10 * sine}}, []float64{0, 1})
		assert.Equal(t, parallel, got == [2]float64{}, sine)
	}
}

// Long steps are shortened: to 1 up or down for numbers with a sign, and else to the logarithm of
// what a number grows by.
func TestBentSteps(t *testing.T) {
	c := newCurves(t, 4, 1, plain(1, powers))
	d := &dial{moduleSearch: c.search(t.Context(), 0, c.output(1))}
	for _, tc := range []struct{ step, plain, vanishing, added float64 }{
		{0.5, math.Log(1.5), math.Log(1.5), 0.5},
		{3, math.Log(4), math.Log(4), 1},
		{-0.5, -0.5, math.Log(0.5), -0.5},
		{-0.97, -0.97, math.Log(0.05), -0.97},
		{-3, -1, math.Log(0.05), -1},
		{0, 0, 0, 0},
	} {
		d.at.number.Added, d.at.number.Vanishes = false, false
		assert.InDelta(t, tc.plain, d.bent(tc.step), 1e-12, tc)
		d.at.number.Vanishes = true
		assert.InDelta(t, tc.vanishing, d.bent(tc.step), 1e-12, tc)
		d.at.number.Added = true
		assert.InDelta(t, tc.added, d.bent(tc.step), 1e-12, tc)
	}
}

// A way is measured in the noise of each element, for each unit of a step.
func TestTheWayBetweenTwoOutputs(t *testing.T) {
	c := newCurves(t, 3, 1, plain(1, func(v float64) []float64 { return []float64{v, v, v} }))
	c.module.Truth.Sigma = []float64{1, 2, 0}
	n := twoNumbers{dials: [2]*dial{{moduleSearch: c.search(t.Context(), 0, c.output(1))}}}
	assert.Equal(t, []float64{8, 12, 0}, n.way([]float64{1, 2, 3}, []float64{5, 14, 4}, 0.5))
}

// A step of two numbers goes where the output would be nearest if it were linear. Numbers that
// count, or are not free, stay. A value at the end of its range is moved to the other side.
func TestAStepOfTwoNumbers(t *testing.T) {
	c := newCurves(t, 6, 1, sum(0, 0), sum(0, 2))
	got := c.output(0.25, -0.5)
	n := c.pair(t.Context(), got)
	both := [2]bool{true, true}
	from := n.try([2]float64{})
	step := n.step(from, both)
	assert.InDeltaSlice(t, []float64{0.25, -0.5}, step[:], 1e-6)
	step = n.step(from, [2]bool{true, false})
	assert.InDeltaSlice(t, []float64{0.25, 0}, step[:], 1e-6)
	step = n.step(from, [2]bool{false, true})
	assert.InDeltaSlice(t, []float64{0, -0.5}, step[:], 1e-6)
	far := c.pair(t.Context(), c.output(9.75, 9.5))
	step = far.step(far.try([2]float64{10, 10}), both)
	assert.InDeltaSlice(t, []float64{-0.25, -0.5}, step[:], 1e-6, "at the end of both ranges")
	n.dials[1].at.number.Step = 1
	step = n.step(from, both)
	assert.InDeltaSlice(t, []float64{0.25, 0}, step[:], 1e-6)
	n.dials[1].at.number.Step = 0
	// A value without an output beside it stays.
	c.numbers[1].of = func(value float64) []float64 {
		if value > 0 {
			return nil
		}
		return sum(0, 2).of(value)
	}
	step = n.step(from, both)
	assert.InDeltaSlice(t, []float64{0.25, 0}, step[:], 1e-6)
	_, length := n.along(n.try([2]float64{0, -0.5}), [2]float64{0.25, -0.125})
	assert.InDelta(t, 0.375, length, 1e-12)
}

// A step that does not come nearer is made shorter, three times at most.
func TestAPartOfAStep(t *testing.T) {
	c := newCurves(t, 6, 1, sum(0, 0), sum(0, 2))
	n := c.pair(t.Context(), c.output(0.1, 0.1))
	from := n.try([2]float64{})
	other, length := n.along(from, [2]float64{0.6, 0.3})
	assert.InDeltaSlice(t, []float64{0.2 / 3, 0.1 / 3}, []float64{other.at[0] / 3, other.at[1] / 3}, 1e-12)
	assert.InDelta(t, 0.3, length, 1e-12)
	for _, tc := range []struct {
		step, end float64
		calls     int
	}{{0.15, 0.15, 1}, {0.45, 0.15, 2}, {1.35, 0.15, 3}, {4.05, 0.15, 4}, {9, 9. / 27, 4}} {
		c.counted()
		to, length := n.along(from, [2]float64{tc.step, tc.step})
		assert.InDelta(t, tc.end, to.at[0], 1e-12, tc)
		assert.Equal(t, 2*tc.calls, c.counted(), tc)
		if tc.end == 0.15 {
			assert.InDelta(t, 0.3, length, 1e-12)
		}
	}
}

// Gauss and Newton come to the values in a few steps, and stop where steps do not help.
func TestDescendToTwoValues(t *testing.T) {
	c := newCurves(t, 6, 1e-5, axis(1, 0), axis(2, 2))
	both := [2]bool{true, true}
	got := c.output(3, 0.7)
	n := c.pair(t.Context(), got)
	best := n.descend([2]float64{}, both)
	values := n.values(best.at)
	assert.InDeltaSlice(t, []float64{3, 0.7}, values[:], 1e-8)
	assert.Less(t, best.off, 1e-3)
	assert.LessOrEqual(t, c.counted(), 60)
	at := n.coordinates([2]float64{3, 0.7})
	assert.InDeltaSlice(t, []float64{math.Log(3), math.Log(0.7)}, at[:], 1e-12)
	best = n.descend(at, both)
	assert.LessOrEqual(t, c.counted(), 20, "nothing is left to find")
	// One number stays.
	best = n.with([2]float64{}, 1, 0.7)
	assert.InDelta(t, math.Log(0.7), best.at[1], 0)
	assert.InDelta(t, math.Log(3), best.at[0], 1e-8)
	best = n.with([2]float64{}, 0, 3)
	assert.InDelta(t, math.Log(3), best.at[0], 0)
	assert.InDelta(t, math.Log(0.7), best.at[1], 1e-8)
	// Errors of another kind are left, in few steps.
	c.counted()
	got[4] += 1
	best = n.descend([2]float64{}, both)
	values = n.values(best.at)
	assert.InDeltaSlice(t, []float64{3, 0.7}, values[:], 0.02)
	assert.LessOrEqual(t, c.counted(), 42)
	stopped := c.pair(ended(t), got)
	assert.Equal(t, [2]float64{}, stopped.descend([2]float64{}, both).at)
	c.numbers[0].of = func(float64) []float64 { return nil }
	assert.Nil(t, n.descend([2]float64{}, both).output)
}

// The second number must be where it was, with its right value, after the first has changed.
func TestGraphOfTwoNumbers(t *testing.T) {
	c := newCurves(t, 6, 1e-5, axis(1, 0), axis(2, 2))
	n := c.pair(t.Context(), c.output(3, 4))
	tried := n.try(n.coordinates([2]float64{3, 4}))
	assert.InDeltaSlice(t, c.output(3, 4), tried.output, 1e-12)
	assert.InDelta(t, 0, tried.off, 1e-6)
	at := n.dials[1].at.number.At
	n.dials[1].at.number.At = func(v *graph.View, node graph.Node) (float64, bool) {
		right, ok := at(v, node)
		return right + 1, ok
	}
	assert.Nil(t, n.graph([2]float64{3, 4}), "another value")
	n.dials[1].at.number.At = func(v *graph.View, node graph.Node) (float64, bool) {
		right, _ := at(v, node)
		return right, false
	}
	assert.Nil(t, n.graph([2]float64{3, 4}), "no value")
	tried = n.try([2]float64{})
	assert.Nil(t, tried.output)
	assert.True(t, math.IsInf(tried.off, 1))
	n.dials[1].at.number.At = at
	to := n.dials[0].at.number.To
	n.dials[0].at.number.To = func(value float64) graph.Edit {
		return func(v *graph.View, node graph.Node) []graph.Node {
			node.Name = "gone"
			return to(value)(v, node)
		}
	}
	n.dials[1].at.sites = []int{0, 1}
	assert.Nil(t, n.graph([2]float64{3, 4}), "one of its nodes is gone")
}

// Two values are confirmed in their own noise, with bounds for both.
func TestConfirmTwoValues(t *testing.T) {
	c := newCurves(t, 6, 1e-5, axis(1, 0), axis(2, 2))
	c.numbers[0].Alike = func(*graph.View, graph.Node) string { return "something else" }
	c.numbers[1].Usual = []float64{1e9, 4}
	got := c.output(3, 4)
	n := c.pair(t.Context(), got)
	end := func(a, b float64) twoEnd { return twoEnd{n, n.try(n.coordinates([2]float64{a, b}))} }
	m, residual := end(3.00001, 4.00001).confirm()
	require.NotNil(t, m)
	require.NotNil(t, m.Beside)
	assert.InDeltaSlice(t, []float64{3, 4}, []float64{m.Value, m.Beside.Value}, 1e-12, "rounder values")
	assert.Equal(t, "something else", m.Alike)
	assert.Empty(t, m.Beside.Alike)
	assert.Less(t, residual, 1e-9, "of the rounder values")
	assert.Equal(t, residual, m.Residual)
	assert.Equal(t, residual, m.Beside.Residual)
	assert.Less(t, m.MaxZ, 1e-3)
	for _, one := range []*NumberMatch{m, m.Beside} {
		assert.InEpsilon(t, one.Value, one.Least, 1e-3)
		assert.InEpsilon(t, one.Value, one.Most, 1e-3)
		assert.Less(t, one.Least, one.Value)
		assert.Less(t, one.Value, one.Most)
	}
	// Far away at once, outside of the noise, and nothing in float32.
	m, residual = end(3.3, 4).confirm()
	assert.Nil(t, m)
	assert.InDelta(t, compare.Residual(got, c.output(3.3, 4)), residual, 1e-12)
	m, residual = end(3.0003, 4).confirm()
	assert.Nil(t, m)
	assert.InDelta(t, compare.Residual(got, c.output(3.0003, 4)), residual, 1e-12)
	c.nowhere = errors.New("none")
	m, residual = end(3, 4).confirm()
	assert.Nil(t, m)
	assert.True(t, math.IsInf(residual, 1))
	c.nowhere = nil
	// An output with noise has a residual.
	noisy := slices.Clone(got)
	noisy[1] += 1e-5
	n = c.pair(t.Context(), noisy)
	m, residual = end(3.00001, 4.00001).confirm()
	require.NotNil(t, m)
	assert.InDelta(t, compare.Residual(noisy, c.output(m.Value, m.Beside.Value)), residual, 1e-12)
	// Nothing bounds one of the numbers.
	for k := range 2 {
		of := c.numbers[k].of
		c.numbers[k].of = func(value float64) []float64 { return of(max(1.5, min(value, 2.5))) }
		noisy = c.output(3, 4)
		noisy[1] += 1e-5
		n = c.pair(t.Context(), noisy)
		e := end(3, 4)
		m, residual = e.confirm()
		assert.Nil(t, m)
		assert.InDelta(t, compare.Residual(noisy, e.output), residual, 1e-15)
		assert.Positive(t, residual)
		c.numbers[k].of = of
	}
}

// Of several ends the nearest one stands for its numbers. Others tell how near they come, and so
// does each number of an answer with the right value.
func TestConfirmedPairs(t *testing.T) {
	c := newCurves(t, 6, 1e-5, axis(1, 0), axis(2, 2), axis(3, 4))
	got := c.output(1.5, 2.5, 3)
	q := c.two(t, got)
	n := twoNumbers{dials: [2]*dial{q.dials[0], q.dials[1]}}
	other := twoNumbers{dials: [2]*dial{q.dials[1], q.dials[2]}}
	at := func(n twoNumbers, a, b float64) twoEnd { return twoEnd{n, n.try(n.coordinates([2]float64{a, b}))} }
	q.search.next = math.Inf(1)
	found := q.confirmed([]twoEnd{at(n, 1.5001, 2.5001), at(n, 1.5, 2.5), at(n, 1.9, 2.9)})
	require.Len(t, found, 1)
	assert.Equal(t, 1.5, found[0].Value)
	alone := min(n.residual(n.with([2]float64{}, 0, 1)), n.residual(n.with([2]float64{}, 1, 2)))
	assert.InDelta(t, alone, q.search.next, 1e-6)
	q.search.next = math.Inf(1)
	found = q.confirmed([]twoEnd{at(other, 2.5, 3.1), at(n, 1.5, 2.51), at(n, 1.5, 2.501)})
	assert.Empty(t, found)
	assert.InDelta(t, compare.Residual(got, c.output(1.5, 2.501, 3)), q.search.next, 1e-9)
}

// All counts side by side that give the output belong to an answer.
func TestBoundsOfACountBesideANumber(t *testing.T) {
	halved := func(value float64) []float64 { return []float64{0, math.Floor(value / 2), 0, 0, 0, 0} }
	c := newCurves(t, 6, 1e-5, axis(1, 0), counting(0, -9, 9, halved))
	n := c.pair(t.Context(), c.output(3, 4))
	for _, value := range []float64{4, 5} {
		e := explanation{n, n.coordinates([2]float64{3, value}), c.module.Truth}
		count, ok := e.match(1)
		require.True(t, ok)
		assert.Equal(t, []float64{value, 4, 5}, []float64{count.Value, count.Least, count.Most})
	}
}

// The first of two numbers that gets a round value moves the other one.
func TestRoundPairs(t *testing.T) {
	// Both numbers move the same element, so that 3 and 4 are as good as their neighbours.
	both := func(value float64) []float64 { return []float64{3 + math.Log(value), 0, 0, 0, 0, 0} }
	c := newCurves(t, 6, 1e-5, plain(1, both), step(0, 2))
	got := c.output(3.01, 3)
	n := c.pair(t.Context(), got)
	e := explanation{n, [2]float64{math.Log(3.010002), 3}, compare.Expected{Shape: []int{1, 6}, Sigma: slices.Repeat([]float64{1e-5}, 6)}}
	m, ok := e.match(0)
	require.True(t, ok)
	assert.True(t, m.Least < 3.01 && 3.01 < m.Most)
	count, ok := e.match(1)
	require.True(t, ok)
	assert.Equal(t, []float64{3, 3, 3}, []float64{count.Value, count.Least, count.Most})
	rounded, comparison := e.round([2]NumberMatch{m, count}, compare.Comparison{Rel: 7})
	assert.Equal(t, 3.01, math.Round(1e12*n.values(rounded)[0])/1e12)
	assert.Equal(t, 3., rounded[1])
	assert.Less(t, comparison.Rel, 1e-9)
	assert.True(t, comparison.Explained())
	e.want.Sigma = slices.Repeat([]float64{1e-5}, 6)
	for sigmas, want := range map[float64]bool{1.9: true, 2.1: false} {
		off := slices.Clone(got)
		for i := range off {
			off[i] += sigmas * 1e-5
		}
		_, ok = e.explains(tried2{output: off})
		assert.Equal(t, want, ok)
	}
	c2, ok := e.explains(tried2{})
	assert.False(t, ok)
	assert.True(t, math.IsInf(c2.Rel, 1))
	// A rounder value that does not explain the output is not taken.
	m.Least, m.Most = 2, 4
	rounded, comparison = e.round([2]NumberMatch{m, count}, compare.Comparison{Rel: 7})
	assert.InDelta(t, 3.01, n.values(rounded)[0], 1e-4)
	assert.True(t, comparison.Explained())
}
