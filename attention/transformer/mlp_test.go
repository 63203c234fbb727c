package transformer_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/attention/transformer"
)

// The gate is activated, up is not, and their product goes down.
func TestMLP(t *testing.T) {
	m, err := transformer.NewMLP(transformer.MLPConfig{
		HiddenSize: 1, IntermediateSize: 2, HiddenAct: transformer.ReLU, Bias: true,
	})
	require.NoError(t, err)
	load(t, m, attention.StateDict{
		"gate_proj.weight": {Shape: []int{2, 1}, Data: []float32{1, -1}}, "gate_proj.bias": vector(1, 0),
		"up_proj.weight": {Shape: []int{2, 1}, Data: []float32{-2, 5}}, "up_proj.bias": vector(0, 0),
		"down_proj.weight": {Shape: []int{1, 2}, Data: []float32{1, 100}}, "down_proj.bias": vector(0.5),
	})
	y, err := m.Forward(vector(3))
	require.NoError(t, err)
	require.Equal(t, []float32{(3+1)*(-2*3) + 0.5}, y.Data)
}

func TestBlocksRefuseShapes(t *testing.T) {
	m, err := transformer.NewMLP(transformer.MLPConfig{HiddenSize: 2, IntermediateSize: 2, HiddenAct: transformer.GELU})
	require.NoError(t, err)
	for _, tc := range []struct {
		x    *attention.Tensor
		want string
	}{
		{nil, "input: no tensor"},
		{vector(1, 2, 3), "input: shape (3,), want (..., 2) with no dimension 0"},
		{attention.NewTensor(0, 2), "input: shape (0, 2), want (..., 2) with no dimension 0"},
	} {
		_, err := m.Forward(tc.x)
		require.EqualError(t, err, tc.want)
	}
}
