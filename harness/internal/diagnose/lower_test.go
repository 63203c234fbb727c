package diagnose

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/compare"
)

// Errors are classed as float16's only if they are about as large as right programs have them
// there. Errors an eighth as large as the noise have another cause.
func TestErrorsOfTheSizeOfALowerPrecision(t *testing.T) {
	const rows, width, low = 12, 16, 1e-3
	want := compare.Expected{Shape: []int{rows, width}, Measured: true}
	sigma := make([]float64, rows*width)
	for i := range sigma {
		want.Value = append(want.Value, math.Sin(float64(3*i+1)))
		want.Sigma = append(want.Sigma, 1e-7)
		sigma[i] = low
	}
	for size, class := range map[float64]Class{0.04: Unclear, 0.13: Unclear, 0.3: Rounding, 0.45: Rounding, 3: Unclear} {
		r := rand.New(rand.NewPCG(1, 2))
		got := make([]float64, rows*width)
		for i, v := range want.Value {
			got[i] = v + size*low*r.NormFloat64()
		}
		c := compare.Outputs(want.Shape, got, want)
		d := DiagnoseModule(context.Background(), want, map[string][]float64{"float16": sigma}, nil, got, c)
		require.Equal(t, class, d.Class, "%g: %v", size, d.Reasons)
	}
}
