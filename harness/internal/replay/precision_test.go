package replay

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/campaign"
	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/oracletest"
	"github.com/difftest/difftest/harness/internal/variant"
)

// An output computed in a lower precision is explained by that precision, and by no other that can
// be told apart from it. A plain run computes each precision in one order of additions.
func TestFindLowPrecision(t *testing.T) {
	campaign.SkipShort(t)
	for i, tc := range []struct {
		id        string
		precision oracle.Precision
	}{
		{"precision-float16", oracle.Float16},
		{"precision-bfloat16", oracle.BFloat16},
		{"precision-tf32", oracle.TensorFloat32},
		{"precision-bfloat16-factors", oracle.BFloat16Factors},
		{"precision-tf32-truncated", oracle.TruncatedTensorFloat32},
		{"precision-bfloat16-truncated", oracle.TruncatedBFloat16},
		{"precision-bfloat16-factors-truncated", oracle.TruncatedBFloat16Factors},
	} {
		for n, by := range variant.Correct {
			if n != i && !campaign.Full() {
				continue
			}
			p := oracletest.Tall(2)
			o := against(t, caseOf(p), by.In(tc.precision).Run(p))
			single, _ := FindSingle(t.Context(), o)
			require.Empty(t, single)
			matches, cut := FindLowPrecision(t.Context(), o)
			require.Empty(t, cut)
			require.Equal(t, []string{tc.id}, idsOf(matches), by.Name)
			for _, m := range matches {
				require.Greater(t, m.Trace, 0.5)
			}
		}
	}
}

// Results of float16 are numbers of float16. The same errors in other numbers are another
// arithmetic's: TensorFloat-32 with rounded biases, for example.
func TestALowPrecisionGivesItsOwnNumbers(t *testing.T) {
	p := oracletest.Tall(2)
	got := variant.Variant{}.In(oracle.Float16).Run(p)
	got[5] = math.Nextafter(got[5], 2)
	matches, _ := FindLowPrecision(t.Context(), against(t, caseOf(p), got))
	require.Empty(t, matches, "one number that float16 does not have")

	factors := variant.Variant{}.In(oracle.TensorFloat32).Run(p)
	for i, v := range factors {
		factors[i] = oracle.Float16.Round(v)
	}
	matches, _ = FindLowPrecision(t.Context(), against(t, caseOf(p), factors))
	require.NotContains(t, idsOf(matches), "precision-tf32", "products in TensorFloat-32 give other numbers")
}

// Rounding the weights alone gives other errors than a lower precision.
func TestRoundedWeightsAreNoLowPrecision(t *testing.T) {
	p := oracletest.Tall(2)
	rounded := p.Rounded(oracle.BFloat16, oracle.Parameters)
	o := against(t, caseOf(p), oracletest.InFloat32(rounded.Run()))
	matches, cut := FindLowPrecision(t.Context(), o)
	require.Empty(t, cut)
	require.Empty(t, matches)
}

// A mistake in a lower precision is explained by the two together.
func TestFindSingleInLowPrecision(t *testing.T) {
	p := oracletest.Tall(2)
	p.Causal = oracletest.Causal
	wrong := planted(t, p, "causal-missing")
	o := against(t, caseOf(p), variant.Variant{Store: variant.BFloat16}.Run(wrong))
	low, _ := FindLowPrecision(t.Context(), o)
	require.Empty(t, low)
	matches, cut := FindSingleInLowPrecision(t.Context(), o)
	require.Empty(t, cut)
	require.Contains(t, idsOf(matches), "causal-missing+precision-bfloat16")
}

func TestFindLowPrecisionIsCutOff(t *testing.T) {
	p := oracletest.Tall(2)
	o := against(t, caseOf(p), variant.Variant{Store: variant.BFloat16}.Run(p))
	matches, cut := FindLowPrecision(ended(t), o)
	require.Empty(t, matches)
	require.Equal(t, Cut("fewer bits, and no two mistakes at once"), cut)
	matches, cut = FindSingleInLowPrecision(ended(t), o)
	require.Empty(t, matches)
	require.Equal(t, Cut("mistakes in fewer bits, and no two mistakes at once"), cut)
}

// bfloat16 is the mistake of computing in bfloat16.
func bfloat16(t *testing.T) catalogue.Mistake {
	m, ok := catalogue.ByID("precision-bfloat16")
	require.True(t, ok)
	return m
}

// The output of a lower precision is in its noise, and another output is not: an element of the
// sample is outside, or an element elsewhere, or the root mean square of all.
func TestIsOutsideALowerPrecision(t *testing.T) {
	p := oracletest.First(oracletest.Tall(2), 8)
	low := bfloat16(t)
	got := variant.Variant{}.In(oracle.BFloat16).Run(p)
	rows := []int{1, 5, 30}
	for _, tc := range []struct {
		name string
		at   int
		want bool
	}{{"unchanged", -1, false}, {"sampled", 13 * 5, true}, {"not sampled", 13 * 6, true}} {
		other := append([]float64{}, got...)
		if tc.at >= 0 {
			other[tc.at] += 1
		}
		for _, c := range []*Case{caseOf(p), sampled(caseOf(p), rows...)} {
			outside, err := isOutside(t.Context(), against(t, c, other), low.Lower)
			require.NoError(t, err)
			require.Equal(t, tc.want, outside, tc.name)
		}
	}
	sigma, err := roundedIn(t.Context(), p, nil, *low.Lower)
	require.NoError(t, err)
	spread := make([]float64, len(got))
	for i, v := range sigma.Value {
		spread[i] = v + 3*sigma.Sigma[i]
	}
	c := sampled(caseOf(p), rows...)
	o := against(t, c, spread)
	outside, err := isOutside(t.Context(), o, low.Lower)
	require.NoError(t, err)
	require.True(t, outside, "each element is within the noise, and their root mean square is not")

	_, err = isOutside(ended(t), against(t, caseOf(p), got), low.Lower)
	require.Error(t, err)
	fresh := sampled(caseOf(p), rows...)
	_, err = fresh.sampleIn(ended(t), low.Lower)
	require.Error(t, err)
	outside, err = isOutside(ended(t), against(t, fresh, got), low.Lower)
	require.Error(t, err)
	require.True(t, outside, "the sample decides")
	first, err := fresh.sampleIn(t.Context(), low.Lower)
	require.NoError(t, err)
	require.Equal(t, []int{3, 13}, first.Shape)
	kept, err := fresh.sampleIn(ended(t), low.Lower)
	require.NoError(t, err)
	require.Equal(t, first, kept, "computed once")
	_, err = isOutside(ended(t), against(t, fresh, got), low.Lower)
	require.Error(t, err)
}

// A lower precision is found in a small output, and how far the nearest mistake is. On a sample it
// must explain the other rows, too.
func TestFindLowPrecisionOfASmallCase(t *testing.T) {
	p := oracletest.First(oracletest.Tall(2), 8)
	p.Causal = oracletest.Causal
	got := variant.Variant{}.In(oracle.BFloat16).Run(p)
	o := against(t, caseOf(p), got)
	matches, cut := FindLowPrecision(t.Context(), o)
	require.Empty(t, cut)
	require.Equal(t, []string{"precision-bfloat16"}, idsOf(matches))
	next := math.Inf(1)
	for _, r := range o.Visible {
		if r.Mistake.Replayable() && r.Mistake.Family != catalogue.Precision {
			next = math.Min(next, o.distance(r))
		}
	}
	require.InDelta(t, next, matches[0].Next, 1e-15)
	// Random mistakes and other precisions are no other explanations.
	for _, m := range []catalogue.Mistake{{Random: true}, {Family: catalogue.Precision}} {
		same := o
		same.Visible = append(slices.Clone(o.Visible), Replay{Mistake: m, Outputs: [][]float64{got}})
		again, _ := FindLowPrecision(t.Context(), same)
		require.Equal(t, idsOf(matches), idsOf(again))
		require.Equal(t, matches[0].Next, again[0].Next)
	}
	exact, rounded := p.Run(), p.Rounded(oracle.BFloat16, oracle.Inputs|oracle.Parameters).WithMeanErrors(oracle.BFloat16).Run()
	require.InDelta(t, compare.Residual(got, rounded.Value), matches[0].Residual, 1e-9)
	require.InDelta(t, cosine(got, compare.Expected{Value: exact.Value, Sigma: rounded.Expected().Sigma}, rounded.Expected()),
		matches[0].Trace, 1e-9)

	c := sampled(caseOf(p), 0, 1, 2, 5, 6, 7, 9, 10, 11, 13, 14, 15, 17, 18, 19, 21, 22)
	matches, cut = FindLowPrecision(t.Context(), against(t, c, got))
	require.Empty(t, cut)
	require.Equal(t, []string{"precision-bfloat16"}, idsOf(matches))
	stored := []string{"precision-float16", "precision-bfloat16", "precision-bfloat16-truncated"}
	require.Equal(t, stored, catalogue.IDs(against(t, c, got).visiblePrecisions(t.Context())))
	rows := []int{8, 12}
	c.early = &early{right: c.Problem, rows: rows, sample: Sample{Rows: rows, Truth: expectedRows(c.Truth, rows)}}
	off := append([]float64{}, got...)
	off[13*8] = 1
	require.Empty(t, against(t, c, off).visiblePrecisions(t.Context()), "early rows rule them out")
	c.early = nil
	other := append([]float64{}, got...)
	other[13*3] = oracle.BFloat16.Round(other[13*3] + 1)
	matches, _ = FindLowPrecision(t.Context(), against(t, c, other))
	require.Empty(t, matches, "a row outside of the sample")
	other = append([]float64{}, got...)
	other[13*5] = oracle.BFloat16.Round(other[13*5] + 1)
	matches, _ = FindLowPrecision(t.Context(), against(t, c, other))
	require.Empty(t, matches, "a row of the sample")
}

// An explanation shows the known errors of rounded inputs and of rounded parameters. The right
// output shows neither, and no element may be outside of the noise.
func TestWhatALowPrecisionExplains(t *testing.T) {
	p := oracletest.First(oracletest.Tall(2), 8)
	rounded, err := roundedIn(t.Context(), p, nil, oracle.BFloat16)
	require.NoError(t, err)
	f := lowPrecision{problem: p, precision: oracle.BFloat16, rounded: rounded}
	m, ok := f.explains(t.Context(), rounded.Value)
	require.True(t, ok)
	require.InDelta(t, 1, m.Trace, 1e-9)
	require.Zero(t, m.Residual)
	require.Zero(t, m.MaxZ)
	_, ok = f.explains(t.Context(), p.Run().Value)
	require.False(t, ok, "no known errors")
	for _, part := range []oracle.Given{oracle.Inputs, oracle.Parameters} {
		alone := p.Rounded(oracle.BFloat16, part).WithMeanErrors(oracle.BFloat16).Run().Value
		require.False(t, f.showsAllRoundings(t.Context(), alone))
	}
	require.True(t, f.showsAllRoundings(t.Context(), rounded.Value))
	require.False(t, f.showsAllRoundings(ended(t), rounded.Value))
	_, ok = f.explains(ended(t), rounded.Value)
	require.False(t, ok)
	far := append([]float64{}, rounded.Value...)
	far[5] += 1
	m, ok = f.explains(t.Context(), far)
	require.False(t, ok)
	require.Equal(t, Match{}, m)

	// Half of the known errors are not enough, and two thirds are.
	for share, want := range map[float64]bool{0.4: false, 0.7: true} {
		got := make([]float64, len(rounded.Value))
		for i, v := range p.Run().Value {
			got[i] = v + share*(rounded.Value[i]-v)
		}
		require.Equal(t, want, f.showsAllRoundings(t.Context(), got), "%g", share)
	}
}

// Other errors, as large as a multiple of the known ones and orthogonal to them, leave a cosine of
// 1/sqrt(1+k^2). The limit is 0.5, and of a few elements six over the root of their number.
func TestHowClearlyAPrecisionShows(t *testing.T) {
	for _, tc := range []struct {
		positions, elements int
		times               float64
		want                bool
	}{
		{2, 104, 1.2, true}, {2, 104, 1.45, false}, // cosines of 0.64 and 0.57; the limit is 0.588
		{8, 416, 1.6, true}, {8, 416, 1.9, false}, // cosines of 0.53 and 0.47
	} {
		p := oracletest.First(oracletest.Tall(2), tc.positions)
		rounded, err := roundedIn(t.Context(), p, nil, oracle.BFloat16)
		require.NoError(t, err)
		f := lowPrecision{problem: p, precision: oracle.BFloat16, rounded: rounded}
		got := orthogonal(p.Run().Value, rounded)
		require.Len(t, got, tc.elements)
		for i, v := range rounded.Value {
			got[i] = v + tc.times*got[i]
		}
		m, ok := f.explains(t.Context(), got)
		require.InDelta(t, 1/math.Sqrt(1+tc.times*tc.times), m.Trace, 1e-6)
		require.Equal(t, tc.want, ok, "%+v", tc)
	}
}

// orthogonal returns errors as large as the known ones of a precision in units of the noise, and
// orthogonal to them: each pair of elements is turned.
func orthogonal(exact []float64, rounded compare.Expected) []float64 {
	other := make([]float64, len(exact))
	for i := range exact {
		j, sign := i+1, -1.0
		if i%2 == 1 {
			j, sign = i-1, 1
		}
		other[i] = sign * (rounded.Value[j] - exact[j]) / rounded.Sigma[j] * rounded.Sigma[i]
	}
	return other
}

// A mistake in a lower precision is found on a small case, if the precision alone does not give the
// output.
func TestFindAMistakeInALowerPrecision(t *testing.T) {
	p := oracletest.First(oracletest.Tall(2), 8)
	p.Causal = oracletest.Causal
	wrong := planted(t, p, "causal-missing")
	o := against(t, caseOf(p), variant.Variant{}.In(oracle.BFloat16).Run(wrong))
	matches, cut := FindSingleInLowPrecision(t.Context(), o)
	require.Empty(t, cut)
	require.Equal(t, []string{"causal-missing+precision-bfloat16"}, idsOf(matches))
	next := math.Inf(1)
	for _, r := range o.Candidates {
		if r.Mistake.ID != "causal-missing" && r.Mistake.Family != catalogue.Precision {
			next = math.Min(next, o.distance(r))
		}
	}
	require.InDelta(t, next, matches[0].Next, 1e-15)
	// Mistakes that do not apply, or come before, change nothing.
	again := o
	none := catalogue.Mistake{Plant: func(*oracle.Problem, *rand.Rand) bool { return false }}
	again.Candidates = append(slices.Clone(o.Candidates), Replay{Mistake: none, Outputs: [][]float64{o.Got}})
	slices.Reverse(again.Candidates)
	reversed, _ := FindSingleInLowPrecision(t.Context(), again)
	require.Equal(t, idsOf(matches), idsOf(reversed))
	require.Equal(t, matches[0].Next, reversed[0].Next)
	c := sampled(caseOf(p), num.UpTo(32)...)
	inSample, _ := FindSingleInLowPrecision(t.Context(), against(t, c, o.Got))
	require.Equal(t, idsOf(matches), idsOf(inSample))

	// The numbers of bfloat16 are numbers of float16 here. Other precisions store other numbers.
	require.Equal(t, []string{"precision-float16", "precision-bfloat16", "precision-bfloat16-truncated"},
		catalogue.IDs(precisionsThatNeedAMistake(t.Context(), o)))

	right := against(t, caseOf(p), variant.Variant{}.In(oracle.BFloat16).Run(p))
	require.NotContains(t, catalogue.IDs(precisionsThatNeedAMistake(t.Context(), right)), "precision-bfloat16")
	matches, _ = FindSingleInLowPrecision(t.Context(), right)
	require.Empty(t, matches)
	require.Empty(t, precisionsThatNeedAMistake(ended(t), o))
	low := p.Fork()
	low.Precision = oracle.BFloat16
	require.Empty(t, precisionsThatNeedAMistake(t.Context(), against(t, caseOf(low), o.Got)), "the case has few bits itself")
}

// Early rows are outside of a lower precision's noise if an element of them is. A case without
// early rows has none outside.
func TestEarlyRowsOutsideALowerPrecision(t *testing.T) {
	p := oracletest.First(oracletest.Tall(2), 2)
	low, rows := bfloat16(t), []int{1, 6}
	got := variant.Variant{}.In(oracle.BFloat16).Run(p)
	c := caseOf(p)
	require.False(t, against(t, c, make([]float64, len(got))).earlyOutside(t.Context(), low.Lower))
	c.early = &early{right: c.Problem, rows: rows, sample: Sample{Rows: rows, Truth: expectedRows(c.Truth, rows)}}
	o := against(t, c, got)
	require.False(t, o.earlyOutside(t.Context(), low.Lower))
	got = append([]float64{}, got...)
	got[13*6+2] += 1
	o = against(t, c, got)
	require.True(t, o.earlyOutside(t.Context(), low.Lower))
	require.False(t, o.earlyOutside(ended(t), low.Lower))
	outside, err := isOutside(t.Context(), o, low.Lower)
	require.NoError(t, err)
	require.True(t, outside)
	few := c.Problem.Fork()
	few.Precision = oracle.BFloat16
	c.Problem = few
	require.False(t, o.earlyOutside(t.Context(), low.Lower), "the case has few bits itself")
}

// Matches that show their known errors a tenth less clearly than the best are left out.
func TestClearestMatches(t *testing.T) {
	best, apart := 0.75, 0.1
	kept := clearest([]Match{{Trace: 0.5}, {Trace: best}, {Trace: 0.66}, {Trace: 0.64}, {Trace: best - apart}})
	require.Equal(t, []Match{{Trace: best}, {Trace: 0.66}, {Trace: best - apart}}, kept)
}
