package compare_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/compare"
)

func TestResidual(t *testing.T) {
	for _, tc := range []struct {
		name      string
		got, want []float64
		residual  float64
	}{
		{"equal", []float64{3, 4}, []float64{3, 4}, 0},
		{"near", []float64{3, 4.5}, []float64{3, 4}, 0.1},
		{"NaN in both", []float64{nan, 3, 4.5}, []float64{nan, 3, 4}, 0.1},
		{"NaN in one", []float64{nan, 3}, []float64{1, 3}, inf},
		{"a number for NaN", []float64{1, 3}, []float64{nan, 3}, inf},
		{"equal infinities", []float64{-inf, 3, 4.5}, []float64{-inf, 3, 4}, 0.1},
		{"infinities of different sign", []float64{-inf, 3}, []float64{inf, 3}, inf},
		{"zeros", []float64{0, 0}, []float64{0, 0}, 0},
		{"zeros expected", []float64{1, 0}, []float64{0, 0}, inf},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := compare.Residual(tc.got, tc.want)
			require.Equal(t, math.IsInf(tc.residual, 1), math.IsInf(got, 1))
			if !math.IsInf(tc.residual, 1) {
				require.InDelta(t, tc.residual, got, 1e-12)
			}
		})
	}
}

func TestWrongRows(t *testing.T) {
	want := compare.Expected{Shape: []int{3, 2}, Value: make([]float64, 6), Sigma: ones(6)}
	c := compare.Outputs(want.Shape, []float64{16, 0, 0, 16.5, nan, 0}, want)
	require.Equal(t, []bool{false, true, true}, c.WrongRows())
}

// An explanation must be within the noise, and near: noise as large as the values explains nothing.
func TestExplained(t *testing.T) {
	for _, tc := range []struct {
		sigma, got float64
		explained  bool
	}{
		{0.01, 1.01, true},
		{0.01, 1.02, false},
		{1, 1.04, true},
		{1, 1.06, false},
		{0x1p-7, 1 + 1.5*0x1p-7, true}, // at the limit
	} {
		want := compare.Expected{Shape: []int{1}, Value: []float64{1}, Sigma: []float64{tc.sigma}}
		c := compare.Outputs(want.Shape, []float64{tc.got}, want)
		require.Equal(t, tc.explained, c.Explained(), "%+v", tc)
	}
	near := compare.Expected{Shape: []int{1}, Value: []float64{20}, Sigma: []float64{1}}
	require.True(t, compare.Outputs(near.Shape, []float64{21}, near).Explained(), "at the limit of Rel")

	many := compare.Expected{Shape: []int{1000}, Value: ones(1000), Sigma: scaled(1e-3, ones(1000))}
	got := ones(1000)
	got[7] += 0.017
	require.False(t, compare.Outputs(many.Shape, got, many).Explained(), "one element is far beyond the noise")
}
