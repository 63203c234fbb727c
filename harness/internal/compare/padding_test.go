package compare_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/compare"
)

// tokens is a result of two batch elements of two tokens, of which the second and third are padded.
func tokens() compare.Expected {
	e := compare.Expected{
		Shape: []int{2, 2, 2}, Value: []float64{1, 2, 3, 4, 5, 6, 7, 8}, Sigma: ones(8), Measured: true,
	}
	return e.WithPadding([]bool{false, true, true, false})
}

func TestPaddedRowsDoNotMatter(t *testing.T) {
	for _, padded := range []float64{0, 1e9, nan, inf} {
		got := []float64{1.5, 2, padded, padded, padded, 6, 7, 8}
		c := compare.Outputs([]int{2, 2, 2}, got, tokens())
		require.True(t, c.OK())
		require.Equal(t, []any{4, 4, 2, 0}, []any{c.Elements, c.Rows, c.Padded, c.NonFinite})
		require.InDelta(t, 0.5, c.MaxZ, 1e-12)
		require.InDelta(t, 0.25, c.RMSZ, 1e-12, "padded elements do not dilute it")
		require.InDelta(t, 0.5/math.Sqrt(118), c.Rel, 1e-12)
		require.True(t, compare.Same([]float64{padded}, got[2:3]), "nothing is written")
	}
}

func TestAnErrorBesidePaddedRows(t *testing.T) {
	c := compare.Outputs([]int{2, 2, 2}, []float64{1, 2, nan, nan, nan, nan, 7, 88}, tokens())
	require.False(t, c.OK())
	require.Equal(t, []int{1, 1, 1}, c.Worst.Index)
	require.Equal(t, 1, c.Outside)
	c = compare.Outputs([]int{2, 2, 2}, []float64{1, nan, 3, 4, 5, 6, 7, 8}, tokens())
	require.Equal(t, 1, c.NonFinite)
	require.False(t, c.OK())
}

func TestRowsThatMatter(t *testing.T) {
	e := tokens()
	compact := e.Compact()
	require.Equal(t, []float64{1, 2, 7, 8}, compact.Value)
	require.Equal(t, []int{2, 2}, compact.Shape)
	require.Equal(t, []int{0, 3}, e.KeptRows())
	require.True(t, compare.Same(e.Blank(e.Value), e.Value))
	require.False(t, compare.Same([]float64{nan}, []float64{1}))

	require.False(t, compare.Same([]float64{1}, []float64{nan}))

	all := compare.Expected{Shape: []int{1, 2}, Value: []float64{1, 2}, Sigma: ones(2)}
	require.Equal(t, all, all.WithPadding(nil))
	require.Equal(t, all, all.WithPadding([]bool{false, false}))
	require.Equal(t, all, all.Compact())
	require.Nil(t, all.KeptRows())
	require.True(t, all.Judged(0))
	require.Equal(t, []float64{5, 6}, all.Kept([]float64{5, 6}))
	require.Equal(t, []float64{5, 6}, all.Blank([]float64{5, 6}))
	cube := compare.Expected{Shape: []int{1, 2, 1}, Value: []float64{1, 2}, Sigma: ones(2)}
	require.Equal(t, cube, cube.Compact())

	// Rows of a width that no other dimension has.
	wide := compare.Expected{Shape: []int{3, 2, 3}, Value: make([]float64, 18), Sigma: ones(18)}
	wide = wide.WithPadding([]bool{false, true, false})
	require.Equal(t, []int{4, 3}, wide.Compact().Shape)
	require.Equal(t, []int{0, 1, 4, 5}, wide.KeptRows())
	c := compare.Outputs(wide.Shape, make([]float64, 18), wide)
	require.Equal(t, []int{12, 3, 1}, []int{c.Elements, c.Rows, c.Padded})
	other := ones(8)
	require.Equal(t, other, wide.Kept(other), "values of another shape have no rows to leave out")
	require.Equal(t, other, wide.Blank(other))

	// A single row, which does not matter.
	none := compare.Expected{Shape: []int{1, 2}, Value: []float64{1, 2}, Sigma: ones(2)}.WithPadding([]bool{true})
	require.False(t, none.Judged(1))
	require.True(t, compare.Same([]float64{nan, nan}, none.Value))
	require.Equal(t, []int{0, 2}, none.Compact().Shape)
	require.Empty(t, none.Kept([]float64{1, 2}))

	// A number for each token.
	numbers := compare.Expected{Shape: []int{2, 2}, Value: []float64{1, 2, 3, 4}, Sigma: ones(4)}
	compact = numbers.WithPadding([]bool{true, false, false, false}).Compact()
	require.Equal(t, []int{1, 3}, compact.Shape)
	require.Equal(t, []float64{2, 3, 4}, compact.Value)
}
