package attention_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
)

// A layer is causal unless its configuration says otherwise.
func TestCausalByDefault(t *testing.T) {
	c := attention.Config{EmbedDim: 4, NumHeads: 2}
	for _, tc := range []struct {
		bidirectional, reaches bool
	}{{false, false}, {true, true}} {
		c.Bidirectional = tc.bidirectional
		m := loaded(t, c, 3)
		require.Equal(t, tc.bidirectional, m.Config().Bidirectional)
		x := randomTensor(4, 2, 6, 4)
		before := forward(t, m, self(x))
		x.Data[len(x.Data)-1]++ // the last token of batch element 1
		after := forward(t, m, self(x))
		earlier := before.Data[6*4:][:5*4]
		changed := !equalBits(earlier, after.Data[6*4:][:5*4])
		require.Equal(t, tc.reaches, changed, "does a later token reach earlier rows?")
		require.Equal(t, before.Data[:6*4], after.Data[:6*4], "batch element 0 depends on batch element 1")
	}
}

func TestOneToken(t *testing.T) {
	c := attention.Config{EmbedDim: 4, NumHeads: 2, ParamLayout: attention.SeedLayout, WithoutBias: true}
	m := newLayer(t, c)
	dict := m.StateDict()
	for i := range 4 { // the value projection doubles, the output projection is the identity
		dict["W_V"].Data[i*4+i], dict["W_O"].Data[i*4+i] = 2, 1
	}
	load(t, m, dict)
	x := &attention.Tensor{Shape: []int{1, 1, 4}, Data: []float32{1, 2, 3, 4}}
	require.Equal(t, []float32{2, 4, 6, 8}, forward(t, m, self(x)).Data)
}

// A query that sees no key gives the output bias or NaN. Other queries are not affected.
func TestEmptyRows(t *testing.T) {
	padding := attention.NewMask(2, 3)
	padding.Data[0] = true // key 0 of batch element 0, so that query 0 sees none
	x := randomTensor(5, 2, 3, 4)
	for _, empty := range []attention.EmptyRow{attention.EmptyZero, attention.EmptyNaN} {
		m := newLayer(t, attention.Config{EmbedDim: 4, NumHeads: 2, EmptyRow: empty})
		dict := filled(m.StateDict(), 6)
		load(t, m, dict)
		out := forward(t, m, attention.Inputs{Query: x, Key: x, Value: x, Padding: padding}).Data
		for i, v := range out {
			switch {
			case i >= 4:
				require.False(t, math.IsNaN(float64(v)), "element %d", i)
			case empty == attention.EmptyNaN:
				require.True(t, math.IsNaN(float64(v)), "element %d is %v", i, v)
			default:
				require.Equal(t, dict["out_proj.bias"].Data[i], v)
			}
		}
	}
}

// Block and Padding that are true for a key hide the key.
func TestBlockAndPaddingHideKeys(t *testing.T) {
	m := loaded(t, attention.Config{EmbedDim: 4, NumHeads: 2, Bidirectional: true}, 7)
	x := randomTensor(8, 1, 3, 4)
	padding, block := attention.NewMask(1, 3), attention.NewMask(3, 3)
	padding.Data[2] = true
	for i := range 3 {
		block.Data[i*3+2] = true
	}
	byPadding := forward(t, m, attention.Inputs{Query: x, Key: x, Value: x, Padding: padding})
	byBlock := forward(t, m, attention.Inputs{Query: x, Key: x, Value: x, Block: block})
	require.Equal(t, byPadding.Data, byBlock.Data)
	require.NotEqual(t, byPadding.Data, forward(t, m, self(x)).Data)
}

// Repeated calls give the same bits, although goroutines share the work.
func TestForwardIsDeterministic(t *testing.T) {
	m := loaded(t, attention.Config{EmbedDim: 40, NumHeads: 4}, 9)
	x := randomTensor(10, 5, 9, 40)
	first := forward(t, m, self(x))
	for range 5 {
		require.True(t, equalBits(first.Data, forward(t, m, self(x)).Data))
	}
}

func TestZeroMultiHeadIsRefused(t *testing.T) {
	var m attention.MultiHead
	_, err := m.Forward(self(attention.NewTensor(1, 1, 0)))
	require.ErrorContains(t, err, "the layer was not made by New")
}
