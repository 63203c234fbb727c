package diagnose

import (
	"context"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/compare"
)

// Relations are found beside padded rows, whatever these hold, and rows keep their numbers.
func TestRelationsBesidePaddedRows(t *testing.T) {
	const rows, width = 6, 5
	want := compare.Expected{Shape: []int{2, 3, width}, Measured: true}
	for i := range rows * width {
		want.Value = append(want.Value, math.Sin(float64(3*i+1)))
		want.Sigma = append(want.Sigma, 1e-7)
	}
	want = want.WithPadding([]bool{false, true, false, true, false, false})
	for _, c := range []struct {
		change func(row, feature int, v float64) float64
		text   string
	}{
		{
			func(row, _ int, v float64) float64 {
				if row == 4 {
					return 1.5 * v
				}
				return v
			}, "1.5 for row 4, 1 for the others",
		},
		{func(_, _ int, v float64) float64 { return 3 * v }, "the expected one times 3 in every element"},
		{func(_, f int, v float64) float64 { return v + float64(f) }, "plus the same 5 numbers in every row"},
		{func(_, _ int, v float64) float64 { return math.Max(v, 0) }, "every negative element set to zero"},
		{func(_, _ int, v float64) float64 { return math.Tanh(v) }, "tanh of the expected one"},
	} {
		for _, left := range []float64{0, 1e30, math.NaN()} {
			got := make([]float64, rows*width)
			for i, v := range want.Value {
				got[i] = c.change(i/width, i%width, v)
				if math.IsNaN(v) {
					got[i] = left
				}
			}
			d := DiagnoseModule(context.Background(), want, nil, nil, got, compare.Outputs(want.Shape, got, want))
			require.Contains(t, strings.Join(d.Reasons, "; "), c.text, left)
		}
	}
}
