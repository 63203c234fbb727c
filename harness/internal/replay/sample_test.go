package replay

import (
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/campaign"
	"github.com/difftest/difftest/harness/internal/compare"
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

// A mistake that no row of the sample shows is named. The last queries see every key.
func TestASampleThatSeesNothing(t *testing.T) {
	p := oracletest.Padded()
	c := sampled(caseOf(p), 2, 5)
	o := against(t, c, oracletest.InFloat32(planted(t, p, "causal-missing").Run()))
	require.True(t, o.Sampled.Comparison.OK())
	matches, cut := FindSingle(t.Context(), o)
	require.Empty(t, cut)
	require.Equal(t, []string{"causal-missing"}, idsOf(matches))
}

// Rows outside the sample refute a mistake, one row beside many and one row alone.
func TestOtherRowsRefute(t *testing.T) {
	p := oracletest.Padded()
	c := sampled(caseOf(p), 1, 2)
	wrong := oracletest.InFloat32(planted(t, p, "causal-missing").Run())
	for _, row := range []int{0, 3, 4, 5} {
		got := slices.Clone(wrong)
		got[4*row+1] += 1e-4
		matches, cut := FindSingle(t.Context(), against(t, c, got))
		require.Empty(t, cut)
		require.Empty(t, matches, "row %d", row)
	}
}

// A mistake is named although no row alone is outside the noise.
func TestNoRowAloneIsWrong(t *testing.T) {
	p := oracletest.Padded()
	got := oracletest.InFloat32(planted(t, p, "causal-missing").Run())
	truth := p.Run().Expected()
	for i, w := range truth.Value {
		truth.Sigma[i] = math.Max(truth.Sigma[i], math.Abs(got[i]-w)/3)
	}
	o := against(t, sampled(NewCase(p, truth), 1, 2), got)
	require.False(t, o.Comparison.OK())
	require.NotContains(t, o.Comparison.WrongRows(), true)
	matches, _ := FindSingle(t.Context(), o)
	require.Equal(t, []string{"causal-missing"}, idsOf(matches))
}

// A mistake whose output is within the noise of the right one explains nothing.
func TestAnInvisibleMistakeIsNotNamed(t *testing.T) {
	p := oracletest.Padded()
	got := oracletest.InFloat32(planted(t, p, "causal-missing").Run())
	truth := p.Run().Expected()
	for i := range truth.Sigma {
		truth.Sigma[i] = 100
	}
	for _, c := range []*Case{NewCase(p, truth), sampled(NewCase(p, truth), 1, 2)} {
		matches, cut := FindSingle(t.Context(), against(t, c, got))
		require.Empty(t, cut)
		require.Empty(t, matches)
	}
}

// Of many wrong rows a few are compared first, the first and the last among them.
func TestSomeWrongRows(t *testing.T) {
	var o Output
	o.Comparison = compare.Comparison{WantShape: []int{30, 2}, Limits: compare.Limits{Z: 1}, Z: make([]float64, 60)}
	require.Empty(t, o.someWrongRows(4))
	for _, row := range []int{3, 9, 20} {
		o.Comparison.Z[2*row+1] = 2
	}
	require.Equal(t, []int{3, 9, 20}, o.someWrongRows(4))
	for row := 10; row < 20; row++ {
		o.Comparison.Z[2*row] = 2
	}
	require.Equal(t, []int{3, 12, 16, 20}, o.someWrongRows(4))
}
