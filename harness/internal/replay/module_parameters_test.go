package replay

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/edits"
	"github.com/difftest/difftest/harness/internal/graph"
	"github.com/difftest/difftest/harness/internal/npy"
)

// twoLayers is x + W2 tanh(W1 x + b1) + b2, where the second bias or weight is larger by factors.
func twoLayers(t *testing.T, weight, bias float32) *Module {
	shape := []int{4, 3}
	linear := func(name, of, key string) graph.Node {
		return graph.Node{
			Name: name, Op: "linear", Attributes: graph.Attributes{Weight: "out, in"}, Shape: shape, Module: key,
			Operands: []graph.Operand{graph.Value(of), graph.Value(key + ".weight"), graph.Value(key + ".bias")},
		}
	}
	arrays := map[string]*npy.Array{"inputs.x": drawn(t, 1, 4, 3)}
	for i, key := range []string{"state_dict.up.weight", "state_dict.down.weight", "state_dict.up.bias", "state_dict.down.bias"} {
		a := drawn(t, uint64(i+2), []int{3, 3}[:2-i/2]...)
		tensor, err := a.Tensor(npy.Float32)
		require.NoError(t, err)
		for j := range tensor.Data {
			tensor.Data[j] *= []float32{1, weight, 1, bias}[i]
		}
		arrays[key] = a
	}
	return graphModule(t, &graph.Graph{
		Inputs: map[string]string{"x": "x"}, Output: "sum",
		Parameters: []string{"up.weight", "up.bias", "down.weight", "down.bias"},
		Nodes: []graph.Node{
			linear("up", "x", "up"),
			{Name: "tanh", Op: "tanh", Operands: []graph.Operand{graph.Value("up")}, Shape: shape},
			linear("down", "tanh", "down"),
			{Name: "sum", Op: "add", Operands: []graph.Operand{graph.Value("down"), graph.Value("x")}, Shape: shape},
		},
	}, arrays)
}

// Every change of parameters is found from its output, if no other computation comes about as near.
// The distance of the next one is known.
func TestFindParametersInAGraph(t *testing.T) {
	named, rightIsNext := 0, 0
	for _, scale := range [][]float32{{1, 1}, {1, 1e-3}, {1e-2, 1}} {
		m := twoLayers(t, scale[0], scale[1])
		known := edits.Parameters(m.view)
		require.Greater(t, len(known), 12)
		for _, mistake := range known {
			got := mistaken(t, m, mistake)
			next, alike := compare.Residual(got, m.Truth.Value), []string{}
			right := next
			for _, other := range known {
				residual := compare.Residual(got, mistaken(t, m, other))
				if slices.Equal(mistaken(t, m, other), got) {
					alike = append(alike, other.Title)
					continue
				}
				next = min(next, residual)
			}
			found, cut := m.FindParameters(t.Context(), got)
			require.Empty(t, cut)
			require.Empty(t, m.kept.outputs, "each change is computed once, and most outputs are not kept")
			if next < 1e-5 {
				continue // about as near
			}
			named++
			var titles []string
			for _, match := range found {
				titles = append(titles, match.Title())
				require.InEpsilon(t, next, match.Next, 1e-3)
				require.Less(t, match.Residual, 1e-6)
			}
			require.Equal(t, alike, titles)
			if next == right {
				rightIsNext++
			}
		}
		found, cut := m.FindParameters(t.Context(), unexplained(m))
		require.Empty(t, cut)
		require.Empty(t, found)
		_, cut = m.FindParameters(ended(t), m.Truth.Value)
		require.Equal(t, Cut(fmt.Sprintf("%d of %[1]d ways to exchange parameters were not tried", len(known))), cut)
		part, o := partUntil(t, m, "up")
		require.Equal(t, []int{0}, part.sites(edits.Replaced(map[string]string{"up.bias": "down.bias", "down.bias": "up.bias"})))
		require.Equal(t, []int{0, 2}, m.sites(edits.Replaced(map[string]string{"up.bias": "down.bias", "down.bias": "up.bias"})))
		require.Equal(t, 0, o.Node)
	}
	require.Greater(t, named, 20)
	require.Positive(t, rightIsNext)
	require.Less(t, rightIsNext, named)
}

// A multiple of a parameter is found with its value. In a part of the model the parameters behind
// are left out.
func TestFindMultiplesOfParameters(t *testing.T) {
	m := twoLayers(t, 1, 1)
	for key, value := range map[string]float64{"up.weight": 0.7, "down.bias": 3} {
		factors := edits.ParameterFactors(m.view)
		i := slices.IndexFunc(factors, func(n edits.Number) bool { return len(m.sites(n.To(1))) > 0 && strings.Contains(n.Title, key) })
		require.GreaterOrEqual(t, i, 0, key)
		edit := factors[i].To(value)
		got := float32s(m.outputOfGraph(m.view.Apply(edit, m.sites(edit)).Until(m.output)).Data)
		found, cut := m.ParameterFactors(t.Context(), got)
		require.Empty(t, cut)
		require.Len(t, found, 1, key)
		require.InEpsilon(t, value, found[0].Value, 1e-4)
		require.InDelta(t, 1, found[0].Right, 0)
		require.LessOrEqual(t, found[0].Next, compare.Residual(got, m.Truth.Value), "the right output is a miss")
	}
	part, _ := partUntil(t, m, "up")
	found, cut := part.ParameterFactors(t.Context(), unexplained(part))
	require.Empty(t, cut)
	require.Empty(t, found)
	_, cut = m.ParameterFactors(ended(t), unexplained(m))
	require.Equal(t, Cut("factors of parameters were not all tried"), cut)
}

// The work of a graph: four operations for each element, and the products of linear layers and
// matrices.
func TestWorkOfAGraph(t *testing.T) {
	node := func(name, op string, operands ...string) graph.Node {
		n := graph.Node{Name: name, Op: op}
		for _, o := range operands {
			n.Operands = append(n.Operands, graph.Value(o))
		}
		return n
	}
	value := func(shape ...int) *graph.Tensor[float64] {
		made, err := graph.New[float64](shape)
		require.NoError(t, err)
		return made
	}
	m := &Module{
		graph: &graph.Graph{Nodes: []graph.Node{
			node("linear", "linear", "x", "weight"), node("tanh", "tanh", "linear"), node("matmul", "matmul", "tanh", "y"),
		}},
		values: graph.Values[float64]{
			"x": value(2, 3), "weight": value(5, 7), "linear": value(2, 5), "tanh": value(2, 5), "y": value(9, 4), "matmul": value(2, 4),
		},
	}
	for last, work := range []float64{4*10 + 10*3, 4*20 + 10*3, 4*28 + 10*3 + 8*5} {
		m.last = last
		require.InDelta(t, work, m.work(), 0)
	}
	m.last = 0
	m.values["x"].Shape = []int{2, 1e6 - 4} // 1e7 operations
	require.True(t, m.affordable(1000))
	require.False(t, m.affordable(1001))
}

// A search that would replay a large model too often is left out.
func TestParametersOfALargeModel(t *testing.T) {
	m := twoLayers(t, 1, 1)
	// tells reports whether a search begins. The shape of an input stands for a large model.
	tells := func(work float64, stage string) bool {
		x := *m.values["x"].Wide()
		x.Shape = []int{4, int(work-m.work())/12 + 3}
		large := *m
		large.values = maps.Clone(m.values)
		large.values["x"] = &x
		require.InDelta(t, work, large.work(), 12)
		var h heard
		ctx := h.listen(t, t.Context())
		if stage == "multiples of parameters" {
			require.Empty(t, second(large.ParameterFactors(ctx, unexplained(m))))
		} else {
			require.Empty(t, second(large.FindParameters(ctx, unexplained(m))))
		}
		return h.stages[stage] > 0
	}
	ways, factors := float64(len(edits.Parameters(m.view))), float64(len(edits.ParameterFactors(m.view)))
	require.True(t, tells(0.99e10/ways, "parameters in other places"))
	require.False(t, tells(1.01e10/ways, "parameters in other places"))
	require.True(t, tells(0.99e10/8/factors, "multiples of parameters"))
	require.False(t, tells(1.01e10/8/factors, "multiples of parameters"))
}
