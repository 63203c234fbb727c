package attention_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
)

func TestNeedWeights(t *testing.T) {
	c := attention.Config{EmbedDim: 12, NumHeads: 4, BiasKV: true, ZeroAttn: true}
	x := randomTensor(1, 2, 5, 12)
	run := func(w attention.NeedWeights) attention.Outputs {
		c.NeedWeights = w
		out, err := loaded(t, c, 2).Forward(self(x))
		require.NoError(t, err)
		return out
	}
	none, averaged, perHead := run(attention.NoWeights), run(attention.AveragedWeights), run(attention.WeightsPerHead)
	require.Nil(t, none.Weights)
	require.Equal(t, none.Output, averaged.Output)
	require.Equal(t, none.Output, perHead.Output)
	require.Equal(t, []int{2, 5, 7}, averaged.Weights.Shape, "five keys, the learned one and the zero one")
	require.Equal(t, []int{2, 4, 5, 7}, perHead.Weights.Shape)

	mean := make([]float64, 2*5*7)
	for row := range 2 * 4 * 5 {
		sum := 0.0
		for j := range 7 {
			w := float64(perHead.Weights.Data[row*7+j])
			require.Equal(t, j <= row%5 || j >= 5, w > 0, "row %d, key %d", row, j)
			sum += w
			mean[(row/20*5+row%5)*7+j] += w / 4
		}
		require.InDelta(t, 1, sum, 1e-6)
	}
	require.InDeltaSlice(t, mean, averaged.Weights.Float64s(), 1e-7)
}

// The weights of a layer with sinks add to less than one.
func TestWeightsLeaveOutTheSink(t *testing.T) {
	c := attention.Config{EmbedDim: 4, NumHeads: 1, Sinks: true, NeedWeights: attention.AveragedWeights}
	m := newLayer(t, c)
	dict := m.StateDict() // all zeros, so that scores are 0
	dict["sinks"].Data[0] = float32(math.Log(3))
	load(t, m, dict)
	out, err := m.Forward(self(attention.NewTensor(1, 1, 4)))
	require.NoError(t, err)
	require.InDelta(t, 0.25, out.Weights.Data[0], 1e-7)
}

// A query that sees no key has weights of zero or NaN, as EmptyRow selects. The mean over the heads
// is the same.
func TestWeightsOfAnEmptyRow(t *testing.T) {
	for _, w := range []attention.NeedWeights{attention.AveragedWeights, attention.WeightsPerHead} {
		for _, empty := range []attention.EmptyRow{attention.EmptyZero, attention.EmptyNaN} {
			m := loaded(t, attention.Config{EmbedDim: 4, NumHeads: 2, NeedWeights: w, EmptyRow: empty}, 1)
			in := self(randomTensor(2, 1, 3, 4))
			in.Padding = &attention.Mask{Shape: []int{1, 3}, Data: []bool{true, false, false}}
			out, err := m.Forward(in)
			require.NoError(t, err)
			for at, v := range out.Weights.Data {
				if i := at / 3 % 3; i > 0 {
					require.Equal(t, at%3 > 0 && at%3 <= i, v > 0)
				} else {
					require.Equal(t, empty == attention.EmptyNaN, math.IsNaN(float64(v)))
					require.False(t, v > 0)
				}
			}
		}
	}
}
