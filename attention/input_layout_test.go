package attention_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
)

// swapped exchanges the first two of three dimensions.
func swapped(x *attention.Tensor) *attention.Tensor {
	a, b, width := x.Shape[0], x.Shape[1], x.Shape[2]
	y := attention.NewTensor(b, a, width)
	for at := range x.Data {
		row, feature := at/width, at%width
		y.Data[(row%b*a+row/b)*width+feature] = x.Data[at]
	}
	return y
}

// Cross-attention with padding and a mask of every head gives the same output in all three layouts.
// Batch and lengths all differ.
func TestInputLayoutsAreTheSameLayer(t *testing.T) {
	const B, H, L, S = 2, 4, 3, 5
	c := attention.Config{EmbedDim: 12, NumHeads: H, KDim: 6, VDim: 7, NeedWeights: attention.WeightsPerHead}
	q, k, v := randomTensor(1, B, L, 12), randomTensor(2, B, S, 6), randomTensor(3, B, S, 7)
	bias, padding := randomTensor(4, B*H, L, S), attention.NewMask(B, S)
	padding.Data[3], padding.Data[S+2] = true, true
	batchFirst, err := loaded(t, c, 5).Forward(attention.Inputs{
		Query: q, Key: k, Value: v, Bias: bias, Padding: padding,
	})
	require.NoError(t, err)
	require.Equal(t, []int{B, L, 12}, batchFirst.Output.Shape)
	require.Equal(t, []int{B, H, L, S}, batchFirst.Weights.Shape)

	c.InputLayout = attention.SequenceFirst
	sequenceFirst, err := loaded(t, c, 5).Forward(attention.Inputs{
		Query: swapped(q), Key: swapped(k), Value: swapped(v), Bias: bias, Padding: padding,
	})
	require.NoError(t, err)
	require.Equal(t, swapped(batchFirst.Output), sequenceFirst.Output)
	require.Equal(t, batchFirst.Weights, sequenceFirst.Weights, "weights have the batch first in every layout")

	c.InputLayout = attention.Unbatched
	for b := range B {
		element := func(x *attention.Tensor) *attention.Tensor { return squeezed(rows(x, b, 1)) }
		unbatched, err := loaded(t, c, 5).Forward(attention.Inputs{
			Query: element(q), Key: element(k), Value: element(v),
			Bias: rows(bias, b*H, H), Padding: &attention.Mask{Shape: []int{S}, Data: padding.Data[b*S:][:S]},
		})
		require.NoError(t, err)
		require.Equal(t, element(batchFirst.Output), unbatched.Output)
		require.Equal(t, element(batchFirst.Weights), unbatched.Weights)
	}
}
