package oracle_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// A mask is that of the first head of a batch element, if it is small enough. A rotation has none.
func TestMasksOfBatchElements(t *testing.T) {
	x := oracle.Array{Shape: []int{2, 3, 2, 1}, Value: make([]float64, 12)}
	p := &oracle.Problem{Query: x, Key: x, Value: x, Causal: causal, Padding: attention.NewMask(2, 2)}
	p.Padding.Data[2] = true
	p.Allow = attention.NewMask(3, 2, 2)
	for i := range 4 { // the first head alone
		p.Allow.Data[i] = true
	}
	want := []oracle.Mask{
		{Queries: 2, Keys: 2, Sees: []bool{true, false, true, true}},
		{Queries: 2, Keys: 2, Sees: []bool{false, false, false, true}},
	}
	require.Equal(t, want, p.Masks(4))
	require.Nil(t, p.Masks(3))
	p.Turn = &oracle.Turn{}
	require.Nil(t, p.Masks(4))
}

// Heads may have masks of their own where masked keys take part.
func TestMaskedScoresOfHeads(t *testing.T) {
	x := oracle.Array{Shape: []int{1, 2, 1, 1}, Value: []float64{1, 1}}
	k := oracle.Array{Shape: []int{1, 2, 2, 1}, Value: []float64{0.5, -1, 0.5, -1}}
	v := oracle.Array{Shape: []int{1, 2, 2, 1}, Value: []float64{3, -2, 3, -2}}
	p := &oracle.Problem{Query: x, Key: k, Value: v, Scale: 1, Block: attention.NewMask(1, 2, 1, 2)}
	p.Block.Data = []bool{false, true, true, false}
	p.MaskedScore = func(s float64) (float64, float64) { return s - 1, 1 }
	got := p.Run()
	for head, scores := range [][2]float64{{0.5, -2}, {-0.5, -1}} {
		a, b := math.Exp(scores[0]), math.Exp(scores[1])
		require.InEpsilon(t, (3*a-2*b)/(a+b), got.Value[head], 1e-12)
	}
}
