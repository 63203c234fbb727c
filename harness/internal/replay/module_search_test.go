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

// decays are the elements exp(-k value) for several k: a curve that bends, and has two ends.
func decays(value float64) []float64 {
	var all []float64
	for k := range 6 {
		all = append(all, math.Exp(-value*float64(k+1)/4))
	}
	return all
}

// powers are the elements value^k for several k: a curve that does not come near itself.
func powers(value float64) []float64 {
	var all []float64
	for k := range 4 {
		all = append(all, math.Pow(value, 0.3+0.2*float64(k)))
	}
	return all
}

// line is a curve that is straight in the logarithm of its number.
func line(value float64) []float64 { return []float64{math.Log(value), 0} }

// A number is found wherever its wrong value is, with the values that give the output as well. The
// values are those for which no element moves by more than the limit of the noise.
func TestANumberIsFoundOnItsCurve(t *testing.T) {
	for _, wrong := range []float64{0.003, 0.07, 0.9, 1.2, 3.3, 41, 777} {
		c := newCurves(t, 4, 1e-6, plain(1, powers))
		q := c.search(t.Context(), 0, c.output(wrong))
		m, next := q.find()
		require.NotNil(t, m, wrong)
		assert.True(t, math.IsInf(next, 1))
		assert.InEpsilon(t, wrong, m.Value, 1e-5, wrong)
		assert.Equal(t, 1., m.Right)
		assert.Equal(t, "number-0", m.Number.ID)
		assert.Less(t, m.Residual, 1e-5)
		assert.Less(t, m.MaxZ, 3.)
		assert.Empty(t, m.Alike)
		assert.False(t, m.Allows(1))
		// At the ends, the root mean square of the move is 2 sigma of the value's own noise.
		g := q.graph(wrong)
		own, err := c.module.expected(g, c.module.outputOfGraph(g))
		require.NoError(t, err)
		for _, end := range []float64{m.Least, m.Most} {
			assert.InDelta(t, 2, inNoise(c.output(end), c.output(wrong), own.Sigma), 0.02, "%v: %v", wrong, end)
		}
		assert.Less(t, m.Least, wrong)
		assert.Less(t, wrong, m.Most)
	}
}

// The same search takes few replays: a value that the grid lacks takes some steps and two bounds.
func TestTheReplaysOfANumber(t *testing.T) {
	for wrong, most := range map[float64]int{4: 69, 0.07: 77, 3.3: 77} {
		c := newCurves(t, 4, 1e-6, plain(1, powers))
		m, _ := c.search(t.Context(), 0, c.output(wrong)).find()
		require.NotNil(t, m)
		assert.LessOrEqual(t, c.counted(), most, wrong)
		c.search(t.Context(), 0, c.output(wrong)).candidates()
		again := c.counted()
		assert.Less(t, again, 30, "the grid is kept")
	}
}

// A search tells how near the nearest value comes that does not give the output.
func TestTheNearestValueThatIsNoAnswer(t *testing.T) {
	c := newCurves(t, 4, 1e-6, plain(1, powers))
	// Far: no value comes within 5 %.
	far := c.output(3)
	for i := range far {
		far[i] += 0.5 * float64(i%2*2-1)
	}
	m, next := c.search(t.Context(), 0, far).find()
	assert.Nil(t, m)
	assert.Greater(t, next, 0.05)
	assert.Less(t, next, compare.Residual(far, c.output(3))*1.001)
	// Near: a value comes within 5 %, but not within the noise.
	near := c.output(3)
	near[1] += 1e-3
	m, next = c.search(t.Context(), 0, near).find()
	assert.Nil(t, m)
	assert.Less(t, next, 1e-3)
	assert.Greater(t, next, 1e-5)
	// A number that leads elsewhere has no candidates.
	c = newCurves(t, 2, 1e-6, plain(1, line))
	q := c.search(t.Context(), 0, []float64{0, 1})
	assert.False(t, q.leads())
	m, next = q.find()
	assert.Nil(t, m)
	assert.True(t, math.IsInf(next, 1))
	assert.Equal(t, 4, c.counted())
}

// Only a value whose own noise gives the output, between bounds, is confirmed.
func TestConfirmAValue(t *testing.T) {
	c := newCurves(t, 6, 1e-6, plain(1, decays))
	n := c.numbers[0]
	n.Number.Number.Usual = []float64{1e5, 2}
	n.Alike = func(*graph.View, graph.Node) string { return "something else" }
	got := c.output(2.0000004)
	q := c.search(t.Context(), 0, got)
	q.at.where = "layers.3"
	m, residual := q.confirm(tried{value: 2.0000003})
	require.NotNil(t, m)
	assert.Equal(t, 2., m.Value, "the usual one")
	assert.Equal(t, "something else", m.Alike)
	assert.Equal(t, "layers.3", m.Where)
	assert.Equal(t, residual, m.Residual)
	assert.InDelta(t, compare.Residual(got, c.output(2.0000003)), residual, 1e-12)
	assert.InDelta(t, 2, m.Least, 1e-4)
	assert.InDelta(t, 2, m.Most, 1e-4)
	assert.Less(t, m.Least, 2.)
	assert.Greater(t, m.Most, 2.)

	// Five sigma are too far, and a hundred are so at once.
	for _, sigmas := range []float64{5, 100} {
		other := slices.Clone(got)
		for i := range other {
			other[i] += sigmas * 1e-6 * float64(i%2*2-1)
		}
		q := c.search(t.Context(), 0, other)
		m, residual := q.confirm(tried{value: 2.0000004})
		assert.Nil(t, m)
		assert.InDelta(t, compare.Residual(other, got), residual, 1e-12)
	}
	// No program gives the output, or none does in float32.
	n.of = func(float64) []float64 { return nil }
	m, residual = q.confirm(tried{value: 2})
	assert.Nil(t, m)
	assert.True(t, math.IsInf(residual, 1))
	n.of, c.nowhere = decays, errors.New("none")
	m, residual = q.confirm(tried{value: 2.0000003})
	assert.Nil(t, m)
	assert.True(t, math.IsInf(residual, 1))
}

// A value is not named if all values on one side of it, up to the end of the range, give the same
// output. A number that vanishes may do so below.
func TestAValueNeedsBounds(t *testing.T) {
	flat := func(value float64) []float64 { return decays(max(value, 0.3)) }
	c := newCurves(t, 6, 1e-6, plain(1, flat))
	n := c.numbers[0]
	q := c.search(t.Context(), 0, c.output(0.1))
	m, residual := q.confirm(tried{value: 0.1})
	assert.Nil(t, m)
	assert.Zero(t, residual)
	q.at.number.Vanishes = true
	m, _ = q.confirm(tried{value: 0.1})
	require.NotNil(t, m)
	assert.Zero(t, m.Least)
	assert.InDelta(t, 0.3, m.Most, 1e-3)
	q.at.number.Vanishes = false
	n.of = func(value float64) []float64 { return decays(min(value, 8)) }
	got := c.output(10)
	got[0] += 1e-9
	q = c.search(t.Context(), 0, got)
	m, residual = q.confirm(tried{value: 10})
	assert.Nil(t, m)
	assert.InDelta(t, compare.Residual(got, c.output(10)), residual, 1e-15)
	assert.Positive(t, residual)
	// A value without an output bounds it.
	n.of = func(value float64) []float64 {
		if value > 3 {
			return nil
		}
		return decays(min(value, 2))
	}
	q = c.search(t.Context(), 0, c.output(2))
	m, _ = q.confirm(tried{value: 2.5})
	require.NotNil(t, m)
	assert.InDelta(t, 3, m.Most, 0.01)
	// The flat part ends before the right value, or is all there is.
	n.of = func(value float64) []float64 { return decays(max(min(value, 8), 0.3)) }
	q = c.search(t.Context(), 0, c.output(10))
	q.most = 9.5
	_, ok := q.bound(c.module.Truth, 2, -1)
	assert.True(t, ok)
}

// The last value that gives an output is one step of a number that counts before the first that
// does not. The right value and the ends of the range are never passed.
func TestTheLastValueOfANumberThatCounts(t *testing.T) {
	c := newCurves(t, 4, 1e-6, counting(3, -8, 20, powers))
	q := c.search(t.Context(), 0, c.output(3))
	q.at.number.Number.Step = 2
	for _, tc := range []struct{ value, direction, from, to, want float64 }{
		{9, 1, 6, 14, 13},
		{9, -1, 6, 14, 7},
		{9, 1, 6, 90, 19},
		{9, -1, -90, 90, 5},
		{-1, -1, -90, 90, -7},
		{8, 1, -90, 90, 20},
		{0, -1, -90, 90, -8},
		{9, 1, 9, 9, 9},
	} {
		last, ok := q.last(tc.value, tc.direction, func(v float64) bool { return tc.from <= v && v <= tc.to })
		assert.True(t, ok)
		assert.Equal(t, tc.want, last, tc)
	}
}

// The last value of another number is found by halvings, up to a part of the way.
func TestTheLastValueOfANumber(t *testing.T) {
	c := newCurves(t, 4, 1e-6, plain(1, powers))
	q := c.search(t.Context(), 0, c.output(3))
	for _, tc := range []struct{ value, direction, from, to, want float64 }{
		{9, 1, 6, 14, 14},
		{9, -1, 6, 14, 6},
		{9, 1, 6, 9000, 9000},
		{9, 1, 6, 9.0001, 9.0001},
		{9, -1, 1.5, 90, 1.5},
		{0.2, 1, 0.1, 0.8, 0.8},
		{0.2, -1, 0.01, 0.8, 0.01},
	} {
		count := 0
		last, ok := q.last(tc.value, tc.direction, func(v float64) bool {
			count++
			return tc.from <= v && v <= tc.to
		})
		assert.True(t, ok, tc)
		assert.InEpsilon(t, math.Abs(math.Log(tc.want/tc.value)), math.Abs(math.Log(last/tc.value)), 0.008, tc)
		assert.True(t, tc.from <= last && last <= tc.to, tc)
		assert.LessOrEqual(t, count, 22, tc)
	}
	// The right value gives the output as well, or the end does.
	for _, tc := range []struct{ value, direction, from, to, end float64 }{
		{9, -1, 1, 14, 1},
		{9, -1, 1e-9, 14, 1},
		{0.2, 1, 0.1, 1, 1},
		{9, 1, 6, 1e4, 1e4},
		{0.2, -1, 1e-4, 1, 1e-4},
	} {
		last, ok := q.last(tc.value, tc.direction, func(v float64) bool { return tc.from <= v && v <= tc.to })
		assert.False(t, ok, tc)
		assert.Equal(t, tc.end, last, tc)
	}
	// A value whose neighbours do not give the output bounds itself.
	last, ok := q.last(9, 1, func(v float64) bool { return v <= 9 })
	assert.True(t, ok)
	assert.Equal(t, 9., math.Round(last*1e9)/1e9)
	// Values behind the right one do not count.
	last, ok = q.last(9, -1, func(v float64) bool { return v < 0.95 || v > 1.05 })
	assert.True(t, ok)
	assert.InEpsilon(t, 1.05, last, 0.002)
	// A right value at the end of the range, or beyond, is no end.
	q.at.right = 2e4
	last, ok = q.last(9, 1, func(v float64) bool { return v <= 1e4 })
	assert.False(t, ok)
	assert.Equal(t, 1e4, last)
	q.at.right = 1
	last, ok = q.last(1, -1, func(float64) bool { return false })
	assert.False(t, ok, "the right value itself")
	assert.Equal(t, 1., last)
	// A number that vanishes needs no value below.
	q.at.number.Vanishes = true
	last, ok = q.last(9, -1, func(v float64) bool { return v <= 14 })
	assert.True(t, ok)
	assert.Zero(t, last)
	_, ok = q.last(9, 1, func(v float64) bool { return v >= 0 })
	assert.False(t, ok, "upwards, 0 does not count")
	last, ok = q.last(9, -1, func(v float64) bool { return v >= 6 })
	assert.True(t, ok)
	assert.InEpsilon(t, 6, last, 0.01)
}

// A number with a sign is searched by its value, and others by their logarithm.
func TestCoordinates(t *testing.T) {
	c := newCurves(t, 4, 1e-6, plain(2, powers))
	q := c.search(t.Context(), 0, c.output(3))
	assert.InDelta(t, math.Log(5), q.coordinate(5), 0)
	assert.InDelta(t, 5, q.valueAt(math.Log(5)), 1e-14)
	assert.Equal(t, q.most, q.valueAt(90))
	assert.Equal(t, q.least, q.valueAt(-90))
	assert.InDeltaSlice(t, []float64{1. / 32, 0.5, 8, 128}, q.leading(), 1e-12)
	assert.Equal(t, 3., newCurves(t, 4, 1, counting(0, -8, 8, powers)).search(t.Context(), 0, nil).coordinate(3))
	q.at.number.Added = true
	q.least = -20000
	assert.Equal(t, 5., q.coordinate(5))
	assert.Equal(t, -5., q.valueAt(-5))
	assert.InDeltaSlice(t, []float64{2 - 63./64, 1.25, 5, 65}, q.leading(), 1e-12)
}

// The grid of a number has equal steps of its logarithm from the right value on, or of its value,
// and the usual values.
func TestTheGridOfANumber(t *testing.T) {
	c := newCurves(t, 4, 1e-6, plain(2, powers))
	q := c.search(t.Context(), 0, c.output(3))
	grid := q.grid()
	require.Len(t, grid, 12)
	for i, v := range grid {
		k := i - 6
		if k >= 0 {
			k++
		}
		assert.InEpsilon(t, 2*math.Pow(4, float64(k)), v, 1e-12)
	}
	q.at.number.Usual = []float64{7, 2, 1e9, 1e-9, 2e-4, 2e4, 5}
	grid = q.grid()
	assert.Len(t, grid, 16, "none out of the range, nor the right one")
	assert.True(t, slices.IsSorted(grid))
	assert.Subset(t, grid, []float64{5, 7, 2e-4, 2e4})
	q.at.number.Usual = []float64{grid[3]}
	assert.Len(t, q.grid(), 12, "no value twice")

	q.at.number.Usual, q.at.number.Periodic = nil, true
	q.least, q.most = 1, 3
	grid = q.grid()
	require.Len(t, grid, 6)
	for i, k := range []int{-4, -3, -2, -1, 1, 2} {
		assert.InEpsilon(t, 2*math.Pow(1.15, float64(k)), grid[i], 1e-12)
	}

	q.at.number.Added = true
	q.least, q.most = -10, 14
	var want []float64
	for v := -10.; v <= 14; v++ {
		if v != 2 {
			want = append(want, v)
		}
	}
	assert.InDeltaSlice(t, want, q.grid(), 1e-12)
	q.least, q.most = -10, 38
	require.Len(t, q.grid(), 24)
	assert.InDelta(t, -8, q.grid()[1], 1e-12)

	q.at.number.Step, q.least, q.most = 3, -4, 8
	assert.Equal(t, []float64{-4, -1, 5, 8}, q.grid())
}

// Usual values are candidates where a number leads elsewhere, if they come near.
func TestUsualValues(t *testing.T) {
	c := newCurves(t, 4, 1e-6, plain(1, powers))
	q := c.search(t.Context(), 0, c.output(3))
	q.at.number.Usual = []float64{1, 3, 1e9, 1e-9, 4}
	values := func() (all []float64) {
		for _, f := range q.usual() {
			all = append(all, f.value)
			assert.NotNil(t, f.output)
		}
		return all
	}
	assert.Equal(t, []float64{3}, values())
	assert.Equal(t, 2, c.counted(), "the right value and those out of the range are not tried")
	q.least, q.most = 3, 3
	assert.Equal(t, []float64{3}, values())
	for sigmas, want := range map[float64]int{5.9: 1, 6.1: 0} {
		for i := range q.got {
			q.got[i] = c.output(3)[i] + sigmas*1e-6
		}
		assert.Len(t, q.usual(), want)
	}
	// The outputs of other values lead elsewhere, yet a usual value jumps to the output.
	c = newCurves(t, 2, 1e-6, plain(1, func(value float64) []float64 {
		if value == 8 {
			return []float64{0, 1}
		}
		return line(value)
	}))
	q = c.search(t.Context(), 0, []float64{0, 1})
	q.at.number.Usual = []float64{8}
	assert.Len(t, q.candidates(), 1)
	m, _ := q.find()
	require.NotNil(t, m)
	assert.Equal(t, 8., m.Value)
}

// A number leads if some value's error has a part of the output's: a tenth of their cosine.
func TestANumberLeads(t *testing.T) {
	// Value v moves the first element by log v, and the second by its square.
	c := newCurves(t, 2, 1e-6, plain(1, func(v float64) []float64 {
		return []float64{10 + math.Log(v), 10 + 0*v}
	}))
	for cosine, want := range map[float64]bool{0.09: false, 0.11: true, 0.19: true, -0.11: true} {
		got := []float64{10 + cosine, 10 + math.Sqrt(1-cosine*cosine)}
		assert.Equal(t, want, c.search(t.Context(), 0, got).leads(), cosine)
	}
	// Values without an output lead nowhere.
	c.numbers[0].of = func(float64) []float64 { return nil }
	c.module.kept = newKept()
	assert.False(t, c.search(t.Context(), 0, []float64{11, 10}).leads())
}

// An output of a value that every search tries is kept, unless the number has the value in one
// place alone.
func TestKeptValues(t *testing.T) {
	c := newCurves(t, 4, 1e-6, plain(1, powers))
	q := c.search(t.Context(), 0, c.output(3))
	a := q.tryKept(5)
	assert.Equal(t, c.output(5), a.output)
	assert.InDelta(t, inNoise(c.output(3), c.output(5), c.module.Truth.Sigma), a.off, 1e-9)
	assert.Equal(t, 5., a.value)
	assert.Equal(t, a, q.tryKept(5))
	assert.Equal(t, 1, c.counted())
	q.tryKept(6)
	q.try(5)
	assert.Equal(t, 2, c.counted())
	q.at.where = "layers.0"
	assert.Equal(t, a, q.tryKept(5))
	assert.Equal(t, 1, c.counted())
	c.numbers[0].of = func(float64) []float64 { return nil }
	none := q.try(5)
	assert.Nil(t, none.output)
	assert.True(t, math.IsInf(none.off, 1))
	assert.True(t, math.IsInf(q.between(a, none), 1))
	assert.True(t, math.IsInf(q.between(none, a), 1))
	assert.Zero(t, q.between(a, a))
}

// Values between two that are near each other, and far from the output, are left out. Every fourth
// value and the last one are not.
func TestValuesThatAreLeftOut(t *testing.T) {
	c := newCurves(t, 2, 1, plain(1, line))
	values := func(list []tried) (all []float64) {
		for _, f := range list {
			all = append(all, math.Round(math.Log(f.value)))
		}
		return all
	}
	var list []float64
	for i := 1; i <= 14; i++ {
		list = append(list, math.Exp(float64(i)))
	}
	tryAll := func(got []float64, change func(q *moduleSearch)) ([]float64, []float64) {
		q := c.search(t.Context(), 0, got)
		change(q)
		all, ways := q.tryAll(list)
		require.Len(t, ways, len(all)-1)
		for i, way := range ways {
			assert.InDelta(t, math.Log(all[i+1].value/all[i].value)/math.Sqrt2, way, 1e-9)
		}
		return values(all), ways
	}
	none := func(*moduleSearch) {}
	every := []float64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14}
	all, _ := tryAll([]float64{0, 1000}, none)
	assert.Equal(t, []float64{1, 5, 9, 13, 14}, all)
	assert.Equal(t, 5, c.counted())
	// The four values from 5 to 9 are 4/sqrt(2) apart. Three times that is the limit.
	all, _ = tryAll([]float64{9, 12.5}, none)
	assert.Equal(t, []float64{1, 5, 9, 13, 14}, all)
	all, _ = tryAll([]float64{9, 11.9}, none)
	assert.Equal(t, []float64{1, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14}, all)
	all, _ = tryAll([]float64{0, 1000}, func(q *moduleSearch) { q.at.number.Periodic = true })
	assert.Equal(t, every, all)
	all, _ = tryAll([]float64{0, 1000}, func(q *moduleSearch) { q.at.number.Step = 1 })
	assert.Equal(t, every, all)

	q := c.search(t.Context(), 0, []float64{0, 1000})
	assert.Equal(t, []float64{list[0], list[4], list[8], list[12], list[13]}, q.landmarks(list))
	kept, _ := q.tryAll(list)
	assert.Nil(t, kept[0].output, "outputs take memory")
	assert.NotNil(t, kept[4].output)
	q.at.number.Step = 1
	assert.Equal(t, list, q.landmarks(list))
	kept, _ = q.tryAll(list)
	assert.NotNil(t, kept[0].output)
	all14, ways := c.search(ended(t), 0, []float64{0, 1000}).tryAll(list)
	assert.Empty(t, all14)
	assert.Empty(t, ways)
	short, _ := c.search(t.Context(), 0, []float64{0, 1000}).tryAll(list[:2])
	assert.Len(t, short, 2)
}

// An output further from a value than three times the ways to its neighbours is not between them.
func TestACurvePassesBy(t *testing.T) {
	c := newCurves(t, 4, 1e-6, plain(1, powers))
	q := c.search(t.Context(), 0, c.output(3))
	ways := []float64{1, 2, 5}
	for _, tc := range []struct {
		off  float64
		i    int
		want bool
	}{
		{6, 1, false}, {6.1, 1, true}, {15, 2, false}, {15.1, 2, true},
		{99, 0, false}, {99, 3, false}, {99, 4, false},
	} {
		assert.Equal(t, tc.want, q.passesBy(tc.off, ways, tc.i), tc)
	}
	q.at.number.Periodic = true
	assert.False(t, q.passesBy(99, ways, 1))
}

// The nearest three minima of the distance are candidates, the nearest first. A value without an
// output is none.
func TestCandidatesOfANumberThatCounts(t *testing.T) {
	of := func(v float64) []float64 {
		if v == 9 {
			return nil
		}
		return []float64{math.Abs(v-4) * math.Abs(v-7), 1}
	}
	c := newCurves(t, 2, 1e-3, counting(0, -2, 10, of))
	q := c.search(t.Context(), 0, []float64{0, 1})
	var values []float64
	for _, f := range q.candidates() {
		values = append(values, f.value)
		require.NotNil(t, f.output)
	}
	assert.Equal(t, []float64{4, 7, 10}, values)
	m, _ := q.find()
	require.NotNil(t, m)
	assert.Equal(t, []float64{4, 4, 4}, []float64{m.Value, m.Least, m.Most}, "not rounded")
	assert.Nil(t, c.search(ended(t), 0, []float64{0, 1}).candidates())
	for _, f := range c.search(t.Context(), 0, []float64{0.3, 1}).candidates() {
		assert.Equal(t, math.Round(f.value), f.value, "no steps between the counts")
	}
	// Several counts give the same.
	c = newCurves(t, 2, 1e-3, counting(0, -9, 9, func(v float64) []float64 { return []float64{max(2, min(v, 4)), 1} }))
	c.numbers[0].of = func(v float64) []float64 { return []float64{max(3, math.Abs(v-6)), 1} }
	q = c.search(t.Context(), 0, []float64{3, 1})
	m, _ = q.confirm(tried{value: 6})
	require.NotNil(t, m)
	assert.Equal(t, []float64{6, 3, 9}, []float64{m.Value, m.Least, m.Most})
}

// A step goes where the output would be nearest if it were linear, in the noise of each element. An
// element without noise does not count.
func TestStepOfANumber(t *testing.T) {
	c := newCurves(t, 3, 1, plain(1, func(v float64) []float64 { return []float64{v, v, v} }))
	q := c.search(t.Context(), 0, []float64{4, 1, 99})
	c.module.Truth.Sigma = []float64{1, 2, 0}
	from, to := tried{output: []float64{1, -1, 0}}, tried{output: []float64{2, 3, 5}}
	// The way is (1, 2) in sigma, and (3, 1) lacks: the product is 5, the squares are 5 and 10.
	part, cosine := q.step(from, to)
	assert.InDelta(t, 1, part, 1e-12)
	assert.InDelta(t, 5/math.Sqrt(50), cosine, 1e-12)
	q.got = []float64{-2, -3, 99}
	part, cosine = q.step(from, to)
	assert.InDelta(t, -1, part, 1e-12)
	assert.InDelta(t, 5/math.Sqrt(50), cosine, 1e-12)
}

// Steps end at the nearest value. They are at most 1 long, are shortened where the output bends,
// and end where the outputs of the values pass by.
func TestDescendToAValue(t *testing.T) {
	c := newCurves(t, 4, 1e-6, plain(1, powers))
	for _, tc := range []struct {
		from, to float64
		most     int
	}{{1, 3, 9}, {60, 3, 12}, {3, 3, 2}, {0.002, 0.001, 10}, {500, 900, 9}} {
		best := c.search(t.Context(), 0, c.output(tc.to)).descend(tc.from)
		assert.InEpsilon(t, tc.to, best.value, 1e-8, tc)
		assert.LessOrEqual(t, c.counted(), tc.most, tc)
	}
	// An S-shaped curve overshoots: steps are shortened.
	c = newCurves(t, 2, 1e-6, plain(1, func(v float64) []float64 {
		return []float64{math.Atan(8 * math.Log(v/5)), 0.1 * math.Log(v)}
	}))
	best := c.search(t.Context(), 0, c.output(5)).descend(2.9)
	assert.InEpsilon(t, 5, best.value, 1e-8)
	assert.LessOrEqual(t, c.counted(), 16)
	// A line that passes by: the output lacks more across than along.
	c = newCurves(t, 2, 1e-6, plain(1, func(v float64) []float64 { return []float64{math.Log(v), 0} }))
	for across, most := range map[float64]int{20: 3, 4: 3, 2: 6} {
		got := []float64{1, across}
		best = c.search(t.Context(), 0, got).descend(2)
		assert.LessOrEqual(t, c.counted(), most, across)
		if across > 2 {
			continue
		}
		assert.InEpsilon(t, math.E, best.value, 1e-3)
	}
	// The context ended, or a value beside has no output.
	ctx := c.search(ended(t), 0, []float64{1, 0})
	assert.Equal(t, 2., ctx.descend(2).value)
	assert.Equal(t, 2, c.counted())
	c.numbers[0].of = func(v float64) []float64 {
		if v != 2 {
			return nil
		}
		return []float64{0, 0}
	}
	best = c.search(t.Context(), 0, []float64{1, 0}).descend(2)
	assert.Equal(t, 2., best.value)
}
