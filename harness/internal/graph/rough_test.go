package graph

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/npy"
)

// smallModel returns a linear layer, an activation and logits, with their arrays.
func smallModel(t *testing.T, rows, hidden, vocabulary int) (*Graph, map[string]*npy.Array) {
	t.Helper()
	layer := func(name, x, weight, bias string, out int) Node {
		n := Node{Name: name, Op: "linear", Operands: []Operand{Value(x), Value(weight), None}, Shape: []int{rows, out}}
		n.Attributes.Weight = "out, in"
		if bias != "" {
			n.Operands[2] = Value(bias)
		}
		return n
	}
	g := &Graph{
		Inputs: map[string]string{"x": "x"}, Output: "logits",
		Parameters: []string{"up.weight", "head.weight", "head.bias"},
		Nodes: []Node{
			layer("up", "x", "up.weight", "", hidden),
			{Name: "silu", Op: "silu", Operands: []Operand{Value("up")}, Shape: []int{rows, hidden}},
			layer("logits", "silu", "head.weight", "head.bias", vocabulary),
		},
	}
	arrays := map[string]*npy.Array{}
	for role, shape := range map[string][]int{
		"inputs.x": {rows, hidden}, "state_dict.up.weight": {hidden, hidden},
		"state_dict.head.weight": {vocabulary, hidden}, "state_dict.head.bias": {vocabulary},
	} {
		count, err := elements(shape)
		require.NoError(t, err)
		arrays[role], err = npy.TensorArray(&attention.Tensor{Shape: shape, Data: drawn[float32](count)}, npy.Float32)
		require.NoError(t, err)
	}
	return g, arrays
}

// A rough output is some features of the exact one, to float32.
func TestRough(t *testing.T) {
	const rows, hidden, vocabulary = 5, 24, 4100
	g, arrays := smallModel(t, rows, hidden, vocabulary)
	given, err := Given[float64](g, arrays)
	require.NoError(t, err)
	rough, err := NewRough(g, arrays)
	require.NoError(t, err)

	edited := *g
	edited.Nodes = append([]Node{}, g.Nodes...)
	edited.Nodes[1].Op = "relu"
	for _, after := range []*Graph{g, &edited, edited.Until("silu")} {
		want, err := Run(after, given)
		require.NoError(t, err)
		got, right, features, err := rough.Output(after)
		require.NoError(t, err)
		exact := want[after.Output]
		if after.Output == g.Output {
			require.Len(t, features, vocabulary/8)
			exact = exact.lastPart(features)
		}
		require.Equal(t, exact.Shape, got.Shape)
		require.Equal(t, exact.Shape, right.Shape)
		for i, x := range exact.Data {
			assert.InDelta(t, x, got.Data[i], 1e-4)
		}
		assert.Equal(t, after == g, assert.ObjectsAreEqual(right.Data, got.Data))
	}
}

// The rough product is the product, to float32, for both layouts of the weight.
func TestRoughMultiply(t *testing.T) {
	for _, size := range [][3]int{{1, 3, 2}, {5, 7, 19}, {12, 96, 300}, {0, 4, 4}, {3, 0, 4}} {
		rows, inner, out := size[0], size[1], size[2]
		x, w := drawn[float32](rows*inner), drawn[float32](out*inner)
		for _, steps := range [][2]int{{inner, 1}, {1, out}} {
			got, want := make([]float32, rows*out), make([]float32, rows*out)
			roughMultiply(x, matrix[float32]{w, out, inner, steps}, got)
			multiply(x, matrix[float32]{w, out, inner, steps}, want)
			assert.InDeltaSlice(t, want, got, 1e-4, "%v, steps %v", size, steps)
		}
	}
}
