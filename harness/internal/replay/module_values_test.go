package replay

import (
	"context"
	"math"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/graph"
	"github.com/difftest/difftest/harness/internal/progress"
)

// normed is a model of two layers and a norm, with several small parameters.
func normed(t *testing.T, rows int) *Module {
	l := newLayers(t)
	l.input("x", l.drawn(rows, 5), rows, 5)
	l.linear("up", "x", 4, true)
	l.like("bent", "tanh", graph.Attributes{}, "up")
	l.linear("down", "bent", 6, true)
	l.add("norm", "rms_norm", graph.Attributes{Eps: 1e-6}, []int{rows, 6}, graph.Value("down"), l.parameter("norm.weight", 6))
	return l.module()
}

func findValues(t *testing.T, m *Module, got []float64) []ValueMatch {
	found, cut := m.FindValues(t.Context(), got)
	require.Empty(t, cut)
	return found
}

func TestTitleOfOtherValues(t *testing.T) {
	v := ValueMatch{Keys: []string{"a.weight"}}
	assert.Equal(t, "a.weight", v.Title())
	v.Keys, v.Where, v.Changed = append(v.Keys, "a.bias"), "layers.1", "1 of its 4 rows"
	assert.Equal(t, "a.weight and a.bias in layers.1 alone (1 of its 4 rows)", v.Title())
}

// A small parameter with other values is named: by least squares, by steps where the output bends,
// and alone where no other parameter gives the same.
func TestSmallParametersWithOtherValues(t *testing.T) {
	m := normed(t, 40)
	for key, elements := range map[string]int{"up.weight": 20, "up.bias": 4, "down.weight": 24, "down.bias": 6, "norm.weight": 6} {
		got := changed(t, m, key, moved(1, all))
		found := findValues(t, m, got)
		require.Equal(t, key, titles(found), key)
		assert.Equal(t, elements, found[0].Unknowns)
		assert.Equal(t, 40, found[0].Rows)
		assert.Zero(t, found[0].Equations)
		assert.Less(t, found[0].Residual, 1e-5)
		assert.Positive(t, found[0].Residual)
		assert.Positive(t, found[0].MaxZ)
		assert.Less(t, found[0].MaxZ, 20.)
	}
	// Nothing is named for the right output, two parameters, and an error of another kind.
	assert.Empty(t, findValues(t, m, m.right.Data))
	both := with(t, m, map[string]func([]float32){"up.weight": moved(1, all), "norm.weight": moved(1, all)})
	assert.Empty(t, findValues(t, m, both))
	other := slices.Clone(m.right.Data)
	for i := range other {
		other[i] += 0.1 * math.Sin(float64(i*i))
	}
	assert.Empty(t, findValues(t, m, other))
	_, cut := m.FindValues(ended(t), both)
	assert.NotEmpty(t, cut)
	_, cut = m.FindOtherValues(ended(t), both)
	assert.NotEmpty(t, cut)
}

// Too few rows follow from others.
func TestRowsThatValuesNeed(t *testing.T) {
	for rows, want := range map[int]string{5: "", 16: "norm.weight"} {
		m := normed(t, rows)
		got := slices.Clone(m.right.Data)
		// A third of the rows is computed with another parameter.
		other := changed(t, m, "norm.weight", moved(1, all))
		copy(got, other)
		if rows == 5 {
			copy(got, m.right.Data[:2*6])
		}
		assert.Equal(t, want, titles(findValues(t, m, got)), rows)
	}
	m := normed(t, 16)
	other := changed(t, m, "norm.weight", moved(1, all))
	// Half of the rows have the parameter, so that the other rows contradict.
	got := append(slices.Clone(other[:8*6]), m.right.Data[8*6:]...)
	assert.Empty(t, findValues(t, m, got))
}

// Two parameters that give the same are both named, and one of them once, by whichever search.
func TestParametersThatGiveTheSame(t *testing.T) {
	l := newLayers(t)
	l.input("x", l.drawn(16, 5), 16, 5)
	l.linear("head", "x", 4, true)
	l.add("sum", "add", graph.Attributes{}, []int{16, 4}, graph.Value("head"), l.parameter("shift", 4))
	m := l.module()
	got := changed(t, m, "shift", moved(1, all))
	found, cut := m.FindOtherValues(t.Context(), got)
	require.Empty(t, cut)
	assert.ElementsMatch(t, []string{"shift", "head.bias"}, []string{found[0].Keys[0], found[1].Keys[0]})
	assert.Len(t, found, 2)
	got = changed(t, m, "head.weight", redrawn(5, all))
	found, cut = m.FindOtherValues(t.Context(), got)
	require.Empty(t, cut)
	assert.Equal(t, "head.weight", titles(found), "once")
	m = head(t, 60, 20, 15, false)
	found, cut = m.FindOtherValues(t.Context(), changed(t, m, "head.weight", redrawn(20, all)))
	require.Empty(t, cut)
	assert.Equal(t, "head.weight", titles(found), "too many elements for the first search")
}

// A search that ends among the weights says so, and names nothing.
func TestOtherValuesAreCutOffAmongWeights(t *testing.T) {
	m := head(t, 60, 20, 15, false)
	ctx, end := context.WithCancel(t.Context())
	defer end()
	ctx = progress.With(ctx, func(u progress.Update) {
		if u.Stage == "other values of weights" {
			end()
		}
	})
	found, cut := m.FindOtherValues(ctx, changed(t, m, "head.weight", redrawn(20, all)))
	assert.Empty(t, found)
	assert.NotEmpty(t, cut)
}

// An output proves something about parameters if it has rows, at least four of them wrong, and
// float32's noise.
func TestOutputsThatProveNothing(t *testing.T) {
	m := normed(t, 8)
	got := func(rows int) []float64 {
		g := slices.Clone(m.right.Data)
		for n := range rows {
			g[n*6+n%6] += 1
		}
		return g
	}
	q := newValueSearch(t.Context(), m, got(4))
	require.NotNil(t, q)
	assert.Equal(t, []int{0, 1, 2, 3}, q.wrong)
	assert.Equal(t, 6, q.width)
	assert.Nil(t, newValueSearch(t.Context(), m, got(3)))
	// An element is wrong beyond 20 sigma, or if it is no number.
	sigma := m.Truth.Sigma
	for z, want := range map[float64]int{19.9: 4, 20.1: 5, math.NaN(): 5} {
		g := got(4)
		g[5*6] += z * sigma[5*6]
		assert.Len(t, newValueSearch(t.Context(), m, g).wrong, want, z)
	}
	assert.Nil(t, newValueSearch(t.Context(), m.InLowerPrecision(sigma), got(4)))
	flat := *m
	flat.Truth.Shape = []int{48}
	assert.Nil(t, newValueSearch(t.Context(), &flat, got(4)))
	flat.Truth.Shape = []int{8, 0}
	assert.Nil(t, newValueSearch(t.Context(), &flat, nil))
	for _, none := range [][]float64{got(3), m.right.Data} {
		found, cut := m.FindValues(t.Context(), none)
		assert.Empty(t, found)
		assert.Empty(t, cut)
		found, cut = m.FindWeights(t.Context(), none)
		assert.Empty(t, found)
		assert.Empty(t, cut)
	}
}

// The parameters that are asked about have at most 200 elements and half as many as the output, and
// matter to it. The search is left out where all their elements take too many replays.
func TestParametersThatAreAskedAbout(t *testing.T) {
	l := newLayers(t)
	l.input("x", l.drawn(30, 20), 30, 20)
	l.linear("a", "x", 10, true)
	l.linear("b", "x", 10, true)
	l.linear("c", "a", 20, false)
	l.linear("d", "c", 3, false)
	l.add("e", "add", graph.Attributes{}, []int{30, 3}, graph.Value("d"), l.parameter("e.bias", 3))
	l.parameter("more", 11, 19)
	l.add("f", "mul", graph.Attributes{}, []int{30, 3}, graph.Value("e"), l.parameter("f.weight", 1, 3))
	m := l.module()
	got := slices.Repeat([]float64{9}, 90)
	q := valueSearchOf(t, m, got)
	asked := func() (keys []string) {
		for _, key := range m.graph.Parameters {
			if f := q.newFit(key); f != nil {
				keys = append(keys, key)
				assert.Equal(t, f.Unknowns, len(f.from.Data))
				assert.Equal(t, []string{key}, f.Keys)
				assert.True(t, math.IsInf(f.Residual, 1))
			}
		}
		return keys
	}
	assert.Equal(t, []string{"a.bias", "e.bias", "f.weight"}, withoutUnused(asked()), "45 elements at most")
	q.got = slices.Repeat([]float64{9}, 400)
	assert.Equal(t, []string{"a.weight", "a.bias", "c.weight", "d.weight", "e.bias", "f.weight"}, withoutUnused(asked()))
	q.got = slices.Repeat([]float64{9}, 399)
	assert.Equal(t, []string{"a.bias", "d.weight", "e.bias", "f.weight"}, withoutUnused(asked()))
	delete(m.values, "more")
	assert.Nil(t, q.newFit("more"))
	q.got = got
	part := *m
	part.within = "e"
	q.module = &part
	assert.Equal(t, []string{"e.bias"}, asked())
	// The 26 elements take a replay each, of 1e10 operations in all at most. Two layers have 300
	// products for each element of x's width.
	q.module = m
	for width, want := range map[int]bool{6.3e5: true, 6.5e5: false} {
		m.values["x"].Shape = []int{30, width}
		assert.Equal(t, want, len(q.all()) > 0, width)
	}
}

// withoutUnused leaves out the parameters of a layer that does not matter to the output.
func withoutUnused(keys []string) []string {
	return slices.DeleteFunc(keys, func(key string) bool { return key[0] == 'b' })
}

// The columns of a parameter are how the output moves with each element, in sigma.
func TestColumnsOfAParameter(t *testing.T) {
	m := normed(t, 16)
	m.Truth.Sigma[7] = 0
	got := changed(t, m, "down.bias", moved(1, all))
	q := valueSearchOf(t, m, got)
	f := q.newFit("norm.weight")
	f.off = q.lacking(f, f.now)
	assert.Zero(t, f.off[7])
	assert.InDelta(t, (got[8]-m.right.Data[8])/m.Truth.Sigma[8], f.off[8], 1e-6)
	for _, sides := range [][]float64{oneSide, bothSides} {
		columns := q.columns(f, sides)
		require.Len(t, columns, 6)
		for k := range columns {
			for i, x := range columns[k] {
				s, want := m.Truth.Sigma[i], 0.
				if i%6 == k && s > 0 {
					want = m.right.Data[i] / m.values["norm.weight"].Wide().Data[k] / s
				}
				assert.InDelta(t, want, x, 1e-6*(1+math.Abs(want)))
			}
		}
	}
	// Differences to both sides are exact where the output bends.
	g := q.newFit("up.bias")
	g.off = q.lacking(g, g.now)
	one, both := q.columns(g, oneSide), q.columns(g, bothSides)
	worse := 0.0
	for k := range one {
		d := after(one[k], [][]float64{both[k]}, []float64{1})
		worse = max(worse, math.Sqrt(product(d, d)/product(one[k], one[k])))
	}
	assert.Greater(t, worse, 1e-6)
	assert.Less(t, worse, 1e-3)
	cut := *q
	cut.ctx = ended(t)
	assert.Nil(t, cut.columns(f, oneSide))
	assert.Nil(t, q.short(nil))
	assert.Nil(t, q.short(slices.Repeat([]float64{math.NaN()}, 96)))
	assert.Nil(t, q.short(slices.Repeat([]float64{math.Inf(1)}, 96)))
	f.name = "another"
	assert.Nil(t, q.lacking(f, f.now))
	assert.Nil(t, q.columns(f, oneSide))
	f.off = nil
	q.begin(f)
	assert.Equal(t, 1., f.left)
	assert.Equal(t, 1., scaleOf([]float64{0, 0}))
	assert.Equal(t, 5., scaleOf([]float64{1, 7}))
	assert.Equal(t, 0.5, scaleOf([]float64{0.5}))
}

// equationsFor returns the equations of an output that is linear in a parameter.
func equationsFor(t *testing.T, columns [][]float64, off, from, now []float64, use []bool) *equations {
	q := &valueSearch{got: off}
	f := &valueFit{off: off, from: &graph.Tensor[float64]{Data: from}, now: now}
	if use == nil {
		use = q.everything()
	}
	e := q.equations(f, columns, use)
	require.NotNil(t, e)
	return e
}

// A step solves the normal equations of the elements in use. In a direction that they say nothing
// about, the parameter returns to its right values.
func TestStepOfAParameter(t *testing.T) {
	columns := [][]float64{{1, 0, 1, 0}, {1, 2, 0, 0}}
	for _, want := range [][]float64{{3, -1}, {0.5, 4}} {
		off := after(make([]float64, 4), columns, []float64{-want[0], -want[1]})
		e := equationsFor(t, columns, off, []float64{1, 1}, []float64{1, 1}, nil)
		assert.InDeltaSlice(t, want, e.step(resolved), 1e-9)
		assert.InDelta(t, 0, product(after(off, columns, want), after(off, columns, want)), 1e-18)
		off[3] = 99 // no column reaches the last element
		e = equationsFor(t, columns, off, []float64{1, 1}, []float64{1, 1}, nil)
		assert.InDeltaSlice(t, want, e.step(resolved), 1e-9)
		off[0] = 99
		e = equationsFor(t, columns, off, []float64{1, 1}, []float64{1, 1}, []bool{false, true, true, true})
		assert.InDeltaSlice(t, want, e.step(resolved), 1e-9)
	}
	// Two columns that are alike: their sum is known, and their difference returns.
	alike := [][]float64{{1, 2}, {1, 2}}
	e := equationsFor(t, alike, []float64{4, 8}, []float64{1, 2}, []float64{5, 2}, nil)
	assert.InDeltaSlice(t, []float64{0, 4}, e.step(resolved), 1e-9)
	// A direction must have a part of the largest, and the step a hundred times the parameter's
	// size at most.
	for part, want := range map[float64]float64{1.1e-8: 1, 0.9e-8: 0} {
		size := 1e6 * math.Sqrt(part)
		e = equationsFor(t, [][]float64{{1e6, 0}, {0, size}}, []float64{1e6, size}, []float64{1, 1}, []float64{1, 1}, nil)
		step := e.step(resolvedByOneSide)
		assert.InDelta(t, 1, step[0], 1e-9)
		assert.InDelta(t, want, step[1], 1e-9)
	}
	for size, want := range map[float64]float64{0.01005: 1, 0.00995: 0} {
		e = equationsFor(t, [][]float64{{1, 0}, {0, size}}, []float64{1, size}, []float64{1, 1}, []float64{1, 1}, nil)
		assert.InDelta(t, want, e.step(resolved)[1], 1e-9)
	}
	assert.Equal(t, []float64{1, 0, 3}, masked([]float64{1, 2, 3}, []bool{true, false, true}))
	assert.Equal(t, []float64{1e-13, 1e-8}, []float64{resolved, resolvedByOneSide})
}

// The first look says which part of the error a parameter leaves, and keeps small equations.
func TestBeginWithAParameter(t *testing.T) {
	m := normed(t, 16)
	q := valueSearchOf(t, m, changed(t, m, "norm.weight", moved(1, all)))
	f, other := q.newFit("norm.weight"), q.newFit("up.bias")
	q.begin(f)
	q.begin(other)
	assert.Less(t, f.left, 1e-6)
	assert.Greater(t, other.left, 0.3)
	assert.Less(t, other.left, 1.)
	require.NotNil(t, f.first)
	again, least := q.next(f, 0, false)
	assert.Same(t, f.first, again)
	assert.Equal(t, resolvedByOneSide, least)
	next, _ := q.next(f, 1, false)
	assert.NotSame(t, f.first, next)
	next, least = q.next(f, 1, true)
	assert.NotNil(t, next)
	assert.Equal(t, resolved, least)
	q.ctx = ended(t)
	next, _ = q.next(f, 1, true)
	assert.Nil(t, next)
	g := q.newFit("norm.weight")
	q.begin(g)
	assert.Equal(t, 1., g.left)
	assert.Nil(t, g.first)
	// Large equations are not kept.
	for rows, kept := range map[int]bool{7281: true, 7282: false} {
		l := newLayers(t)
		l.input("x", l.drawn(rows, 6), rows, 6)
		l.add("y", "mul", graph.Attributes{}, []int{rows, 6}, graph.Value("x"), l.parameter("w", 6))
		m, err := NewModule(l.graph, l.given, compare.Expected{Shape: []int{rows, 6}})
		require.NoError(t, err)
		m.Truth.Value, m.Truth.Sigma = m.right.Data, slices.Repeat([]float64{1e-6}, rows*6)
		q := valueSearchOf(t, m, slices.Repeat([]float64{1}, rows*6))
		f := q.newFit("w")
		q.begin(f)
		assert.Equal(t, kept, f.first != nil)
	}
}

// Steps come to the values in one step where the output is linear, and in few where it bends.
func TestStepsOfAParameter(t *testing.T) {
	m := normed(t, 40)
	for _, key := range []string{"norm.weight", "up.bias", "up.weight", "down.weight"} {
		right := m.values[key].Wide().Data
		q := valueSearchOf(t, m, changed(t, m, key, moved(1, all)))
		f := q.newFit(key)
		f.off = q.lacking(f, f.now)
		columns := q.steps(f)
		require.Len(t, columns, len(right))
		for i, x := range f.now {
			if key == "down.weight" || key == "up.weight" {
				continue
			}
			assert.InDelta(t, right[i]+0.1+0.3*math.Sin(float64(i)), x, 1e-4, key)
		}
		q.descend(f)
		assert.Equal(t, 40, f.Rows, key)
		assert.Less(t, f.Residual, 1e-5)
	}
	// Values 64 times as large as the right ones are no explanation.
	l := newLayers(t)
	l.input("x", slices.Repeat([]float32{900, -1e3, 1100}, 12), 12, 3)
	l.add("y", "add", graph.Attributes{}, []int{12, 3}, graph.Value("x"), l.parameter("w", 3))
	m = l.module()
	for times, want := range map[float32]int{63: 1, 65: 0} {
		got := changed(t, m, "w", func(values []float32) {
			for i := range values {
				values[i] *= times
			}
		})
		assert.Len(t, findValues(t, m, got), want, times)
	}
}

// A step that comes no nearer is halved, four times at most.
func TestAPartOfAStepOfAParameter(t *testing.T) {
	l := newLayers(t)
	l.input("x", slices.Repeat([]float32{1}, 12), 12, 1)
	l.add("y", "mul", graph.Attributes{}, []int{12, 1}, graph.Value("x"), l.parameter("w", 1))
	m := l.module()
	right := m.values["w"].Wide().Data[0]
	got := slices.Repeat([]float64{right + 1}, 12)
	q := valueSearchOf(t, m, got)
	for _, tc := range []struct{ step, end float64 }{{1, 1}, {1.9, 1.9}, {2.1, 1.05}, {30, 1.875}, {33, 0}} {
		f := q.newFit("w")
		f.off = q.lacking(f, f.now)
		before := product(f.off, f.off)
		assert.Equal(t, tc.end != 0, q.move(f, []float64{tc.step}), tc)
		assert.InDelta(t, right+tc.end, f.now[0], 1e-9)
		assert.InDelta(t, before*(1-tc.end)*(1-tc.end), product(f.off, f.off), 1e-3*before)
	}
}

// Each half of the wrong rows must follow from all other rows, in every element and on average.
func TestHalvesOfTheWrongRows(t *testing.T) {
	const width, rows = 4, 10
	for _, tc := range []struct {
		name string
		off  func(row, i int) float64
		want bool
	}{
		{"none", func(int, int) float64 { return 0 }, true},
		{"noise", func(_, i int) float64 { return 1.9 * math.Pow(-1, float64(i)) }, true},
		{"more than noise", func(_, i int) float64 { return 2.1 * math.Pow(-1, float64(i)) }, false},
		{"an element of an even row", func(row, i int) float64 {
			if row == 4 && i == 1 {
				return 3.9
			}
			return 0
		}, true},
		{"an even row", func(row, i int) float64 {
			if row == 4 {
				return 2.1 * math.Pow(-1, float64(i))
			}
			return 0
		}, false},
		{"an odd row", func(row, i int) float64 {
			if row == 5 {
				return 2.1 * math.Pow(-1, float64(i))
			}
			return 0
		}, false},
		{"a right row", func(row, i int) float64 {
			if row == 9 {
				return 99 * math.Pow(-1, float64(i))
			}
			return 0
		}, true},
		{"the last wrong row", func(row, i int) float64 {
			if row == 6 {
				return 99 * math.Pow(-1, float64(i))
			}
			return 0
		}, false},
		// Each half of the rows alone has its own value, and right rows have none.
		{"halves that differ", func(row, _ int) float64 { return 50 * math.Pow(-1, float64(row)) }, false},
		{"a value that right rows lack", func(row, _ int) float64 {
			if 1 <= row && row <= 6 {
				return 50
			}
			return 0
		}, false},
		{"a value", func(int, int) float64 { return 50 }, true},
	} {
		off, column := make([]float64, width*rows), slices.Repeat([]float64{1000}, width*rows)
		for i := range off {
			off[i] = tc.off(i/width, i%width)
		}
		q := &valueSearch{got: off, width: width, wrong: []int{1, 2, 3, 4, 5, 6}}
		f := &valueFit{off: off, from: &graph.Tensor[float64]{Data: []float64{1}}, now: []float64{1}}
		assert.Equal(t, tc.want, q.proved(f, [][]float64{column}), tc.name)
	}
	// In a wide row, an element may be 20 sigma off.
	for size, want := range map[float64]bool{19.9: true, 20.1: false} {
		off, column := make([]float64, 4000), make([]float64, 4000)
		for i := range column {
			column[i] = math.Pow(-1, float64(i/2))
		}
		off[3*400+1], off[3*400+3] = size, size
		q := &valueSearch{got: off, width: 400, wrong: []int{1, 2, 3, 4, 5, 6}}
		f := &valueFit{off: off, from: &graph.Tensor[float64]{Data: []float64{1}}, now: []float64{1}}
		assert.Equal(t, want, q.proved(f, [][]float64{column}), size)
	}
}

// counted is a model whose replays are counted: a scale of each element, a function, and a sum.
func counted(t *testing.T, function func(x float64) float64) (m *Module, calls *atomic.Int64) {
	l := newLayers(t)
	calls = new(atomic.Int64)
	l.input("x", slices.Repeat([]float32{0.5, 1, 1.5, 2, -1, -0.5}, 4), 8, 3)
	l.add("scaled", "mul", graph.Attributes{}, []int{8, 3}, graph.Value("x"), l.parameter("w", 3))
	l.like("y", "tanh", graph.Attributes{}, "scaled")
	l.graph.Nodes[1].Computed = func(
		in []*graph.Tensor[float64], _ graph.Rounding,
	) (*graph.Tensor[float64], []float64, error) {
		calls.Add(1)
		y := &graph.Tensor[float64]{Shape: []int{8, 3}}
		for _, x := range in[0].Data {
			y.Data = append(y.Data, function(x))
		}
		return y, nil, nil
	}
	m = l.module()
	m.Truth.Sigma = slices.Repeat([]float64{1e-6}, 24)
	calls.Store(0)
	return m, calls
}

// Steps take few replays: a column of one side for each element while the error is large, and of
// both sides near the end.
func TestReplaysOfSteps(t *testing.T) {
	double := func(x float64) float64 { return 2 * x }
	bent := func(x float64) float64 { return math.Tanh(x) + 0.2*x }
	for _, tc := range []struct {
		name     string
		function func(x float64) float64
		by       []float32
		noise    float64
		calls    int
		rows     int
	}{
		{"linear", double, []float32{0.3, -0.2, 0.1}, 0, 13, 8},
		{"bent", bent, []float32{0.3, -0.2, 0.1}, 0, 31, 8},
		{"bent far", bent, []float32{0.9, -0.8, 1.1}, 0, 38, 8},
		{"of another kind", double, []float32{0.3, -0.2, 0.1}, 0.2, 6, 0},
		{"bent, of another kind", bent, []float32{0.9, -0.8, 1.1}, 0.2, 10, 0},
	} {
		m, calls := counted(t, tc.function)
		right := m.values["w"].Wide().Data
		got := changed(t, m, "w", func(values []float32) {
			for i := range values {
				values[i] += tc.by[i]
			}
		})
		for i := range got {
			got[i] += tc.noise * math.Sin(float64(i*i))
		}
		q := valueSearchOf(t, m, got)
		f := q.newFit("w")
		calls.Store(0)
		q.begin(f)
		assert.EqualValues(t, 4, calls.Load())
		q.descend(f)
		assert.LessOrEqual(t, calls.Load(), int64(tc.calls), tc.name)
		assert.Equal(t, tc.rows, f.Rows, tc.name)
		for i, x := range f.now {
			if tc.noise == 0 {
				assert.InDelta(t, right[i]+float64(tc.by[i]), x, 1e-5)
			}
		}
	}
}

// Of all parameters, the eight are searched whose first step leaves least. One that leaves
// everything is not searched.
func TestPromisingParameters(t *testing.T) {
	l := newLayers(t)
	l.input("x", l.drawn(10, 3), 10, 3)
	before := "x"
	for i := range 10 {
		name := string(rune('a' + i))
		l.add(name, "add", graph.Attributes{}, []int{10, 3}, graph.Value(before), l.parameter("bias."+name, 3))
		before = name
	}
	l.add("none", "mul", graph.Attributes{}, []int{3}, l.parameter("unused", 3), graph.Number(2))
	l.graph.Output = "j"
	m := l.module()
	q := valueSearchOf(t, m, changed(t, m, "bias.c", moved(1, all)))
	fits := q.all()
	assert.Len(t, fits, 8)
	for _, f := range fits {
		assert.Less(t, f.left, 1e-3)
	}
	assert.Len(t, findValues(t, m, q.got), 8, "all that the case cannot tell apart")
	for i := range q.got {
		q.got[i] = m.right.Data[i] + math.Pow(-1, float64(i/3))
	}
	l = newLayers(t)
	l.input("x", l.drawn(10, 3), 10, 3)
	l.add("y", "add", graph.Attributes{}, []int{10, 3}, graph.Value("x"), l.parameter("w", 3))
	l.add("z", "mul", graph.Attributes{}, []int{3}, l.parameter("unused", 3), graph.Number(2))
	l.graph.Output = "y"
	m = l.module()
	q = valueSearchOf(t, m, changed(t, m, "w", moved(1, all)))
	fits = q.all()
	require.Len(t, fits, 1)
	assert.Equal(t, []string{"w"}, fits[0].Keys)
}

// A parameter is named if nothing else comes about as near: neither the right output nor another
// parameter.
func TestMarginOfAParameter(t *testing.T) {
	l := newLayers(t)
	l.input("x", slices.Repeat([]float32{1, 1, 1, 1.0000001, 1, 1}, 8), 16, 3)
	l.add("scaled", "mul", graph.Attributes{}, []int{16, 3}, graph.Value("x"), l.parameter("w", 3))
	l.add("y", "add", graph.Attributes{}, []int{16, 3}, graph.Value("scaled"), l.parameter("b", 3))
	m := l.module()
	m.Truth.Sigma = slices.Repeat([]float64{1e-9}, 48)
	got := slices.Clone(m.right.Data)
	for i := range got {
		got[i] += 0.5*float64(i%3) + 0.1 + 1e-9*math.Sin(float64(i*i))
	}
	// The scale almost gives the shift: its error is a few times the noise.
	assert.Empty(t, findValues(t, m, got))
	m.graph.Parameters = []string{"b"}
	assert.Equal(t, "b", titles(findValues(t, m, got)))
}
