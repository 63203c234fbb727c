package replay

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/campaign"
	"github.com/difftest/difftest/harness/internal/oracletest"
)

func TestALargeCaseIsSampled(t *testing.T) {
	p := oracletest.Wide()
	c := caseOf(p)
	require.True(t, c.sample.Partial())
	require.Less(t, len(c.sample.Rows), 40)
	require.Subset(t, c.sample.Rows, []int{0, 1023, 1024, 2047}, "first and last query of both heads")
	o := against(t, c, oracletest.InFloat32(planted(t, p, "causal-missing").Run()))
	matches, _ := FindSingle(t.Context(), o)
	require.Equal(t, []string{"causal-missing"}, idsOf(matches))
	require.False(t, o.PairsAffordable())
}

// A mask hides a key from one query alone, which is in no sample. A subject that ignores the mask
// is found out.
func TestAMistakeOutsideTheSampleIsNamed(t *testing.T) {
	campaign.SkipShort(t)
	p := oracletest.Wide()
	p.Block = attention.NewMask(1024, 1024)
	p.Block.Data[7*1024+3] = true
	c := caseOf(p)
	require.NotContains(t, c.sample.Rows, 7)
	o := against(t, c, oracletest.InFloat32(planted(t, p, "mask-ignored").Run()))
	matches, _ := FindSingle(t.Context(), o)
	require.Equal(t, []string{"mask-ignored"}, idsOf(matches))
}

// An output that equals a mistake's in every row of the sample, and in another row does not, has
// no match. Row 2000 sees many keys, so it differs little.
func TestASampleDoesNotConfirm(t *testing.T) {
	campaign.SkipShort(t)
	p := oracletest.Wide()
	c := caseOf(p)
	wrong := oracletest.InFloat32(planted(t, p, "causal-missing").Run())
	for _, row := range []int{7, 500, 2000} {
		require.NotContains(t, c.sample.Rows, row)
		got := append([]float64{}, wrong...)
		got[row*8+1] += 1e-4
		matches, cut := FindSingle(t.Context(), against(t, c, got))
		require.Empty(t, cut)
		require.Empty(t, matches, "row %d", row)
	}
}
