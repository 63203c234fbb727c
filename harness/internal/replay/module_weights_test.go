package replay

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/graph"
	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/progress"
)

func find(t *testing.T, m *Module, got []float64) []ValueMatch {
	found, cut := m.FindWeights(t.Context(), got)
	require.Empty(t, cut)
	return found
}

// Weights of the head get a name where rows prove their values, and none where they do not.
func TestWeightsOfAHead(t *testing.T) {
	for _, tc := range []struct {
		rows, in, out int
		change        func(values []float32)
		want          string
	}{
		{14, 8, 5, redrawn(8, all), "head.weight"},
		{14, 8, 5, redrawn(8, row(3)), "head.weight (1 of its 5 rows)"},
		{14, 8, 5, redrawn(8, row(3, 1)), "head.weight (2 of its 5 rows)"},
		{14, 8, 5, redrawn(8, row(0, 3, 1)), "head.weight"},
		{8, 12, 5, redrawn(12, column(4)), "head.weight (1 of its 12 columns)"},
		{8, 12, 5, redrawn(12, column(4, 9)), "head.weight (2 of its 12 columns)"},
		{8, 12, 5, redrawn(12, all), ""},
		{8, 12, 5, redrawn(12, row(2)), ""},
		{14, 8, 5, func(values []float32) { // the third column is larger
			for i := range 5 {
				values[i*8+2] *= 2
			}
		}, ""},
		{14, 8, 5, func(values []float32) { // two columns have changed places
			for i := range 5 {
				values[i*8+2], values[i*8+4] = values[i*8+4], values[i*8+2]
			}
		}, ""},
	} {
		m := head(t, tc.rows, tc.in, tc.out, true)
		found := find(t, m, changed(t, m, "head.weight", tc.change))
		assert.Equal(t, tc.want, titles(found), tc)
		for _, v := range found {
			assert.Equal(t, tc.rows, v.Rows)
			assert.Less(t, v.Residual, 1e-6)
			assert.Positive(t, v.Residual)
			assert.Less(t, v.MaxZ, 20.)
			assert.Positive(t, v.MaxZ)
			if v.Equations > 0 {
				assert.Equal(t, []int{tc.in * tc.out, tc.rows * tc.out}, []int{v.Unknowns, v.Equations})
			} else {
				assert.Less(t, v.Unknowns, 3*tc.out)
			}
		}
	}
	m := head(t, 12, 6, 5, true)
	got := with(t, m, map[string]func([]float32){"head.bias": redrawn(1, all), "head.weight": redrawn(6, all)})
	found := find(t, m, got)
	assert.Equal(t, "head.weight and head.bias", titles(found))
	assert.Equal(t, 35, found[0].Unknowns)
	assert.Empty(t, find(t, m, changed(t, m, "head.weight", func([]float32) {})))
	_, cut := m.FindWeights(ended(t), got)
	assert.NotEmpty(t, cut)
}

// The weight of a layer with another one behind it is found, and that of the last layer.
func TestWeightsOfAPerceptron(t *testing.T) {
	m := perceptron(t, 14, 12, 4, 6)
	for _, tc := range []struct {
		key    string
		change func(values []float32)
		want   string
	}{
		{"up.weight", moved(12, column(5)), "up.weight (1 of its 12 columns)"},
		{"up.weight", moved(12, column(5, 0)), "up.weight (2 of its 12 columns)"},
		{"down.weight", redrawn(4, all), "down.weight"},
		{"down.weight", redrawn(4, row(2)), "down.weight (1 of its 6 rows)"},
		// A larger row is also a larger bias and weight of what follows.
		{"up.weight", func(values []float32) {
			for j := range 12 {
				values[j] *= 1.5
			}
		}, ""},
	} {
		assert.Equal(t, tc.want, titles(find(t, m, changed(t, m, tc.key, tc.change))), tc.key)
	}
	// Many rows prove every column of the first layer.
	m = perceptron(t, 60, 5, 4, 6)
	small := moved(5, all)
	assert.Equal(t, "up.weight", titles(find(t, m, changed(t, m, "up.weight", small))))
	got := with(t, m, map[string]func([]float32){"up.weight": small, "up.bias": small})
	assert.Equal(t, "up.weight and up.bias", titles(find(t, m, got)))
}

// A layer is asked about if each of its rows gives one row of the output, and if no rows mix.
func TestLayersThatAreAskedAbout(t *testing.T) {
	l := newLayers(t)
	l.input("x", l.drawn(8, 4), 8, 4)
	l.linear("first", "x", 4, false)
	l.like("mixed", "cumsum", graph.Attributes{Dim: 0}, "first")
	l.linear("second", "mixed", 4, false)
	l.like("bent", "tanh", graph.Attributes{}, "second")
	l.linear("third", "bent", 4, false)
	l.add("turned", "reshape", graph.Attributes{Shape: []int{2, 4, 4}}, []int{2, 4, 4}, graph.Value("third"))
	m := l.module()
	got := changed(t, m, "third.weight", redrawn(4, all))
	q := valueSearchOf(t, m, got)
	names := func() (all []string) {
		for _, s := range q.weightSites() {
			all = append(all, s.node.Name)
		}
		return all
	}
	assert.Equal(t, []string{"third", "second"}, names())
	sites := q.weightSites()
	assert.Equal(t, []bool{true, false}, []bool{sites[0].direct, sites[1].direct})
	assert.Equal(t, "third.weight", titles(find(t, m, got)))
	assert.Equal(t, "third.weight", sites[0].key)
	assert.Empty(t, sites[0].where)
	assert.Equal(t, []int{4, 4, 4}, []int{sites[0].in, sites[0].out, sites[0].place})
	for place, want := range map[int]bool{0: false, 2: true} {
		assert.Equal(t, want, q.rowByRow(m.weightSite(place)))
	}
	assert.Nil(t, m.weightSite(1), "no linear layer")
	// Of a part of the model, its own layers and those up to its output.
	part := *m
	part.within = "second"
	assert.Nil(t, part.weightSite(4))
	assert.NotNil(t, part.weightSite(2))
	q.module = &part
	assert.Equal(t, []string{"second"}, names())
	part.within, part.last = "", 3
	assert.Equal(t, []string{"second"}, names())
	// Layers with much work behind them end the list.
	dear := *m
	dear.values = graph.Values[float64]{}
	for name, v := range m.values {
		dear.values[name] = v
	}
	q.module = &dear
	for width, want := range map[int][]string{0.9 * 1e10 / 32 / 4: {"third", "second"}, 1.1 * 1e10 / 32 / 4: {"third"}} {
		n := slices.Clone(m.graph.Nodes)
		n[1].Op = "matmul"
		g := *m.graph
		g.Nodes, dear.graph = n, &g
		dear.values["first"] = &graph.Tensor[float64]{Shape: []int{8, width}, Data: m.values["first"].Data}
		dear.values["mixed"] = m.values["mixed"]
		assert.Equal(t, want, names(), width)
	}
}

// Three layers whose rows are mixed end the list: those before them are mixed as well.
func TestMixedLayersEndTheList(t *testing.T) {
	for mixed, want := range map[int]bool{2: true, 3: false} {
		l := newLayers(t)
		l.input("x", l.drawn(6, 3), 6, 3)
		l.linear("beside", "x", 3, false)
		before := "x"
		for i := range mixed {
			name := string(rune('a' + i))
			l.linear(name, before, 3, false)
			before = name
		}
		l.like("sum", "cumsum", graph.Attributes{Dim: 0}, before)
		l.add("output", "add", graph.Attributes{}, []int{6, 3}, graph.Value("sum"), graph.Value("beside"))
		m := l.module()
		q := valueSearchOf(t, m, slices.Repeat([]float64{9}, 18))
		assert.Equal(t, want, len(q.weightSites()) == 1, mixed)
	}
}

// A layer needs a weight that is a parameter, an input of its own, and the output's rows.
func TestSitesOfWeights(t *testing.T) {
	l := newLayers(t)
	l.input("x", l.drawn(8, 4), 8, 4)
	l.input("w", l.drawn(4, 4), 4, 4)
	l.add("given", "linear", graph.Attributes{Weight: "out, in"}, []int{8, 4}, graph.Value("x"), graph.Value("w"), graph.None)
	l.add("inner", "linear", graph.Attributes{Weight: "in, out"}, []int{8, 3}, graph.Value("given"), l.parameter("inner.weight", 4, 3), graph.None)
	l.linear("back", "inner", 4, true)
	l.add("again", "linear", graph.Attributes{Weight: "out, in"}, []int{8, 4}, graph.Value("back"), l.parameter("tied.weight", 4, 4), graph.None)
	l.add("last", "linear", graph.Attributes{Weight: "out, in"}, []int{8, 4}, graph.Value("again"), l.parameter("tied.weight", 4, 4), graph.None)
	l.add("half", "slice", graph.Attributes{Dim: 0, Stop: 4, Step: 1}, []int{4, 4}, graph.Value("last"))
	m := l.module()
	assert.Nil(t, m.weightSite(0), "the weight is an input")
	assert.Nil(t, m.weightSite(1), "other rows")
	m = m.Until(graph.ModuleOutput{Node: 4}, m.Truth)
	assert.Nil(t, m.weightSite(0), "the weight is an input")
	s := m.weightSite(1)
	require.NotNil(t, s)
	assert.True(t, s.inner)
	assert.Equal(t, []int{4, 3}, []int{s.in, s.out})
	assert.Equal(t, 2*3+1, s.at(1, 2))
	assert.Equal(t, "again", m.weightSite(3).where)
	assert.Equal(t, "last", m.weightSite(4).where)
	back := m.weightSite(2)
	assert.Equal(t, 1*3+2, back.at(1, 2))
	assert.Empty(t, back.where)
	assert.False(t, back.inner)
	m.graph.Nodes[2].Operands[0] = graph.Operand{Number: 1}
	assert.Nil(t, m.weightSite(2))
}

// A weight that two layers use may be wrong in one of them, and a weight may be stored (in, out).
func TestWeightsOfOneModule(t *testing.T) {
	l := newLayers(t)
	l.input("x", l.drawn(14, 4), 14, 4)
	l.add("one", "linear", graph.Attributes{Weight: "in, out"}, []int{14, 4}, graph.Value("x"), l.parameter("tied.weight", 4, 4), graph.None)
	l.like("bent", "tanh", graph.Attributes{}, "one")
	l.add("two", "linear", graph.Attributes{Weight: "in, out"}, []int{14, 4}, graph.Value("bent"), l.parameter("tied.weight", 4, 4), graph.None)
	m := l.module()
	other := newLayers(t)
	other.graph, other.given = m.graph, m.given
	got := slices.Clone(m.right.Data)
	tied, x := m.values["tied.weight"].Wide().Data, m.values["bent"].Data
	for n := range 14 {
		for i := range 4 {
			got[n*4+i] = 0
			for j := range 4 {
				w := tied[j*4+i]
				if i == 3 {
					w = 0.2 + 0.1*float64(j*j)
				}
				got[n*4+i] += w * x[n*4+j]
			}
			got[n*4+i] = float64(float32(got[n*4+i]))
		}
	}
	found := find(t, m, got)
	assert.Equal(t, "tied.weight in two alone (1 of its 4 rows)", titles(found))
}

// Equations about a layer must fit in memory.
func TestSmallEquations(t *testing.T) {
	q := &valueSearch{got: make([]float64, 1<<10)}
	for _, tc := range []struct {
		s    weightSite
		want bool
	}{
		{weightSite{out: 1 << 10, in: 1 << 40}, true}, {weightSite{out: 1<<10 + 1}, false},
		{weightSite{direct: true, in: 1 << 17, out: 1 << 40}, true}, {weightSite{direct: true, in: 1<<17 + 1}, false},
	} {
		assert.Equal(t, tc.want, q.small(&tc.s), tc)
	}
}

// The part of a weight that has other values, up to a hundredth of the largest change.
func TestThePartOfAWeight(t *testing.T) {
	s := &weightSite{in: 4, out: 6, weight: &graph.Tensor[float64]{Data: make([]float64, 24)}}
	for _, tc := range []struct {
		changed map[[2]int]float64
		want    string
	}{
		{map[[2]int]float64{{0, 1}: 1, {3, 1}: 1, {2, 1}: 0.5, {5, 1}: -1}, "1 of its 4 columns"},
		{map[[2]int]float64{{0, 1}: 1, {3, 2}: 1, {2, 1}: 0.5, {4, 1}: -1}, "2 of its 4 columns"},
		{map[[2]int]float64{{0, 1}: 1, {0, 2}: 1, {0, 3}: 0.5, {0, 0}: -1}, "1 of its 6 rows"},
		{map[[2]int]float64{{0, 1}: 1, {1, 2}: 1, {2, 3}: 0.5, {0, 0}: -1}, "3 of its 6 rows"},
		{map[[2]int]float64{{0, 1}: 1, {1, 2}: 1, {2, 3}: 0.5, {4, 0}: -1}, ""},
		{map[[2]int]float64{{0, 1}: 1, {3, 1}: 1, {0, 2}: 0.0139}, "1 of its 4 columns"},
		{map[[2]int]float64{{0, 1}: 1, {3, 1}: 1, {0, 2}: 0.0143}, "2 of its 6 rows"},
		{map[[2]int]float64{{0, 0}: 1, {0, 1}: 1, {1, 0}: 1}, "2 of its 6 rows"},
		{map[[2]int]float64{{0, 0}: 1, {1, 0}: 1, {2, 1}: 1}, "2 of its 4 columns"},
	} {
		weight := &graph.Tensor[float64]{Data: make([]float64, 24)}
		for at, x := range tc.changed {
			weight.Data[s.at(at[0], at[1])] = x
		}
		assert.Equal(t, tc.want, s.part(weight), tc.changed)
	}
}

// A change may be one of the features before or behind the layer: another size or order of columns,
// or another size of rows. Behind the last layer is nothing.
func TestChangesOfOtherLayers(t *testing.T) {
	right := []float64{1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 13, 17} // 3 rows, 4 columns
	at := func(direct bool, f func(w []float64)) bool {
		s := &weightSite{in: 4, out: 3, direct: direct, weight: &graph.Tensor[float64]{Data: right}}
		w := slices.Clone(right)
		f(w)
		return s.mayBeOfOthers(&graph.Tensor[float64]{Data: w})
	}
	columns := func(j int, f func(x float64) float64) func(w []float64) {
		return func(w []float64) {
			for i := range 3 {
				w[i*4+j] = f(w[i*4+j])
			}
		}
	}
	double := func(x float64) float64 { return 2 * x }
	for _, direct := range []bool{false, true} {
		assert.True(t, at(direct, columns(1, double)), "a column is larger")
		assert.True(t, at(direct, columns(1, func(x float64) float64 { return -x })))
		assert.False(t, at(direct, columns(1, func(x float64) float64 { return x + 3*math.Sin(x) })))
		assert.True(t, at(direct, func(w []float64) {
			for i := range 3 {
				w[i*4+1], w[i*4+3] = w[i*4+3], w[i*4+1]
			}
		}), "two columns have changed places")
		assert.False(t, at(direct, func(w []float64) {
			for i := range 3 {
				w[i*4+1] = w[i*4+3]
			}
			w[0], w[4], w[8] = 7, -2, 5
		}), "one column is copied, and another one drawn")
		assert.Equal(t, !direct, at(direct, func(w []float64) {
			for j := range 4 {
				w[4+j] *= 3
			}
		}), "a row is larger")
		assert.False(t, at(direct, func(w []float64) {
			for j := range 4 {
				w[4+j] *= 3
			}
			w[1], w[2] = 9, -9
		}), "one row of two is larger")
	}
	// 0.99 is the least cosine.
	for sine, want := range map[float64]bool{0.14: true, 0.15: false} {
		d := math.Sqrt(1 - sine*sine)
		s := &weightSite{in: 1, out: 2, direct: true, weight: &graph.Tensor[float64]{Data: []float64{1, 0}}}
		assert.Equal(t, want, s.mayBeOfOthers(&graph.Tensor[float64]{Data: []float64{1 + d, sine}}))
	}
	assert.True(t, isThis([]float64{0, 1.049}, []float64{1, 1}, []float64{0, 1}))
	assert.False(t, isThis([]float64{0, 1.06}, []float64{1, 1}, []float64{0, 1}))
	assert.Equal(t, 3, num.Last([]int{3}))
}

// mixing is a layer behind which one row is added to another one.
func mixing(t *testing.T, from, to int) (m *Module, calls *atomic.Int64) {
	l := newLayers(t)
	values := l.drawn(8, 3)
	for i := range values {
		values[i] *= 1e9
	}
	l.input("x", values, 8, 3)
	l.linear("layer", "x", 3, false)
	l.like("y", "tanh", graph.Attributes{}, "layer")
	calls = new(atomic.Int64)
	l.graph.Nodes[1].Computed = func(
		x []*graph.Tensor[float64], _ graph.Rounding,
	) (*graph.Tensor[float64], []float64, error) {
		calls.Add(1)
		y := &graph.Tensor[float64]{Shape: x[0].Shape, Data: slices.Clone(x[0].Data)}
		if from != to {
			num.AddScaled(0.5, x[0].Data[from*3:][:3], y.Data[to*3:])
		}
		return y, nil, nil
	}
	return l.module(), calls
}

// Any row that depends on another one is noticed, in few replays.
func TestRowsThatMix(t *testing.T) {
	for from := range 8 {
		for to := range 8 {
			m, calls := mixing(t, from, to)
			q := valueSearchOf(t, m, make([]float64, 24))
			s := m.weightSite(0)
			calls.Store(0)
			assert.Equal(t, from == to, q.rowByRow(s), "%d %d", from, to)
			assert.LessOrEqual(t, calls.Load(), int64(7))
			s.free = "another name"
			assert.False(t, q.rowByRow(s))
		}
	}
	// No program gives an output if a row is moved.
	m, _ := mixing(t, 0, 0)
	right := slices.Clone(m.values["layer"].Data)
	m.graph.Nodes[1].Computed = func(
		x []*graph.Tensor[float64], _ graph.Rounding,
	) (*graph.Tensor[float64], []float64, error) {
		if !slices.Equal(x[0].Data, right) {
			return nil, nil, errors.New("no program")
		}
		return x[0], nil, nil
	}
	q := valueSearchOf(t, m, make([]float64, 24))
	assert.False(t, q.rowByRow(m.weightSite(0)))
	assert.Nil(t, q.newWeightFit(m.weightSite(0)))
}

// A layer whose equations are large is not moved, and neither are those before it. Each layer's
// replays count.
func TestTheWorkOfLayers(t *testing.T) {
	m, calls := mixing(t, 0, 0)
	q := valueSearchOf(t, m, make([]float64, 24))
	q.got = make([]float64, 1<<20)
	calls.Store(0)
	assert.Empty(t, q.weightSites())
	assert.Zero(t, calls.Load())
	l := newLayers(t)
	l.input("x", l.drawn(6, 3), 6, 3)
	l.linear("a", "x", 3, false)
	l.linear("b", "a", 4, false)
	l.like("y", "tanh", graph.Attributes{}, "b")
	l.add("z", "matmul", graph.Attributes{}, []int{6, 6}, graph.Value("y"), graph.Value("side"))
	l.input("side", l.drawn(4, 6), 4, 6)
	m = l.module()
	q = valueSearchOf(t, m, make([]float64, 36))
	// 24 elements of the second layer are products of so many, and so are 18 of the first.
	for replays, want := range map[float64]int{3.9: 0, 4.1: 1, 6.9: 1, 7.1: 2} {
		m.values["x"].Shape = []int{6, int(1e10 / replays / 18)}
		names := q.weightSites()
		assert.Len(t, names, want, replays)
		m.values["x"].Shape = []int{6, 3}
	}
}

// A layer with a single feature, before an output of a single one, is asked about. Other shapes on
// the way do not matter.
func TestNarrowLayers(t *testing.T) {
	m := perceptron(t, 9, 4, 1, 1)
	require.NotNil(t, m.weightSite(0))
	require.NotNil(t, m.weightSite(2))
	l := newLayers(t)
	l.input("x", l.drawn(9, 4), 9, 4)
	l.linear("a", "x", 3, false)
	l.add("flat", "reshape", graph.Attributes{Shape: []int{27}}, []int{27}, graph.Value("a"))
	l.add("back", "reshape", graph.Attributes{Shape: []int{9, 3}}, []int{9, 3}, graph.Value("flat"))
	m = l.module()
	require.NotNil(t, m.weightSite(0))
	assert.True(t, m.weightSite(0).direct)
	assert.Equal(t, "a.weight", titles(find(t, m, changed(t, m, "a.weight", redrawn(4, all)))))
}

// provedFit returns the answer about the planted change of all columns of a head, if the output has
// some noise besides.
func provedFit(t *testing.T, m *Module, few bool, change, noise func(i int) float64) *ValueMatch {
	planted := m.values["head.weight"].Wide()
	other := &graph.Tensor[float64]{Shape: planted.Shape, Data: slices.Clone(planted.Data)}
	for i := range other.Data {
		other.Data[i] += change(i)
	}
	s := m.weightSite(0)
	g := m.view.Apply(s.to(other, nil), []int{0}).Until(m.output)
	output := m.outputOfGraph(g)
	own, err := m.expected(g, output)
	require.NoError(t, err)
	got := slices.Clone(output.Data)
	for i := range got {
		got[i] += noise(i) * own.Sigma[i]
	}
	q := &valueSearch{ctx: t.Context(), module: m, got: got, width: s.out, wrong: num.UpTo(len(got) / s.out)}
	f := q.newWeightFit(s)
	require.NotNil(t, f)
	f = f.ofColumns(num.UpTo(s.in), few)
	for i := range other.Data {
		f.change.Set(i%s.in, i/s.in, change(i))
	}
	f.off = f.lacking()
	return q.provedBy(f)
}

// An answer must give the output in its own noise. A fit of many unknown numbers leaves less noise
// than there is.
func TestWhatProvesAnAnswer(t *testing.T) {
	signs := func(size float64) func(i int) float64 {
		return func(i int) float64 { return size * math.Pow(-1, float64(i*i/3)) }
	}
	wave := func(i int) float64 { return 0.1 + 0.3*math.Sin(float64(i)) }
	m := head(t, 6, 4, 3, false)
	// 18 equations with 12 unknown numbers leave a third of the squares.
	for noise, want := range map[float64]bool{0: true, 1.15: true, 1.16: false, 1.9: false, 99: false} {
		v := provedFit(t, m, false, wave, signs(noise))
		assert.Equal(t, want, v != nil, noise)
		if want {
			assert.Equal(t, []int{12, 18, 6}, []int{v.Unknowns, v.Equations, v.Rows})
			assert.InDelta(t, noise, v.MaxZ, 1e-6)
		}
	}
	// One element of many is 20 times the noise off.
	m = head(t, 60, 4, 3, false)
	for noise, want := range map[float64]bool{19.9: true, 20.1: false} {
		single := func(i int) float64 {
			if i == 7 {
				return noise
			}
			return 0
		}
		assert.Equal(t, want, provedFit(t, m, false, wave, single) != nil, noise)
	}
}

// An answer must be five times as near as the right output, and of its size. One row of many that
// does not follow from the others is no proof of few columns.
func TestHowNearAnAnswerMustCome(t *testing.T) {
	signs := func(size float64) func(i int) float64 {
		return func(i int) float64 { return size * math.Pow(-1, float64(i*i/3)) }
	}
	wave := func(i int) float64 { return 0.1 + 0.3*math.Sin(float64(i)) }
	m := head(t, 60, 4, 3, false)
	for _, few := range []bool{true, false} {
		v := provedFit(t, m, few, wave, func(i int) float64 {
			if i/3 == 7 {
				return 3 * math.Pow(-1, float64(i))
			}
			return 0
		})
		assert.Equal(t, !few, v != nil)
	}
	// The right output is five times as far away.
	rms := func(noise, times float64) *ValueMatch {
		size := 1e-8
		far := func(i int) float64 { return size * wave(i) }
		for range 3 {
			s := m.weightSite(0)
			w := &graph.Tensor[float64]{Shape: s.weight.Shape, Data: slices.Clone(s.weight.Data)}
			for i := range w.Data {
				w.Data[i] += far(i)
			}
			output := m.outputOfGraph(m.view.Apply(s.to(w, nil), []int{0}).Until(m.output))
			size *= times * noise / inNoise(output.Data, m.right.Data, m.Truth.Sigma)
		}
		return provedFit(t, m, false, far, signs(noise))
	}
	assert.Nil(t, rms(1.5, 4))
	assert.NotNil(t, rms(1.5, 6))
	// Weights 64 times as large as the right ones are no explanation.
	right := m.values["head.weight"].Wide().Data
	for times, want := range map[float64]bool{63.9: true, 64.1: false} {
		assert.Equal(t, want, provedFit(t, m, false, func(i int) float64 {
			return times*scaleOf(right)*math.Pow(-1, float64(i*i/3)) - right[i]
		}, signs(0)) != nil, times)
	}
}

// A search that ends during its last layer is cut off as well.
func TestTheLastLayerIsCutOff(t *testing.T) {
	m := head(t, 12, 6, 5, true)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	found, cut := m.FindWeights(progress.With(ctx, func(progress.Update) { cancel() }), changed(t, m, "head.weight", redrawn(6, all)))
	assert.NotEmpty(t, cut)
	assert.Empty(t, found)
}
