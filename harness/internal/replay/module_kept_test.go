package replay

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/graph"
	"github.com/difftest/difftest/harness/internal/npy"
)

// The places of a mistake are looked for once. Mistakes with one id have different titles.
func TestKeptPlaces(t *testing.T) {
	asked := 0
	mistake := catalogue.Mistake{ID: "a", Title: "tanh", Edit: func(_ *graph.View, n graph.Node) []graph.Node {
		asked++
		if n.Op != "tanh" {
			return nil
		}
		return []graph.Node{n.Become("exp", n.Operands...)}
	}}
	m := tiny(t, mistake)
	for range 3 {
		require.Equal(t, []int{2}, m.placesOf(mistake))
		require.Equal(t, 4, asked, "once for each node")
	}
	other := becomes("a", "sum", "sub")
	require.Equal(t, []int{3}, m.placesOf(other))
	require.Equal(t, []int{2}, m.placesOf(mistake))
}

// An output is computed once for each mistake, place, and part of the module, even if there is
// none.
func TestKeptOutputs(t *testing.T) {
	fourth, third := times("a", 0.25), times("a", 0.3)
	third.Title = "another title"
	m := tiny(t, fourth, third)
	h := m.at(fourth, everywhere)[0]
	output := m.outputOf(h)
	require.Equal(t, mistaken(t, m, fourth), float32s(output.Data))
	require.Same(t, output, m.outputOf(h))
	h.where = "elsewhere"
	require.Same(t, output, m.outputOf(h))
	require.Equal(t, mistaken(t, m, third), float32s(m.outputOf(m.at(third, everywhere)[0]).Data))
	h.sites = nil
	require.Equal(t, m.Truth.Value, m.outputOf(h).Data)
	part, _ := partUntil(t, m, "layers.1.proj")
	require.NotEqual(t, output.Data, part.outputOf(m.at(fourth, everywhere)[0]).Data)

	asked := 0
	none := func() *graph.Graph {
		asked++
		return m.view.Apply(broken("", "bend").Edit, []int{2})
	}
	for range 3 {
		require.Nil(t, m.keptOutput("none", none))
	}
	require.Equal(t, 1, asked)
}

// Large outputs are not kept.
func TestLargeOutputsAreNotKept(t *testing.T) {
	for size, kept := range map[int]bool{1 << 12: true, 1<<12 + 1: false} {
		m := graphModule(t, &graph.Graph{
			Inputs: map[string]string{"x": "x"}, Output: "y",
			Nodes: []graph.Node{{Name: "y", Op: "neg", Operands: []graph.Operand{graph.Value("x")}, Shape: []int{1, size}}},
		}, map[string]*npy.Array{"inputs.x": drawn(t, 4, 1, size)})
		asked := 0
		twice := becomes("exp", "y", "exp")
		for range 3 {
			require.Len(t, m.keptOutput("y", func() *graph.Graph {
				asked++
				return m.view.Apply(twice.Edit, []int{0})
			}).Data, size)
		}
		require.Equal(t, kept, asked == 1, size)
	}
}

// The runs that measure noise are made once for all mistakes: no other mistake needs the arrays.
func TestKeptRuns(t *testing.T) {
	sub, mul := becomes("sub", "sum", "sub"), becomes("mul", "sum", "mul")
	m := tiny(t, sub, mul)
	require.NotNil(t, m.nudged())
	require.Same(t, m.nudged(), m.nudged())
	var want [][]float64
	for range 2 {
		for i, mistake := range []catalogue.Mistake{sub, mul} {
			h := m.compute(m.at(mistake, everywhere)[0], m.Truth.Value)
			expected, err := m.expected(m.edited(h), h.output)
			require.NoError(t, err)
			want = append(want, expected.Sigma)
			require.Equal(t, want[i], expected.Sigma)
		}
		m.given = nil
	}
}
