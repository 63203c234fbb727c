package replay

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/oracletest"
	"github.com/difftest/difftest/harness/internal/variant"
)

// An output computed in a lower precision is explained by that precision alone.
func TestFindLowPrecision(t *testing.T) {
	for _, tc := range []struct {
		store func(float32) float32
		id    string
	}{
		{variant.BFloat16, "precision-bfloat16"},
		{variant.TensorFloat32, "precision-float16"}, // stored values have the same 11 bits
	} {
		p := oracletest.Tall(2)
		o := against(t, caseOf(p), variant.Variant{Store: tc.store}.Run(p))
		single, _ := FindSingle(t.Context(), o)
		require.Empty(t, single)
		matches, cut := FindLowPrecision(t.Context(), o)
		require.Empty(t, cut)
		require.Contains(t, idsOf(matches), tc.id)
		for _, m := range matches {
			require.Greater(t, m.Trace, 0.5)
		}
	}
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
