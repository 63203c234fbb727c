package replay

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/campaign"
	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
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

// Two mistakes are found together, with the distance of the nearest others.
func TestFindPairs(t *testing.T) {
	p := oracletest.Padded()
	o := against(t, caseOf(p), oracletest.InFloat32(planted(t, p, "causal-missing", "output-bias-missing").Run()))
	matches, cut := FindPairs(t.Context(), o)
	require.Empty(t, cut)
	require.Contains(t, idsOf(matches), "output-bias-missing+causal-missing")
	for _, m := range matches {
		require.GreaterOrEqual(t, m.Margin, float64(compare.MinMargin))
		require.Less(t, m.Residual, 1e-6)
		require.False(t, math.IsInf(m.Next, 1))
		require.LessOrEqual(t, m.Next, o.Distances()[0].Residual)
	}
}

// Pairs are tried if the candidates and a batch element are small, and on no sampled case.
func TestPairsAffordable(t *testing.T) {
	p := oracletest.Padded()
	o := Output{Case: caseOf(p), Comparison: compare.Comparison{WantShape: []int{2, 3, 4}}}
	each := multiplications(p) / 2
	// n candidates make n²/2 pairs.
	limit := int(math.Sqrt(2 * 4e9 / each))
	o.Candidates = make([]Replay, limit)
	require.True(t, o.PairsAffordable())
	o.Sampled.Rows = []int{0}
	require.False(t, o.PairsAffordable())
	o.Sampled.Rows = nil
	variant := Replay{Mistake: catalogue.Mistake{VariantOf: "x"}}
	o.Candidates = append(o.Candidates, variant, variant)
	require.True(t, o.PairsAffordable(), "variants make no pairs")
	o.Candidates = append(o.Candidates, Replay{}, Replay{})
	require.False(t, o.PairsAffordable())
}

// Two mistakes are named in the order of the catalogue, and made in the order of the computation.
func TestOrdersOfPairs(t *testing.T) {
	first, second := catalogue.Mistakes[3], catalogue.Mistakes[40]
	want := []string{first.ID, second.ID}
	require.Equal(t, want, catalogue.IDs(catalogueOrder(first, second)))
	require.Equal(t, want, catalogue.IDs(catalogueOrder(second, first)))

	at := func(id string, stage catalogue.Stage) Replay {
		return Replay{Mistake: catalogue.Mistake{ID: id, Stage: stage}}
	}
	sorted := byStage([]Replay{at("a", 1), at("b", 2), at("c", 0), at("d", 1)})
	require.Equal(t, []string{"c", "a", "d", "b"}, namesOf(sorted))
}

// A few rows rule a pair out if they alone differ by more than an explanation may, and no others.
func TestTooFar(t *testing.T) {
	p := &piece{gotFew: []float64{3, math.NaN(), math.Inf(1), 0}, most: 4}
	nan, inf := math.NaN(), math.Inf(1)
	require.False(t, p.tooFar([]float64{3, nan, inf, 0}))
	require.False(t, p.tooFar([]float64{3, nan, inf, 2}))
	require.True(t, p.tooFar([]float64{3, nan, inf, 2.1}))
	require.True(t, p.tooFar([]float64{2, nan, inf, 2}), "1 + 4")
	require.True(t, p.tooFar([]float64{3, 1, inf, 0}))
	require.True(t, p.tooFar([]float64{nan, nan, inf, 0}))
	require.True(t, p.tooFar([]float64{3, nan, 1, 0}))
}

// A piece of a case is one batch element, with its first, middle and last wrong row.
func TestPieceOfACase(t *testing.T) {
	p := oracletest.Padded()
	c := caseOf(p)
	got := slices.Clone(c.Truth.Value)
	for _, row := range []int{1, 3, 5} {
		got[4*row] += 1
	}
	o := against(t, c, got)
	require.Equal(t, []int{2, 6}, []int{o.batches(), o.rows()})
	last, all := newPiece(o, 1), newPiece(o, allElements)
	require.Equal(t, []int{0, 2}, last.few, "rows of the element")
	require.Equal(t, []int{1, 3, 5}, all.few)
	require.Equal(t, got[12:], last.got)
	require.Equal(t, got, all.got)
	require.Equal(t, slices.Concat(got[12:16], got[20:24]), last.gotFew)
	require.Equal(t, c.Truth.Value[12:], last.right.Run().Value)
	require.Equal(t, c.Truth.Value, all.right.Run().Value)
	square := 0.0
	for _, v := range last.got {
		square += v * v
	}
	const near = compare.MaxResidual / (1 - compare.MaxResidual)
	require.InDelta(t, near*near*square, last.most, 1e-12*square)
	narrow := o
	narrow.Comparison.WantShape = []int{2, 12, 1} // one feature
	require.Len(t, newPiece(narrow, allElements).few, 3)
	o.Got[23] = math.NaN()
	require.False(t, math.IsNaN(newPiece(o, 1).most), "one element says nothing about the others")
}
