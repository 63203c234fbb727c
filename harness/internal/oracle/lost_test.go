package oracle_test

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/variant"
)

// lostRows draws a problem in which an additive mask of -1e9 covers every key of some rows.
func lostRows(r *rand.Rand) *oracle.Problem {
	queries, keys, width := 3+r.IntN(6), 4+r.IntN(12), 4+r.IntN(8)
	p := &oracle.Problem{
		Query: tensor(r, 3, 0, 2, queries, width), Key: tensor(r, 1, 0, 2, keys, width),
		Value: tensor(r, 1, 0.5, 2, keys, width), Scale: 0.5,
		Bias: &oracle.Array{Shape: []int{queries, keys}, Value: make([]float64, queries*keys)},
	}
	for i := range p.Bias.Value {
		if i/keys%2 == 0 || r.IntN(3) == 0 {
			p.Bias.Value[i] = -1e9
		}
	}
	return p
}

// In a row whose keys all have a mask of -1e9, the output with the scores and the output without
// them are right. An output that is neither is refused, however large the scores are.
func TestRowsOfLostScoresAllowTwoOutputsAlone(t *testing.T) {
	for n := range uint64(30) {
		r := rand.New(rand.NewPCG(20261103, n))
		p := lostRows(r)
		truth := p.Run().Expected()
		require.True(t, compare.Outputs(truth.Shape, truth.Value, truth).OK())
		for _, v := range variant.Correct {
			got := v.Run(p) // float32 loses the scores
			c := compare.Outputs(truth.Shape, got, truth)
			require.True(t, c.OK(), "case %d, %s: max z %g, rms z %g", n, v.Name, c.MaxZ, c.RMSZ)
		}
		for _, factor := range []float64{-20, 20} {
			wrong := append([]float64{}, truth.Value...)
			for c := range num.Last(truth.Shape) { // the first row is masked
				wrong[c] *= factor
			}
			require.False(t, compare.Outputs(truth.Shape, wrong, truth).OK(), "case %d, times %g", n, factor)
		}
	}
}
