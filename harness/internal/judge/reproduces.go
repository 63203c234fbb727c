package judge

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/graph"
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
	off, worst, largest := distances(got, want)
	if worst <= reproduction*largest {
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

// distances returns the distance of each element, the largest of them, and the largest element.
// The largest distance is NaN if one is.
func distances(got, want []float64) (off []float64, worst, largest float64) {
	off = make([]float64, len(want))
	for i, w := range want {
		if math.IsNaN(w) && math.IsNaN(got[i]) {
			continue
		}
		off[i] = math.Abs(got[i] - w)
		worst, largest = max(worst, off[i]), max(largest, math.Abs(w))
	}
	return off, worst, largest
}

// graphReproduces returns an error unless the output of a graph is its module's truth.
func graphReproduces(output *graph.Tensor[float64], truth compare.Expected) error {
	const reproduction = 1e-9 // of the largest value
	if !slices.Equal(output.Shape, truth.Shape) {
		return errors.New("the output of the graph has another shape than the module's")
	}
	_, worst, largest := distances(output.Data, truth.Value)
	if !(worst <= reproduction*largest) {
		return fmt.Errorf("the graph differs from PyTorch's float64 result by %.2g of its largest value, "+
			"want at most %.0e", worst/largest, reproduction)
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
