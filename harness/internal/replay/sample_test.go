package replay

import (
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/campaign"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracle"
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

// truthOf returns a truth of some shape whose values are their indices.
func truthOf(shape ...int) compare.Expected {
	e := compare.Expected{Shape: shape, Value: make([]float64, num.Size(shape)), Sigma: make([]float64, num.Size(shape))}
	for i := range e.Value {
		e.Value[i] = float64(i)
	}
	return e
}

// A sample takes the batch element whose queries see the most different numbers of keys, of equals
// the last: ten of its positions, and the positions that see no key or the fewest.
func TestPositionsOfASample(t *testing.T) {
	spread := []int{0, 28, 56, 85, 113, 141, 170, 198, 226, 255} // of 256
	p := oracletest.Long()
	s := newSample(p, truthOf(2, 256, 96))
	var want []int
	for _, i := range spread {
		want = append(want, 256+i)
	}
	require.Equal(t, want, s.Rows, "the first element is padded")
	require.Equal(t, []int{10, 96}, s.Truth.Shape)
	require.InDelta(t, (256+28)*96+5, s.Truth.Value[96+5], 0)

	for i := range 256 {
		p.Padding.Data[i], p.Padding.Data[256+i] = false, i < 10 || i > 200
	}
	require.Equal(t, spread, newSample(p, truthOf(2, 256, 96)).Rows, "the second element is padded")
	for i := range 256 {
		p.Padding.Data[256+i], p.Padding.Data[i] = false, false
	}
	require.Equal(t, want, newSample(p, truthOf(2, 256, 96)).Rows, "both are alike")
	for i := range 30 {
		p.Padding.Data[i], p.Padding.Data[256+i] = true, true
	}
	p.Padding.Data[255], p.Padding.Data[511] = true, true
	want = nil
	// 0 sees no key, 30 sees one.
	for _, i := range []int{0, 28, 30, 56, 85, 113, 141, 170, 198, 226, 255} {
		want = append(want, 256+i)
	}
	require.Equal(t, want, newSample(p, truthOf(2, 256, 96)).Rows)

	// The heads of a function have a sample each.
	f := oracletest.Wide()
	rows := newSample(f, truthOf(1, 2, 1024, 8)).Rows
	require.Equal(t, []int{0, 113, 227, 341, 454, 568, 682, 795, 909, 1023}, rows[:10])
	for i, row := range rows[:10] {
		require.Equal(t, 1024+row, rows[10+i])
	}
	require.Len(t, rows, 20)

	small := newSample(oracletest.Padded(), truthOf(2, 3, 4))
	require.Nil(t, small.Rows)
	require.Equal(t, truthOf(2, 3, 4), small.Truth)
}

// A case counts as large above thirty million multiplications.
func TestLargeCases(t *testing.T) {
	of := func(n int) oracle.Array {
		return oracle.Array{Shape: []int{1, 1, n, 500}, Value: make([]float64, 500*n)}
	}
	for keys, partial := range map[int]bool{3000: false, 3001: true} {
		p := &oracle.Problem{Query: of(10), Key: of(keys), Value: of(keys), Scale: 1}
		require.Equal(t, partial, newSample(p, truthOf(1, 1, 10, 500)).Partial())
	}
}

// Some indices of many, the first and the last included, and rows that see few keys.
func TestRowsOfASample(t *testing.T) {
	require.Equal(t, []int{0, 3, 6, 9}, spreadOver(10, 4))
	require.Equal(t, []int{0, 1, 2}, spreadOver(3, 10))
	require.Equal(t, []int{0}, spreadOver(1, 5))
	require.Equal(t, []int{2, 1}, extremes([]int{3, 1, 0, 1, 0}))
	require.Equal(t, []int{2}, extremes([]int{3, 2, 1, 1}))
	require.Equal(t, []int{0}, extremes([]int{0, 0}))
	require.Equal(t, []int{0}, extremes([]int{1, 2}))
	require.Empty(t, extremes(nil))
	require.Equal(t, 3, countDistinct([]int{2, 1, 2, 7, 1}))

	e := compare.Expected{Shape: []int{2, 2, 2}, Value: []float64{1, 2, 3, 4, 5, 6, 7, 8}, Sigma: make([]float64, 8), Measured: true}
	e.Sigma[7] = 9
	some := expectedRows(e, []int{1, 3})
	require.Equal(t, compare.Expected{
		Shape: []int{2, 2}, Value: []float64{3, 4, 7, 8}, Sigma: []float64{0, 0, 0, 9}, Measured: true,
	}, some)
	require.Equal(t, e, expectedRows(e, nil))
	whole, part := Sample{}, Sample{Rows: []int{4, 7}}
	require.Equal(t, []int{5, 7}, []int{whole.Row(5), part.Row(1)})
	require.Equal(t, []int{8, 2}, []int{whole.draws(), part.draws()})
	require.Equal(t, []bool{false, true}, []bool{whole.Partial(), part.Partial()})
}

// Multiplications of a function and of a layer, by hand.
func TestMultiplications(t *testing.T) {
	of := func(shape ...int) oracle.Array {
		n := 1
		for _, d := range shape {
			n *= d
		}
		return oracle.Array{Shape: shape, Value: make([]float64, n)}
	}
	p := &oracle.Problem{Query: of(2, 3, 5, 4), Key: of(2, 3, 7, 4), Value: of(2, 3, 7, 6)}
	require.InDelta(t, 6*5*7*(4+6), multiplications(p), 0)
	p.Past = &oracle.Past{Key: of(2, 3, 2, 4)}
	require.InDelta(t, 6*5*9*(4+6), multiplications(p), 0)
	linear := func(in, out int) oracle.Linear { return oracle.Linear{In: in, Out: out} }
	p = &oracle.Problem{
		Query: of(2, 5, 4), Key: of(2, 7, 3), Value: of(2, 7, 3),
		Layer: &oracle.Layer{Query: linear(4, 8), Key: linear(3, 8), Value: linear(3, 6), Output: linear(6, 4)},
	}
	require.InDelta(t, 2*(5*7*16+5*4*8+7*3*8+7*3*6+5*6*4), multiplications(p), 0)
}
