package replay

import (
	"context"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/edits"
	"github.com/difftest/difftest/harness/internal/graph"
	"github.com/difftest/difftest/harness/internal/npy"
	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/progress"
)

// deep is a model of eleven layers: an activation, a gate, and a residual connection each.
func deep(t *testing.T) *Module { return moduleOf(t, os.DirFS("../edits/testdata"), "models/deep") }

// edit returns a mistake of models.
func edit(t *testing.T, id string) catalogue.Mistake {
	i := slices.IndexFunc(edits.Mistakes, func(m catalogue.Mistake) bool { return m.ID == id })
	require.GreaterOrEqual(t, i, 0, id)
	return edits.Mistakes[i]
}

// outputAt returns the output of a submodule.
func outputAt(t *testing.T, m *Module, path string) graph.ModuleOutput {
	all := m.Submodules()
	i := slices.IndexFunc(all, func(o graph.ModuleOutput) bool { return o.Path == path })
	require.GreaterOrEqual(t, i, 0, path)
	return all[i]
}

// graphModule returns the module of a graph with the given arrays by role.
func graphModule(t *testing.T, g *graph.Graph, arrays map[string]*npy.Array) *Module {
	t.Helper()
	given, err := graph.Given[float64](g, arrays)
	require.NoError(t, err)
	values, err := graph.Run(g, given)
	require.NoError(t, err)
	output := values[g.Output]
	sigma, err := graph.NoiseOf(g, arrays, graph.Values[float64]{g.Output: output})
	require.NoError(t, err)
	m, err := NewModule(g, arrays, compare.Expected{
		Shape: output.Shape, Value: output.Data, Sigma: sigma[g.Output], Measured: true,
	})
	require.NoError(t, err)
	return m
}

// drawn returns an array of normal float32 numbers.
func drawn(t *testing.T, seed uint64, shape ...int) *npy.Array {
	t.Helper()
	tensor := &attention.Tensor{Shape: shape, Data: make([]float32, num.Size(shape))}
	r := rand.New(rand.NewPCG(seed, 1))
	for i := range tensor.Data {
		tensor.Data[i] = float32(r.NormFloat64())
	}
	a, err := npy.TensorArray(tensor, npy.Float32)
	require.NoError(t, err)
	return a
}

// tiny returns the module tanh(W x / 2 + b) + x of four rows x. It knows the given mistakes alone.
func tiny(t *testing.T, known ...catalogue.Mistake) *Module {
	t.Helper()
	all := edits.Mistakes
	t.Cleanup(func() { edits.Mistakes = all })
	edits.Mistakes = known
	shape, x := []int{4, 3}, graph.Value("x")
	node := func(name, op, module string, operands ...graph.Operand) graph.Node {
		return graph.Node{Name: name, Op: op, Module: module, Shape: shape, Operands: operands}
	}
	line := node("line", "linear", "layers.1.proj", graph.Value("half"), graph.Value("weight"), graph.Value("bias"))
	line.Attributes.Weight = "out, in"
	return graphModule(t, &graph.Graph{
		Inputs: map[string]string{"x": "x"}, Parameters: []string{"weight", "bias"}, Output: "sum",
		Nodes: []graph.Node{
			node("half", "mul", "layers.0", x, graph.Number(0.5)),
			line,
			node("bend", "tanh", "layers.1", graph.Value("line")),
			node("sum", "add", "", graph.Value("bend"), x),
		},
	}, map[string]*npy.Array{
		"inputs.x": drawn(t, 1, 4, 3), "state_dict.weight": drawn(t, 2, 3, 3), "state_dict.bias": drawn(t, 3, 3),
	})
}

// atNode returns a mistake that replaces one node of a graph.
func atNode(id, name string, change func(n graph.Node) []graph.Node) catalogue.Mistake {
	return catalogue.Mistake{ID: id, Title: "the mistake " + id, Edit: func(_ *graph.View, n graph.Node) []graph.Node {
		if n.Name != name {
			return nil
		}
		return change(n)
	}}
}

// times returns a mistake of [tiny]: a multiple of the input for its half.
func times(id string, factor float64) catalogue.Mistake {
	return atNode(id, "half", func(n graph.Node) []graph.Node {
		return []graph.Node{n.Put(1, graph.Number(factor))}
	})
}

// becomes returns a mistake of [tiny]: another operator of the same operands.
func becomes(id, name, op string) catalogue.Mistake {
	return atNode(id, name, func(n graph.Node) []graph.Node { return []graph.Node{n.Become(op, n.Operands...)} })
}

// broken returns a mistake of [tiny] that no program can compute: a reshape to more elements.
func broken(id, name string) catalogue.Mistake {
	return atNode(id, name, func(n graph.Node) []graph.Node {
		wrong := n.Become("reshape", n.Operands[0])
		wrong.Attributes.Shape = []int{5, 3}
		return []graph.Node{wrong}
	})
}

// mistaken returns what a module gives, in float32, with mistakes, one after the other.
func mistaken(t *testing.T, m *Module, mistakes ...catalogue.Mistake) []float64 {
	t.Helper()
	g, values := m.graph, m.values
	for _, mistake := range mistakes {
		view := graph.NewView(g, values)
		at := view.Sites(mistake.Edit)
		require.NotEmpty(t, at, mistake.ID)
		g = view.Apply(mistake.Edit, at)
		var err error
		values, err = graph.Rerun(m.graph, g, m.values)
		require.NoError(t, err)
	}
	return float32s(m.blank(values[m.output]).Data)
}

// atLimit moves one of some values, up to 1 % of itself, until their distance is exactly a limit.
func atLimit(t *testing.T, values []float64, limit float64, distance func(values []float64) float64) []float64 {
	t.Helper()
	moved := slices.Clone(values)
	for try := range 20 * len(values) {
		i := try % len(values)
		at := func(v float64) float64 {
			moved[i] = v
			return distance(moved)
		}
		below, above := 0.99*values[i], 1.01*values[i]
		if at(below) > at(above) {
			below, above = above, below
		}
		for range 100 {
			middle := (below + above) / 2
			switch d := at(middle); {
			case d == limit:
				return moved
			case d < limit:
				below = middle
			default:
				above = middle
			}
		}
		moved[i] = values[i] * (1 + 1e-7*float64(try)) // another start for the next value
	}
	require.Fail(t, "the distance is never the limit")
	return nil
}

// float32s rounds values to float32.
func float32s(values []float64) []float64 {
	out := make([]float64, len(values))
	for i, v := range values {
		out[i] = float64(float32(v))
	}
	return out
}

// partUntil returns the part of a module that ends with a submodule's output.
func partUntil(t *testing.T, m *Module, path string) (*Module, graph.ModuleOutput) {
	o := outputAt(t, m, path)
	truths, err := m.Expected([]graph.ModuleOutput{o})
	require.NoError(t, err)
	return m.Until(o, truths[0]), o
}

// A mistake is found in all layers, or in the only layer that has it.
func TestFindInAModel(t *testing.T) {
	m, mistake := deep(t), edit(t, "gelu-tanh")
	for _, h := range append(m.at(mistake, everywhere), m.at(mistake, layerOf)[4]) {
		got := float32s(m.outputOf(h).Data)
		found, distances, cut := m.Measure(t.Context(), got)
		require.Empty(t, cut)
		require.Equal(t, []string{"gelu-tanh"}, idsOf(found))
		require.Equal(t, h.where, found[0].Where)
		require.Equal(t, h.sites, found[0].sites)
		require.Equal(t, "gelu-tanh", distances[0].ID)
		require.Less(t, distances[0].Residual, 1e-6)
		require.LessOrEqual(t, found[0].Next, compare.Residual(got, m.Truth.Value), "the right output is a miss")
	}
	_, cut := m.Find(ended(t), m.Truth.Value)
	require.Regexp(t, `^(\d+) of \d+ mistakes made everywhere were not tried$`, string(cut))
	require.Len(t, m.known(), len(m.Without("gelu-tanh").known())+1)
}

// The places of a mistake: one for all layers, one for each kind of module, and one for each layer.
// A joint mistake takes whole layers.
func TestPlacesOfAMistake(t *testing.T) {
	m, mistake := deep(t), edit(t, "linear-bias-missing")
	whole := m.at(mistake, everywhere)
	require.Len(t, whole, 1)
	require.Empty(t, whole[0].where)
	require.Len(t, whole[0].sites, 11)
	kinds := m.at(mistake, kindOf)
	require.Equal(t, "layers.*.gate", kinds[0].where)
	require.Equal(t, whole[0].sites, kinds[0].sites)
	layers := m.at(mistake, layerOf)
	require.Len(t, layers, 11)
	require.Equal(t, "layers.10", layers[10].where)
	require.Equal(t, whole[0].sites[10:], layers[10].sites)
	require.Equal(t, "layers.10.gate", m.at(mistake, itself)[10].where)
	mistake.Joint = true
	require.Equal(t, "layers.*", m.at(mistake, kindOf)[0].where)
	require.Equal(t, "layers.3", m.at(mistake, itself)[3].where)
	require.Empty(t, m.at(mistake, everywhere)[0].where)
	part, _ := partUntil(t, m, "layers.2")
	require.Equal(t, whole[0].sites[:3], part.at(mistake, everywhere)[0].sites)
	require.Equal(t, "head", layerOf("head"))
	require.Equal(t, "head", wholeLayer("head"))
}

// The values that a module takes from outside, and what it may take instead: inputs of the model
// and outputs that are computed by then.
func TestSources(t *testing.T) {
	m := deep(t)
	part, _ := partUntil(t, m, "layers.1")
	sources := part.sources()
	require.Equal(t, map[string]string{
		"input_ids": "the input input_ids", "embedding": "embed_tokens", "embedding_1": "embed_positions",
		"linear": "layers.0.gate", "add_2": "layers.0", "linear_1": "layers.1.gate",
	}, sources)
	require.Equal(t, []string{"input_ids", "embedding", "embedding_1", "linear", "add_2", "linear_1"}, part.namesOf(sources))
	require.Equal(t, "layers.10", m.sources()["add_12"], "a layer, not the list of layers")
	require.Equal(t, []string{"add_2"}, part.takenFrom("layers.1"))
	require.Equal(t, []string{"add_1"}, part.takenFrom("layers"))
	require.Equal(t, []string{"input_ids"}, part.takenFrom("embed_tokens"))
	require.Empty(t, part.takenFrom("layers.2"), "behind the part")
	require.Equal(t, "layers.0", part.called(sources, "add_2"))
	require.Equal(t, "a value of the model (add)", part.called(sources, "add_1"))
	require.Equal(t, "a value of layers.2 (add)", part.called(nil, "add_4"))
}

// A layer that takes the output of another layer than it should is told from its output.
func TestRewiredLayer(t *testing.T) {
	m := deep(t)
	part, _ := partUntil(t, m, "layers.3")
	g := part.rewired("layers.3", "add_4", "add_3")
	got := float32s(part.outputOfGraph(g).Data)
	found, cut := part.Rewired(t.Context(), "layers.3", got)
	require.Empty(t, cut)
	require.Len(t, found, 1)
	require.Equal(t, "layers.2", found[0].Was)
	require.Equal(t, "layers.1", found[0].Is)
	require.Less(t, found[0].Residual, 1e-6)
	require.Less(t, found[0].MaxZ, 20.)
	require.Positive(t, found[0].MaxZ)
	for i := range got {
		got[i] += 0.01 * float64(i%3)
	}
	found, cut = part.Rewired(t.Context(), "layers.3", got)
	require.Empty(t, cut)
	require.Empty(t, found)
	_, cut = part.Rewired(ended(t), "layers.3", got)
	require.Equal(t, Cut("other inputs of the first wrong module"), cut)
}

// A wiring must come five times as near as the right output, within a residual of 0.05, and be
// among the nearest.
func TestHowNearAWiringComes(t *testing.T) {
	part, _ := partUntil(t, deep(t), "layers.3")
	g := part.rewired("layers.3", "add_4", "add_3")
	output := part.outputOfGraph(g)
	got := float32s(output.Data)
	h := part.against(got, hypothesis{graph: g}, output)
	right := compare.Residual(got, part.Truth.Value)
	limit := min(0.05, right/5)
	for residual, want := range map[float64]bool{0.99 * limit: true, 1.01 * limit: false} {
		h.residual = residual
		c, ok := part.explainedBy(h, []hypothesis{h}, got)
		require.Equal(t, want, ok)
		if want {
			require.InDelta(t, compare.Residual(got, output.Data), c.Rel, 1e-12)
		}
	}
	h.residual, h.rms = 0, 100*compare.MeasuredMaxRMSZ
	_, ok := part.explainedBy(h, []hypothesis{h}, got)
	require.True(t, ok)
	_, ok = part.explainedBy(h, []hypothesis{{rms: 1}, h}, got)
	require.False(t, ok, "another is much nearer")
	none := broken("", "add_4").Edit
	h.rms, h.graph = 0, part.view.Apply(none, part.view.Sites(none)).Until(part.output)
	_, ok = part.explainedBy(h, []hypothesis{h}, got)
	require.False(t, ok, "no noise can be measured")
}

// The graph computes the truth of submodules, with noise. Inside of a layer are the layer's values.
func TestTruthOfSubmodules(t *testing.T) {
	m := deep(t)
	outputs := []graph.ModuleOutput{outputAt(t, m, "layers.0.gate"), outputAt(t, m, "layers.5")}
	truths, err := m.Expected(outputs)
	require.NoError(t, err)
	for i, name := range []string{"linear", "add_7"} {
		require.Equal(t, m.values[name].Data, truths[i].Value)
		require.Equal(t, []int{2, 7, 8}, truths[i].Shape)
		require.True(t, truths[i].Measured)
		require.Positive(t, slices.Min(truths[i].Sigma))
		require.Less(t, slices.Max(truths[i].Sigma), 1e-4)
	}
	inside := m.Inside(outputs[1])
	require.Len(t, inside, 4)
	require.Equal(t, outputs[1].Node, inside[3].Node)
	require.Equal(t, "layers.5", inside[0].Path)
	require.Empty(t, m.Returned(outputs[1]))
	part, _ := partUntil(t, m, "layers.5")
	require.Equal(t, m.values["add_7"].Data, part.Output().Data)
	require.True(t, part.asksAbout(graph.Node{Module: "layers.5.gate"}))
	require.False(t, part.asksAbout(graph.Node{Module: "layers.4.gate"}))
	require.True(t, m.asksAbout(graph.Node{Module: "layers.4.gate"}))
	require.False(t, part.lower)
	require.Equal(t, outputs[1].Node, part.last)
	require.Equal(t, graph.ModuleOutput{Path: "x", Class: "C", Node: 7}, at(graph.ModuleOutput{Path: "x", Class: "C", Node: 3}, []int{7})[0])
}

// A mistake that was found in a part agrees with later values if it is made everywhere, in one
// layer, or in this part alone.
func TestAgreesWithLaterValues(t *testing.T) {
	m, mistake := deep(t), edit(t, "gelu-tanh")
	part, _ := partUntil(t, m, "layers.2")
	later := outputAt(t, m, "layers.6")
	whole, layers := m.at(mistake, everywhere)[0], m.at(mistake, layerOf)
	agrees := func(found hypothesis, made []int) (string, Agreement) {
		g := m.view.Apply(mistake.Edit, made).Until(m.graph.Nodes[later.Node].Name)
		got := float32s(m.outputOfGraph(g).Data)
		if made == nil {
			for i := range got {
				got[i] *= 1.02
			}
		}
		match := Match{Mistakes: []catalogue.Mistake{mistake}, Where: found.where, sites: found.sites}
		match, how := m.Agrees(match, outputAt(t, m, "layers.2"), []Later{{Output: later, Got: got}})
		return match.Where, how
	}
	inPart := part.at(mistake, everywhere)[0]
	where, how := agrees(inPart, whole.sites)
	require.Equal(t, Throughout, how)
	require.Empty(t, where)
	where, how = agrees(hypothesis{where: "layers.2", sites: layers[2].sites}, layers[2].sites)
	require.Equal(t, Throughout, how)
	require.Equal(t, "layers.2", where)
	where, how = agrees(inPart, layers[1].sites)
	require.Equal(t, Disagrees, how, "another place")
	require.Empty(t, where)
	_, how = agrees(inPart, nil)
	require.Equal(t, Disagrees, how)
	// The places up to the part are no layer's, no kind's, and not all.
	_, how = agrees(inPart, inPart.sites)
	require.Equal(t, OnlyInPart, how)
}

// Hypotheses that are much further than the nearest one, and outside of the noise, are far. Their
// outputs are not kept.
func TestFarHypotheses(t *testing.T) {
	const limit = compare.MeasuredMaxRMSZ
	require.True(t, hypothesis{rms: 3.1 * limit}.isFar(limit))
	require.False(t, hypothesis{rms: 3 * limit}.isFar(limit))
	require.False(t, hypothesis{rms: limit}.isFar(0.1), "within the noise")
	require.True(t, hypothesis{rms: 1.01 * limit}.isFar(0.1))
	require.InDelta(t, 2, leastOf([]hypothesis{{rms: 5}, {rms: 2}, {rms: 3}}), 0)
	require.True(t, math.IsInf(leastOf(nil), 1))

	b, output := newBest(), &graph.Tensor[float64]{}
	require.NotNil(t, b.kept(hypothesis{rms: 10, output: output}).output)
	require.Nil(t, b.kept(hypothesis{rms: 31, output: output}).output)
	require.NotNil(t, b.kept(hypothesis{rms: 1, output: output, rough: true}).output)
	require.NotNil(t, b.kept(hypothesis{rms: 2, output: output, discarded: true}).output)
	require.NotNil(t, b.kept(hypothesis{rms: 29, output: output}).output, "rough and discarded ones are not the nearest")
	require.InDelta(t, 10, b.least, 0)
}

// A hypothesis without an output, with the right one, or with other infinities is discarded.
func TestDiscardedHypotheses(t *testing.T) {
	m := deep(t)
	right := m.Output()
	other := &graph.Tensor[float64]{Shape: right.Shape, Data: slices.Clone(right.Data)}
	for i := range other.Data {
		other.Data[i] *= 2
	}
	h := m.against(right.Data, hypothesis{rough: true, near: true, discarded: true}, other)
	require.False(t, h.discarded || h.rough || h.near)
	require.Equal(t, other, h.output)
	require.InDelta(t, 0.5, h.residual, 1e-12)
	require.InDelta(t, inNoise(right.Data, other.Data, m.Truth.Sigma), h.rms, 1e-9)
	require.True(t, m.against(right.Data, hypothesis{}, nil).discarded)
	require.True(t, m.against(other.Data, hypothesis{}, right).discarded, "it changes nothing")
	other.Data[0] = math.Inf(1)
	require.True(t, m.against(right.Data, hypothesis{}, other).discarded)
}

// Each index is worked on once, and none is after the context ended.
func TestEach(t *testing.T) {
	var sum atomic.Int64
	require.Zero(t, each(t.Context(), "work", 5, func(i int) { sum.Add(int64(i)) }))
	require.Equal(t, int64(10), sum.Load())
	require.Equal(t, 5, each(ended(t), "work", 5, func(int) { panic("called") }))

	var told []progress.Update
	var mu sync.Mutex
	each(progress.With(t.Context(), func(u progress.Update) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, u)
	}), "work", 5, func(int) {})
	require.Len(t, told, 5)
	for _, u := range told {
		require.Equal(t, []any{"work", 5}, []any{u.Stage, u.Total})
		require.Less(t, u.Done, 5)
	}
}

// Arrays that are missing, and values that cannot be computed, are errors.
func TestModulesWithoutAnOutput(t *testing.T) {
	m := tiny(t)
	require.Same(t, m.graph, m.view.Graph)
	_, err := NewModule(m.graph, nil, m.Truth)
	require.ErrorContains(t, err, "missing")
	_, err = NewModule(m.view.Apply(broken("", "bend").Edit, []int{2}), m.given, m.Truth)
	require.ErrorContains(t, err, "reshape")
	other, err := NewModule(m.graph, m.given, m.Truth)
	require.NoError(t, err)
	require.Equal(t, m.Truth.Value, other.Output().Data)
}

// Where nothing gives an output, each mistake has the place at which it was made last. A search
// that is cut off returns the distances that it knows.
func TestMeasureInATinyModule(t *testing.T) {
	fourth, sub := times("fourth", 0.25), becomes("sub", "sum", "sub")
	m := tiny(t, fourth, sub)
	got := unexplained(m)
	distances := func(where string) (want []Distance) {
		for id, mistake := range map[string]catalogue.Mistake{"fourth": fourth, "sub": sub} {
			d := Distance{ID: id, Residual: compare.Residual(got, m.outputOf(m.at(mistake, everywhere)[0]).Data)}
			if id == "fourth" {
				d.Where = where
			}
			want = append(want, d)
		}
		slices.SortFunc(want, Distance.compare)
		return want
	}
	found, all, cut := m.Measure(t.Context(), got)
	require.Empty(t, cut)
	require.Empty(t, found)
	require.Equal(t, distances("layers.0"), all)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, all, cut = m.Measure(progress.With(ctx, func(u progress.Update) {
		if u.Stage == "mistakes made in one kind of layer" {
			cancel()
		}
	}), got)
	require.Regexp(t, "^[12] of 2 mistakes made in one kind of layer were not tried$", string(cut))
	require.Equal(t, distances(""), all)

	// A search that replays in float32 first finds the same.
	for _, mistake := range []catalogue.Mistake{fourth, sub} {
		rough := tiny(t, fourth, sub)
		rough.large = 0
		found, all, cut = rough.Measure(t.Context(), mistaken(t, m, mistake))
		require.Empty(t, cut)
		require.Equal(t, []string{mistake.ID}, idsOf(found))
		require.Equal(t, mistake.ID, all[0].ID)
		require.Len(t, all, 2)
	}
}

// Of two near replays of a large graph, one was not made.
func TestOneReplayIsMissing(t *testing.T) {
	fourth, third := times("fourth", 0.25), times("third", 0.3)
	m := tiny(t, fourth, third)
	m.large = 0
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, cut := m.Find(progress.With(ctx, func(u progress.Update) {
		if strings.HasPrefix(u.Stage, "nearest") {
			cancel()
		}
	}), float32s(meanOf(m, fourth, third)))
	require.Equal(t, Cut("1 of 2 mistakes made everywhere were not tried"), cut)
}

// meanOf returns the mean of what two mistakes give.
func meanOf(m *Module, a, b catalogue.Mistake) []float64 {
	mean := slices.Clone(m.outputOf(m.at(a, everywhere)[0]).Data)
	for i, y := range m.outputOf(m.at(b, everywhere)[0]).Data {
		mean[i] = (mean[i] + y) / 2
	}
	return mean
}

// Another mistake that is within its own noise, too, leaves a search without a match.
func TestConfirmTwoMistakesInTheNoise(t *testing.T) {
	plus := func(id string, units float64) catalogue.Mistake {
		return atNode(id, "sum", func(n graph.Node) []graph.Node {
			more := n.Before(0, "add", n.Shape, n.Operands[0], graph.Number(units*1e-7))
			return []graph.Node{more, n.Put(0, graph.Value(more.Name))}
		})
	}
	near, other := plus("near", 6), plus("other", 7.4)
	m := tiny(t, near, other)
	require.Less(t, slices.Max(m.Truth.Sigma), 3e-7)
	require.Greater(t, slices.Min(m.Truth.Sigma), 1e-8)
	got := m.outputOf(m.at(near, everywhere)[0]).Data
	all := []hypothesis{m.compute(m.at(other, everywhere)[0], got), m.compute(m.at(near, everywhere)[0], got)}
	s := newSearch()
	s.miss(compare.Residual(got, m.Truth.Value))
	require.False(t, s.hopeful(all[0].residual))
	require.False(t, all[0].isFar(0))
	m.confirm(s, all, got)
	require.Len(t, s.found, 2)
	require.Empty(t, s.matches())

	// Without a hopeful one no noise is measured, and none is a match.
	s = newSearch()
	s.miss(compare.Residual(got, m.Truth.Value))
	m.confirm(s, all[:1], got)
	require.Empty(t, s.found)
	require.InDelta(t, compare.Residual(got, m.Truth.Value), s.next, 0)
}
