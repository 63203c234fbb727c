package replay

import (
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/campaign"
	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/oracletest"
)

// The output of each mistake that a case sees, also of the first in the catalogue, is explained
// by this mistake and by the mistakes with the same output, and by no other.
func TestFindSingleFindsEveryMistake(t *testing.T) {
	for _, name := range []string{"", "decoder/cache", "sdpa/alibi"} {
		p := oracletest.Padded()
		if name != "" {
			p = oracletest.Committed(t, name)
		}
		c := caseOf(p)
		v := c.Visibility()
		class := v.Class()
		named := 0
		for i, m := range catalogue.Mistakes {
			if class[i] < 0 || !m.Replayable() {
				continue
			}
			o := against(t, c, oracletest.InFloat32(planted(t, p, m.ID).Run()))
			matches, cut := FindSingle(t.Context(), o)
			require.Empty(t, cut)
			require.Contains(t, idsOf(matches), m.ID, name)
			for _, match := range matches {
				require.GreaterOrEqual(t, match.Margin, float64(compare.MinMargin))
				if variant := match.Mistakes[0]; variant.VariantOf != "" {
					requireSameOutput(t, p, m.ID, variant.ID)
					continue
				}
				isCalled := func(m catalogue.Mistake) bool { return m.ID == match.ID() }
				other := slices.IndexFunc(catalogue.Mistakes, isCalled)
				require.Equal(t, class[i], class[other], "%s: %s is called %s", name, m.ID, match.ID())
			}
			named++
		}
		require.Greater(t, named, 30, name)
	}
}

// requireSameOutput requires that two mistakes give the same output, up to rounding.
func requireSameOutput(t *testing.T, p *oracle.Problem, a, b string) {
	t.Helper()
	got, want := planted(t, p, a).Run(), planted(t, p, b).Run()
	require.LessOrEqual(t, compare.Residual(got.Value, want.Value), 1e-6, "%s is called %s", a, b)
}

// The output of each variant is explained by the variant. Only mistakes with the same output
// explain it as well.
func TestFindSingleFindsVariants(t *testing.T) {
	campaign.SkipShort(t)
	p := oracletest.Committed(t, "sdpa/long")
	c := caseOf(p)
	for _, m := range catalogue.WithVariants {
		wrong, ok := catalogue.Make(p, nil, m)
		if m.VariantOf == "" || !ok {
			continue
		}
		matches, cut := FindSingle(t.Context(), against(t, c, oracletest.InFloat32(wrong.Run())))
		require.Empty(t, cut)
		require.Contains(t, idsOf(matches), m.ID)
		for _, match := range matches {
			requireSameOutput(t, p, m.ID, match.ID())
		}
	}
}

// Without the mistake in the catalogue, no single mistake explains its output.
func TestFindSingleOfAnUnknownMistake(t *testing.T) {
	p := oracletest.Padded()
	c := caseOf(p).Without("causal-missing")
	o := against(t, c, planted(t, p, "causal-missing").Run().Value)
	matches, cut := FindSingle(t.Context(), o)
	require.Empty(t, cut)
	require.Empty(t, matches)
}

func TestFindSingleIsCutOff(t *testing.T) {
	p := oracletest.Padded()
	o := against(t, caseOf(p), planted(t, p, "causal-missing").Run().Value)
	matches, cut := FindSingle(ended(t), o)
	require.Empty(t, matches)
	require.Contains(t, cut, "mistakes that come near were not made with their noise")
}

// Two ways to the same numbers stand together, although only one allows as much noise as the output
// has: the last key is a key of zeros, and is repeated. A sample of the rows changes nothing.
func TestFindSingleJoinsTheSameComputation(t *testing.T) {
	const repeated, zero = "tail-keys-repeated-4", "tail-keys-of-zero-4"
	const size = 1.4 // in sigma
	p := oracletest.Committed(t, "mha/bias-kv-zero-attn-left-padding")
	whole := caseOf(p)
	noisy := planted(t, p, repeated).Run()
	for i, variance := range noisy.Variance {
		sign := float64(1 - 2*(i*7%5%2))
		noisy.Value[i] += size * sign * math.Sqrt(variance) // within the wider noise alone
	}
	quiet := planted(t, p, zero).Run().Expected()
	require.False(t, compare.Outputs(quiet.Shape, noisy.Value, quiet).OK())
	for _, c := range []*Case{whole, sampled(whole, 0, 1, 2, 5, 7)} {
		matches, cut := FindSingle(t.Context(), against(t, c, noisy.Value))
		require.Empty(t, cut)
		require.Contains(t, idsOf(matches), repeated)
		require.Contains(t, idsOf(matches), zero)
		for _, m := range matches {
			requireSameOutput(t, p, zero, m.ID())
		}
	}
}

// The nearest mistake with another output sets the margin, however far it is.
func TestFindSingleTellsTheNearestOther(t *testing.T) {
	p := oracletest.Padded()
	o := against(t, caseOf(p), oracletest.InFloat32(planted(t, p, "causal-missing").Run()))
	matches, _ := FindSingle(t.Context(), o)
	require.NotEmpty(t, matches)
	next := math.Inf(1)
	for _, d := range o.Distances() {
		if d.Residual > compare.MaxResidual {
			next = min(next, d.Residual)
		}
	}
	require.False(t, math.IsInf(next, 1))
	require.InDelta(t, next, matches[0].Next, 1e-12)
	require.InDelta(t, next/matches[0].Residual, matches[0].Margin, 1e-9*matches[0].Margin)
}

// A mistake at the greatest residual in the sample is still made with its noise.
func TestFindSingleAtTheGreatestResidual(t *testing.T) {
	p := oracletest.Padded()
	o := against(t, caseOf(p), oracletest.InFloat32(planted(t, p, "causal-missing").Run()))
	for _, c := range o.Candidates {
		if c.Mistake.ID == "causal-missing" {
			o.Sampled.Got, c.Outputs = []float64{21}, [][]float64{{20}}
			o.Candidates = []Replay{c}
		}
	}
	matches, _ := FindSingle(t.Context(), o)
	require.Equal(t, []string{"causal-missing"}, idsOf(matches))
}

// A near mistake joins a match if both are the same computation. Another one is a miss.
func TestJoinSame(t *testing.T) {
	p := oracletest.Committed(t, "mha/bias-kv-zero-attn-left-padding")
	match := func(id string, residual float64) Match {
		m, ok := catalogue.ByID(id)
		require.True(t, ok, id)
		return Match{Mistakes: []catalogue.Mistake{m}, Residual: residual}
	}
	const first, same = "tail-keys-repeated-4", "tail-keys-of-zero-4"
	for _, c := range []struct {
		near Match
		next float64 // infinite if it joins
	}{
		{match(same, 2e-3), math.Inf(1)},
		{match(same, 5e-3), 5e-3},
		{match(same, 6e-3), 6e-3},
		{match("padding-ignored", 2e-3), 2e-3},
		{match("window-missing", 2e-3), 2e-3}, // the case has no window
	} {
		s := newSearch()
		s.found, s.near = []Match{match(first, 1e-3)}, []Match{c.near}
		s.joinSame(t.Context(), Output{Case: caseOf(p)})
		require.Equal(t, c.next, s.next, c.near.ID())
		if math.IsInf(c.next, 1) {
			require.Equal(t, []string{first, same}, idsOf(s.found))
		} else {
			require.Equal(t, []string{first}, idsOf(s.found))
		}
	}
	s := newSearch()
	s.found, s.near = []Match{match(first, 1e-3)}, []Match{match(same, 2e-3)}
	s.joinSame(ended(t), Output{Case: caseOf(p)})
	require.Len(t, s.found, 1, "nothing was made")
}
