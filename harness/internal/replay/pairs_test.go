package replay

import (
	"context"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/campaign"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/oracletest"
	"github.com/difftest/difftest/harness/internal/progress"
)

// normalLayer is causal self-attention of three heads over seven positions and three batch
// elements.
func normalLayer() *oracle.Problem {
	random := rand.New(rand.NewPCG(10, 10))
	values := func(n int) []float64 {
		all := make([]float64, n)
		for i := range all {
			all[i] = random.NormFloat64()
		}
		return all
	}
	linear := func() oracle.Linear {
		return oracle.Linear{Weight: values(144), Bias: values(12), In: 12, Out: 12}
	}
	x := oracle.Array{Shape: []int{3, 7, 12}, Value: values(3 * 7 * 12)}
	return &oracle.Problem{
		Query: x, Key: x, Value: x, Scale: 0.2, Causal: oracletest.Causal,
		Layer: &oracle.Layer{
			Heads: 3, KVHeads: 3, Query: linear(), Key: linear(), Value: linear(), Output: linear(),
		},
	}
}

// The second of two mistakes may come after the context, which the first one changes.
func TestFindPairsAcrossTheContext(t *testing.T) {
	campaign.SkipShort(t)
	p := normalLayer().Cached() // it keeps its context
	c := caseOf(p)
	for _, pair := range []string{
		"query-weight-transposed+output-bias-missing",
		"key-weight-transposed+heads-merge-untransposed",
		"output-weight-transposed+causal-missing",
		"heads-merge-untransposed+causal-missing",
		"query-weight-transposed+causal-missing",
	} {
		o := against(t, c, oracletest.InFloat32(planted(t, p.Clone(), strings.Split(pair, "+")...).Run()))
		single, _ := FindSingle(t.Context(), o)
		require.Empty(t, single, pair)
		require.True(t, o.PairsAffordable())
		matches, cut := FindPairs(t.Context(), o)
		require.Empty(t, cut)
		require.Contains(t, idsOf(matches), pair)
	}
}

// An output outside the noise in no row has no pair.
func TestFindPairsWithoutAWrongRow(t *testing.T) {
	p := oracletest.Padded()
	c := caseOf(p)
	got := append([]float64{}, c.Truth.Value...)
	for i := range got {
		got[i] += 3 * c.Truth.Sigma[i] * float64(1-2*(i%2))
	}
	o := against(t, c, got)
	require.False(t, o.Comparison.OK())
	matches, cut := FindPairs(t.Context(), o)
	require.Empty(t, cut)
	require.Empty(t, matches)
}

func TestFindPairsIsCutOff(t *testing.T) {
	p := oracletest.Padded()
	o := against(t, caseOf(p), planted(t, p, "causal-missing", "padding-ignored").Run().Value)
	matches, cut := FindPairs(ended(t), o)
	require.Empty(t, matches)
	require.Contains(t, cut, "two at once were not all tried")

	midway, cancel := context.WithCancel(t.Context())
	ctx := progress.With(midway, func(u progress.Update) {
		if u.Done == 10 && u.Stage == "mistakes made with each other" {
			cancel()
		}
	})
	matches, cut = FindPairs(ctx, o)
	require.Empty(t, matches)
	require.Contains(t, cut, "two at once were not all tried")
}

// Pairs are tried on a batch element that is wrong, whichever it is. An output that has two
// mistakes in that element alone has no match.
func TestFindPairsTriesAWrongElement(t *testing.T) {
	p := normalLayer()
	c := caseOf(p)
	got := append([]float64{}, c.Truth.Value...)
	wrong := planted(t, p, "query-weight-transposed", "causal-missing").Run().Value
	last := 2 * len(got) / 3
	copy(got[last:], wrong[last:])
	matches, cut := FindPairs(t.Context(), against(t, c, got))
	require.Empty(t, cut)
	require.Empty(t, matches)
}

// A mistake that gives the output alone is not named with a second one that changes nothing beside
// it, and no two others with the same output are named in its place.
func TestNoPairOfAMistakeThatIsEnough(t *testing.T) {
	p := oracletest.Padded()
	for _, id := range []string{"key-weight-zero", "projections-rotated", "mask-minus-ten"} {
		o := against(t, caseOf(p), oracletest.InFloat32(planted(t, p, id).Run()))
		matches, cut := FindPairs(t.Context(), o)
		require.Empty(t, cut)
		require.Empty(t, idsOf(matches), id)
	}
}
