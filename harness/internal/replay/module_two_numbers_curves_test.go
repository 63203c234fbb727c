package replay

import (
	"context"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/edits"
)

// known makes the numbers of the curves the only ones that searches know.
func (c *curves) known(t *testing.T) {
	all := edits.Numbers
	t.Cleanup(func() { edits.Numbers = all })
	edits.Numbers = nil
	for _, n := range c.numbers {
		edits.Numbers = append(edits.Numbers, n.Number)
	}
}

// two returns the search for two of the numbers.
func (c *curves) two(t *testing.T, got []float64) *twoSearch {
	c.known(t)
	return newTwoSearch(t.Context(), c.module, got)
}

// pair returns two of the numbers, for an output.
func (c *curves) pair(ctx context.Context, got []float64) twoNumbers {
	return twoNumbers{dials: [2]*dial{{moduleSearch: c.search(ctx, 0, got)}, {moduleSearch: c.search(ctx, 1, got)}}}
}

// axis is a number that moves one element by its logarithm, and another one a little.
func axis(right float64, at int) *number {
	return plain(right, func(value float64) []float64 {
		x := make([]float64, 6)
		x[at] = 3 + math.Log(value)
		x[(at+1)%6] = 0.2 * math.Log(value) * math.Log(value)
		return x
	})
}

// sum is a number that moves one element by its value.
func sum(right float64, at int) *number {
	n := &number{right: right, least: right - 10, most: right + 10, of: func(value float64) []float64 {
		x := make([]float64, 6)
		x[at] = 3 + value
		return x
	}}
	n.Number.Number.Added = true
	return n
}

// step is a number that counts, and moves one element.
func step(right float64, at int) *number {
	n := counting(right, right-9, right+9, sum(right, at).of)
	n.Number.Number.Step = 3
	return n
}

// Two wrong numbers of four are named with their values, and with bounds of the values that give
// the output as well: the element that a number moves may be off by the noise.
func TestTwoNumbersOnTheirCurves(t *testing.T) {
	for _, tc := range []struct{ values []float64 }{
		{[]float64{1, 7, 0.6, 0}}, {[]float64{1, 2, 3.3, 0.25}}, {[]float64{0.123, 2, 0.5, 0.7}}, {[]float64{55, 31, 0.5, 0}},
	} {
		c := newCurves(t, 6, 1e-5, axis(1, 0), axis(2, 2), axis(0.5, 4), sum(0, 5))
		c.known(t)
		got := c.output(tc.values...)
		found, cut := c.module.FindTwoNumbers(t.Context(), got)
		require.Empty(t, cut)
		require.Len(t, found, 1, "%v", tc)
		m, wrong := found[0], 0
		for k, n := range c.numbers {
			if tc.values[k] == n.right {
				continue
			}
			wrong++
			one := m
			if m.Number.ID != n.Number.Number.ID {
				one = *m.Beside
			}
			require.Equal(t, n.Number.Number.ID, one.Number.ID)
			assert.InDelta(t, tc.values[k], one.Value, 1e-4*(1+tc.values[k]), "%v", tc)
			assert.Equal(t, n.right, one.Right)
			assert.Less(t, one.Residual, 1e-4)
			assert.Less(t, one.MaxZ, 5.)
			assert.True(t, one.Allows(tc.values[k]) && one.Allows(one.Value) && !one.Allows(n.right))
		}
		require.Equal(t, 2, wrong)
		assert.Greater(t, m.Next, 5*m.Residual)
		assert.Less(t, m.Next, compare.Residual(got, c.module.Truth.Value)*1.0000001, "one number alone, or none")
	}
}

// Numbers that count are found together, each with a value of its own.
func TestTwoNumbersThatCount(t *testing.T) {
	c := newCurves(t, 6, 1e-5, step(4, 0), axis(2, 2), step(0, 3), sum(0, 5))
	c.numbers[0].Number.Number.Step = 1
	c.known(t)
	for _, values := range [][]float64{{8, 2, -3, 0}, {10, 2, 9, 0}, {1, 5.5, 0, 0}} {
		found, _ := c.module.FindTwoNumbers(t.Context(), c.output(values...))
		require.Len(t, found, 1, "%v", values)
		for _, one := range []NumberMatch{found[0], *found[0].Beside} {
			k := int(one.Number.ID[len(one.Number.ID)-1] - '0')
			assert.InDelta(t, values[k], one.Value, 1e-3)
			if one.Number.Step > 0 {
				assert.Equal(t, []float64{values[k], values[k], values[k]}, []float64{one.Value, one.Least, one.Most})
			}
		}
	}
	// The right output, one wrong number and three are no two numbers.
	for _, values := range [][]float64{{4, 2, 0, 0}, {7, 2, 0, 0}, {7, 2, -3, 1}} {
		found, _ := c.module.FindTwoNumbers(t.Context(), c.output(values...))
		assert.Empty(t, found, "%v", values)
	}
}

// A search for two numbers needs a float32 truth and a small model, and is cut off.
func TestTwoNumbersAreNotAlwaysSearched(t *testing.T) {
	c := newCurves(t, 6, 1e-5, axis(1, 0), axis(2, 2))
	c.known(t)
	got := c.output(3, 4)
	find := func(m *Module) int {
		found, cut := m.FindTwoNumbers(t.Context(), got)
		require.Empty(t, cut)
		return len(found)
	}
	assert.Equal(t, 1, find(c.module))
	c.counted()
	assert.Zero(t, find(c.module.InLowerPrecision(c.module.Truth.Sigma)))
	assert.Zero(t, c.counted())
	_, cut := c.module.FindTwoNumbers(ended(t), got)
	assert.NotEmpty(t, cut)
	// The most is 300 replays of 1e10 / 300 operations, each of 6 products for an element of x.
	for operations, want := range map[int]int{3.331e7: 1, 3.34e7: 0} {
		c.module.values["x"].Shape = []int{1, operations / 6}
		c.module.graph.Nodes[0].Op = "linear"
		assert.Equal(t, want, find(c.module), operations)
	}
}

// The errors of a number are measured at values around the right one, at the usual ones, and on the
// grid if they lead to the output.
func TestValuesOfADial(t *testing.T) {
	c := newCurves(t, 6, 1e-3, axis(1, 0), axis(2, 2), step(0, 3))
	c.numbers[1].Usual = []float64{2, 9, 1e9, 1e-9}
	q := c.two(t, c.output(3, 2, 0))
	require.Len(t, q.dials, 3)
	values := func(d *dial) (all []float64) {
		for _, v := range d.turned {
			all = append(all, v.value)
		}
		return all
	}
	assert.Equal(t, slices.Concat(q.dials[0].leading(), q.dials[0].landmarks(q.dials[0].grid())), values(q.dials[0]))
	assert.Equal(t, append(q.dials[1].leading(), 9), values(q.dials[1]))
	assert.Equal(t, []float64{-9, -6, -3, 3, 6, 9}, values(q.dials[2]))
	u := q.dials[2].turned[0]
	assert.InDeltaSlice(t, []float64{0, 0, 0, -9000, 0, 0}, u.errors, 1e-6)
	assert.InDelta(t, 8.1e7, u.size, 1e-3)
	assert.InDelta(t, 0, u.along, 1e-3)
	u = q.dials[0].turned[3]
	assert.InDelta(t, product(q.errors, u.errors), u.along, 1e-6)
	assert.InDelta(t, product(q.errors, q.errors), q.size, 1e-6)
	assert.InDelta(t, math.Log(3)*1000, q.errors[0], 1e-6)
	assert.InDelta(t, compare.Residual(q.got, c.module.Truth.Value), q.search.next, 1e-15)
	// Values without an output are left out, and all after the end of the context.
	c.module.kept, c.numbers[2].of = newKept(), func(value float64) []float64 {
		if value > 0 {
			return nil
		}
		return sum(0, 3).of(value)
	}
	d := &dial{moduleSearch: c.search(t.Context(), 2, q.got)}
	d.turn(q.errors)
	assert.Equal(t, []float64{-9, -6, -3}, values(d))
	d = &dial{moduleSearch: c.search(ended(t), 2, q.got)}
	d.turn(q.errors)
	assert.Empty(t, d.turned)
}

// Of all multiples of two errors, each between none and one and a half, between returns those whose
// sum comes nearest to the output's error.
func TestBetweenTwoErrors(t *testing.T) {
	c := newCurves(t, 6, 1, axis(1, 0), axis(2, 2), step(0, 3))
	dials := [2]*dial{{moduleSearch: c.search(t.Context(), 0, c.output(1, 2, 0))}, {moduleSearch: c.search(t.Context(), 1, c.output(1, 2, 0))}}
	counts := &dial{moduleSearch: c.search(t.Context(), 2, c.output(1, 2, 0))}
	for _, tc := range []struct {
		error, t, u []float64
		s, r        float64
	}{
		{[]float64{1, 2, 0}, []float64{2, 0, 0}, []float64{1, 2, 0}, 0, 1},
		{[]float64{2, 1, 1}, []float64{2, 0, 0}, []float64{1, 2, 0}, 0.75, 0.5},
		{[]float64{9, 1, 0}, []float64{2, 0, 0}, []float64{0, 2, 0}, 1.5, 0.5},
		{[]float64{9, 1, 0}, []float64{2, 0, 0}, []float64{1, 2, 0}, 1.5, 1.5},
		{[]float64{4, 1, 0}, []float64{2, 0, 0}, []float64{1, 2, 0}, 1.5, 0.6},
		{[]float64{-2, 1, 0}, []float64{2, 0, 0}, []float64{1, 2, 0}, 0, 0},
		{[]float64{-1, 2, 0}, []float64{2, 0, 0}, []float64{1, 2, 0}, 0, 0.6},
		{[]float64{1, -2, 0}, []float64{2, 0, 0}, []float64{1, 2, 0}, 0.5, 0},
		{[]float64{1, 9, 0}, []float64{2, 0, 0}, []float64{0, 2, 0}, 0.5, 1.5},
		{[]float64{3, 9, 0}, []float64{2, 0, 0}, []float64{1, 2, 0}, 0.75, 1.5},
	} {
		q := &twoSearch{size: product(tc.error, tc.error)}
		turn := func(value float64, e []float64) turned {
			return turned{value: value, errors: e, along: product(tc.error, e), size: product(e, e)}
		}
		left := func(s, r float64) float64 {
			d := after(tc.error, [][]float64{tc.t, tc.u}, []float64{s, r})
			return product(d, d) / q.size
		}
		n := q.between(dials, turn(10, tc.t), turn(0.3, tc.u))
		assert.InDelta(t, left(tc.s, tc.r), n.left, 1e-12, tc)
		assert.InDelta(t, math.Pow(10, tc.s), n.from[0], 1e-9, tc)
		assert.InDelta(t, 2*math.Pow(0.15, tc.r), n.from[1], 1e-9, tc)
		for s := 0.; s <= 1.5; s += 0.125 {
			for r := 0.; r <= 1.5; r += 0.125 {
				assert.LessOrEqual(t, n.left, left(s, r)+1e-12, tc)
			}
		}
		// A number that counts goes all the way.
		n = q.between([2]*dial{counts, dials[1]}, turn(3, tc.t), turn(0.3, tc.u))
		assert.Equal(t, 3., n.from[0])
		assert.InDelta(t, left(1, math.Log(n.from[1]/2)/math.Log(0.15)), n.left, 1e-12)
		for r := 0.; r <= 1.5; r += 0.125 {
			assert.LessOrEqual(t, n.left, left(1, r)+1e-12, tc)
		}
		n = q.between([2]*dial{dials[0], counts}, turn(10, tc.t), turn(-3, tc.u))
		assert.Equal(t, -3., n.from[1])
		for s := 0.; s <= 1.5; s += 0.125 {
			assert.LessOrEqual(t, n.left, left(s, 1)+1e-12, tc)
		}
	}
	d := dials[1]
	assert.Equal(t, 0.1, d.partly(0.1, 1))
	assert.Equal(t, 2., d.partly(0.1, 0))
	assert.InDelta(t, math.Sqrt(0.2), d.partly(0.1, 0.5), 1e-12)
	assert.Equal(t, 3e8, d.partly(3e8, 1), "as the grid has it")
}

// The pairs whose errors together come nearest to the output's error are first.
func TestStartsOfTwoNumbers(t *testing.T) {
	c := newCurves(t, 6, 1e-3, axis(1, 0), axis(2, 2), axis(0.5, 4), sum(0, 5))
	q := c.two(t, c.output(1, 5, 0.5, 2))
	starts := q.starts()
	require.Len(t, starts, 6)
	assert.Equal(t, [2]*dial{q.dials[1], q.dials[3]}, starts[0].dials)
	assert.InEpsilon(t, 5, starts[0].from[0], 0.3)
	assert.InEpsilon(t, 2, starts[0].from[1], 0.3)
	for i := range starts[1:] {
		assert.LessOrEqual(t, starts[i].left, starts[i+1].left)
	}
	for _, n := range starts {
		assert.Less(t, slices.Index(q.dials, n.dials[0]), slices.Index(q.dials, n.dials[1]))
	}
	q.dials[0].turned = nil
	assert.Len(t, q.starts(), 3, "a number without values starts nothing")
}

// Around an end, each of its numbers is tried with each other one, from the nearest of a few
// values.
func TestStartsAroundAnEnd(t *testing.T) {
	c := newCurves(t, 6, 1e-3, axis(1, 0), axis(2, 2), step(0, 4), axis(3, 5))
	q := c.two(t, c.output(1, 2, 3, 12))
	end := twoEnd{twoNumbers{dials: [2]*dial{q.dials[0], q.dials[2]}}, tried2{at: [2]float64{math.Log(1.5), 3}}}
	starts := q.around(end)
	want := []struct {
		a, b int
		from [2]float64
	}{{0, 1, [2]float64{1.5, 2}}, {0, 3, [2]float64{1.5, 12}}, {1, 2, [2]float64{2, 3}}, {2, 3, [2]float64{3, 12}}}
	require.Len(t, starts, 4)
	for i, w := range want {
		assert.Equal(t, [2]*dial{q.dials[w.a], q.dials[w.b]}, starts[i].dials, i)
		assert.InDeltaSlice(t, w.from[:], starts[i].from[:], 1e-9, i)
		got := inNoise(c.output(1, 2, 3, 12), starts[i].try(starts[i].coordinates(starts[i].from)).output, c.module.Truth.Sigma)
		assert.InDelta(t, got, starts[i].left, 1e-6)
	}
	q.dials[1].at.number.Usual = []float64{6, 1e9}
	assert.Equal(t, append([]float64{2, 6}, q.dials[1].leading()...), q.dials[1].beside())
	q.dials[3].at.number.Step = 1
	assert.Equal(t, []float64{1, 2, 4, 5}, q.dials[3].beside())
	assert.Equal(t, []float64{-6, -3, 3, 6}, q.dials[2].beside())
	q.dials[2].least, q.dials[2].most = -5, 3
	assert.Equal(t, []float64{-3, 3}, q.dials[2].beside())
	q.dials[2].least, q.dials[2].most = -3, 5
	assert.Equal(t, []float64{-3, 3}, q.dials[2].beside())
}

// The nearest end counts. It may explain the output within three times the noise and 5 %.
func TestEndsOfTwoNumbers(t *testing.T) {
	assert.True(t, math.IsInf(nearestEnd(nil).off, 1))
	ends := []twoEnd{{tried2: tried2{off: 3}}, {tried2: tried2{off: 2, at: [2]float64{7, 0}}}, {tried2: tried2{off: 2}}}
	assert.Equal(t, 7., nearestEnd(ends).at[0])
	c := newCurves(t, 6, 1e-3, axis(1, 0), axis(2, 2))
	n := c.pair(t.Context(), c.output(1, 2))
	output := c.output(1, 2)
	for _, tc := range []struct {
		off, residual float64
		want          bool
	}{{5.9, 0.01, true}, {6, 0.01, true}, {6.1, 0.01, false}, {5, 0.049, true}, {5, 0.051, false}} {
		scaled := slices.Clone(output)
		for i := range scaled {
			scaled[i] /= 1 + tc.residual
		}
		e := twoEnd{n, tried2{output: scaled, off: tc.off}}
		assert.Equal(t, tc.want, e.near(), tc)
		assert.InDelta(t, tc.residual, n.residual(e.tried2), 1e-12)
	}
	assert.True(t, math.IsInf(n.residual(tried2{}), 1))
	q := c.two(t, output)
	c.numbers[0].of = func(float64) []float64 { return nil }
	n.from = [2]float64{3, 4}
	assert.Empty(t, q.descend([]twoNumbers{n}), "no program")
}

// A search for two numbers ends where their errors lead elsewhere, or where no end comes near.
func TestTwoNumbersThatLeadElsewhere(t *testing.T) {
	c := newCurves(t, 6, 1e-3, axis(1, 0), axis(2, 2), axis(3, 4))
	right := c.output(1, 2, 3)
	// A part of the error, squared, is of another kind.
	for part, goesOn := range map[float64]bool{0.8: true, 0.9: false} {
		got := slices.Clone(right)
		got[0] += 0.1 * math.Sqrt(1-part)
		got[3] -= 0.1 * math.Sqrt(part)
		q := c.two(t, got)
		c.counted()
		assert.Empty(t, q.run())
		assert.Equal(t, goesOn, c.counted() > 0, part)
	}
	q := c.two(t, c.output(2, 2, 3))
	q.dials = q.dials[:1]
	assert.Empty(t, q.run(), "one number is no two")
}
