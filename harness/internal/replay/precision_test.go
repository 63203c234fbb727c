package replay

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/campaign"
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
