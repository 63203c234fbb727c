package replay

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/graph"
	"github.com/difftest/difftest/harness/internal/npy"
)

// A value of another shape is none that a module takes by mistake, even if the operation takes it.
// The inputs of a model are tried in the order of their names.
func TestWiringsOfInputs(t *testing.T) {
	shape, arrays := []int{4, 3}, map[string]*npy.Array{}
	g := &graph.Graph{
		Inputs: map[string]string{}, Output: "sum",
		Nodes: []graph.Node{
			{Name: "tanh", Op: "tanh", Module: "bend", Shape: shape, Operands: []graph.Operand{graph.Value("x")}},
			{
				Name: "sum", Op: "add", Module: "last", Shape: shape,
				Operands: []graph.Operand{graph.Value("tanh"), graph.Value("x")},
			},
		},
	}
	for i, name := range []string{"x", "y", "z", "row", "a", "b"} {
		g.Inputs[name] = "role of " + name
		rows := 4
		if name == "row" {
			rows = 1
		}
		arrays["inputs.role of "+name] = drawn(t, uint64(i), rows, 3)
	}
	m := graphModule(t, g, arrays)
	for range 20 {
		require.Equal(t, []string{"a", "b", "row", "x", "y", "z", "tanh"}, m.namesOf(m.sources()))
	}
	for taken, was := range map[string]string{"tanh": "bend", "x": "the input role of x"} {
		for _, other := range []string{"z", "row"} {
			got := float32s(m.outputOfGraph(m.rewired("last", taken, other)).Data)
			found, cut := m.Rewired(t.Context(), "last", got)
			require.Empty(t, cut)
			if other == "row" {
				require.Empty(t, found)
				continue
			}
			require.Len(t, found, 1)
			require.Equal(t, []string{was, "the input role of z"}, []string{found[0].Was, found[0].Is})
		}
	}
	require.True(t, slices.Equal(m.values["sum"].Data, m.outputOfGraph(m.rewired("last", "x", "x")).Data))
}
