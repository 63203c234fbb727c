package graph_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/graph"
)

// A choice is tied if the last chosen value and the next lie within their noise, along any
// dimension.
func TestTie(t *testing.T) {
	for _, tt := range []struct {
		name       string
		dim, count int
		values     []float64
		want       bool
	}{
		{"apart", 1, 2, []float64{3, 1, 2, 0, 5, 4}, false},
		{"near the border", 1, 1, []float64{3, 2.99999, 2, 0, 5, 4}, true},
		{"near, and both chosen", 1, 2, []float64{3, 2.99999, 2, 0, 5, 4}, false},
		{"in the second row", 1, 2, []float64{3, 1, 2, 0, 5, 1e-6}, true},
		{"along rows", 0, 1, []float64{3, 1, 2, 0, 1.000001, 4}, true},
		{"all chosen", 1, 3, []float64{1, 1, 1, 1, 1, 1}, false},
		{"hidden", 1, 2, []float64{3, 1, math.Inf(-1), 2, 1, math.Inf(-1)}, false},
	} {
		node := graph.Node{Name: "y", Op: "topk", Operands: []graph.Operand{graph.Value("x")}}
		node.Attributes.Dim, node.Attributes.Count = tt.dim, tt.count
		g := &graph.Graph{Nodes: []graph.Node{node}}
		require.Equal(t, []string{"x"}, g.Choices())
		x := &graph.Tensor[float64]{Shape: []int{2, 3}, Data: tt.values}
		sigma := map[string][]float64{"x": {1e-5, 1e-5, 1e-5, 1e-5, 1e-5, 1e-5}}
		require.Equal(t, tt.want, g.Tie(graph.Values[float64]{"x": x}, sigma), tt.name)
	}
}
