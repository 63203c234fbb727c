package judge

import (
	"context"
	"fmt"
	"math"

	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// reproduction is how closely the oracle must agree with PyTorch's float64 result before it may
// judge a case, relative to the largest value: some thousand roundings of a float64.
const reproduction = 1e-12

// reproduces returns an error unless the oracle's values are PyTorch's float64 result. Where scores
// are in the hundreds, float64 itself rounds by more than reproduction. There each of the two may
// be [compare.MaxZ] deviations of float64's rounding away from the exact result. double computes
// these deviations.
func reproduces(got, want []float64, double func() ([]float64, error)) error {
	largest, worst := 0.0, 0
	off := make([]float64, len(want))
	for i, w := range want {
		if math.IsNaN(w) && math.IsNaN(got[i]) {
			continue
		}
		largest = math.Max(largest, math.Abs(w))
		off[i] = math.Abs(got[i] - w)
		if !(off[i] <= off[worst]) && !math.IsNaN(off[worst]) {
			worst = i
		}
	}
	if off[worst] <= reproduction*largest {
		return nil
	}
	sigma, err := double()
	if err != nil {
		return err
	}
	for i := range want {
		allowed := math.Max(reproduction*largest, math.Sqrt2*compare.MaxZ*sigma[i])
		if !(off[i] <= allowed) {
			return fmt.Errorf("the oracle differs from PyTorch's float64 result by %.2g of its largest value, "+
				"want at most %.2g", off[i]/largest, allowed/largest)
		}
	}
	return nil
}

// doubleSigma returns the standard deviation that float64's rounding gives to each element of a
// problem's result.
func doubleSigma(ctx context.Context, p *oracle.Problem) ([]float64, error) {
	f, err := p.InDouble().Rows(ctx, nil, oracle.WithNoise)
	return inDouble(f.Sigma()), err
}

// inDouble turns deviations of [oracle.Problem.InDouble] into float64's.
func inDouble(sigma []float64) []float64 {
	for i := range sigma {
		sigma[i] *= oracle.DoubleRatio
	}
	return sigma
}
