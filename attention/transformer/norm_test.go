package transformer_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/attention/transformer"
)

// The values follow from the definitions: mean 2.5 and variance 1.25 of 1, 2, 3, 4.
func TestLayerNorm(t *testing.T) {
	x := &attention.Tensor{Shape: []int{2, 4}, Data: []float32{1, 2, 3, 4, -1, -1, -1, -1}}
	y, err := transformer.LayerNorm(x, vector(1, 2, 1, 1), vector(0, 0, 0, 10), 0.75)
	require.NoError(t, err)
	root := float32(math.Sqrt2)
	require.InDeltaSlice(t, []float32{-1.5 / root, -1 / root, 0.5 / root, 1.5/root + 10, 0, 0, 0, 10}, y.Data, 1e-6)
	require.Equal(t, x.Shape, y.Shape)
}

func TestRMSNorm(t *testing.T) {
	y, err := transformer.RMSNorm(vector(3, 4, 0, 0), vector(1, 1, 5, 2), 0)
	require.NoError(t, err)
	require.InDeltaSlice(t, []float32{1.2, 1.6, 0, 0}, y.Data, 1e-6) // the root of 25/4 is 2.5
	y, err = transformer.RMSNorm(vector(3, 4, 0, 0), vector(1, 1, 5, 2), 2.75)
	require.NoError(t, err)
	require.InDeltaSlice(t, []float32{1, 4. / 3, 0, 0}, y.Data, 1e-6) // eps is inside the root, of 9
}

func TestNormsRefuseShapes(t *testing.T) {
	_, err := transformer.LayerNorm(vector(1, 2), vector(1), vector(1, 1), 0)
	require.EqualError(t, err, "weight: shape (1,), want (2,)")
	_, err = transformer.LayerNorm(vector(1, 2), vector(1, 1), nil, 0)
	require.EqualError(t, err, "bias: no tensor")
	_, err = transformer.RMSNorm(nil, vector(1), 0)
	require.EqualError(t, err, "input: no tensor")
	_, err = transformer.RMSNorm(attention.NewTensor(0), vector(), 0)
	require.EqualError(t, err, "input: shape (0,), want one dimension or more, none of them 0")
}

// The kinds of norms differ in their parameters, and Gemma's weight is stored less 1.
func TestNewNorm(t *testing.T) {
	x := vector(1, 2, 3, 6)
	for _, tc := range []struct {
		kind       transformer.NormKind
		parameters int
		want       func() (*attention.Tensor, error)
	}{
		{transformer.LayerNormKind, 2, func() (*attention.Tensor, error) {
			return transformer.LayerNorm(x, vector(2, 2, 2, 2), vector(2, 2, 2, 2), 1e-5)
		}},
		{transformer.RMSNormKind, 1, func() (*attention.Tensor, error) {
			return transformer.RMSNorm(x, vector(2, 2, 2, 2), 1e-5)
		}},
		{transformer.GemmaNormKind, 1, func() (*attention.Tensor, error) {
			return transformer.RMSNorm(x, vector(3, 3, 3, 3), 1e-5)
		}},
	} {
		b, err := transformer.NewNorm(transformer.NormConfig{Kind: tc.kind, HiddenSize: 4, Eps: 1e-5})
		require.NoError(t, err)
		dict := b.StateDict()
		require.Len(t, dict, tc.parameters)
		for _, p := range dict {
			copy(p.Data, []float32{2, 2, 2, 2})
		}
		load(t, b, dict)
		got, err := b.Forward(x)
		require.NoError(t, err)
		want, err := tc.want()
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	_, err := transformer.NewNorm(transformer.NormConfig{Kind: 7, Eps: -1})
	require.EqualError(t, err, "config: unknown kind of norm 7\n"+
		"config: hidden size 0, want at least 1 and at most 1048576\n"+
		"config: eps -1, want a finite number, 0 or more")
}
