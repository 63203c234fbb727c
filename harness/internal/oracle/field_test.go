package oracle_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/oracle"
)

// The mean over the heads has the variances of the heads, of the sum and of the division.
func TestVarianceOfMeanWeights(t *testing.T) {
	f := oracle.Field{
		Shape:    []int{1, 3, 1, 2},
		Value:    []float64{0.25, 0.75, 0.5, 0.5, 0.125, 0.875},
		Variance: []float64{1e-15, 2e-15, 3e-15, 4e-15, 5e-15, 6e-15},
	}
	mean := f.MeanOfHeads()
	require.Equal(t, []int{1, 1, 2}, mean.Shape)
	for j, heads := range [][]float64{{0.25, 0.5, 0.125}, {0.75, 0.5, 0.875}} {
		total := heads[0] + heads[1] + heads[2]
		carried := f.Variance[j] + f.Variance[2+j] + f.Variance[4+j]
		require.InEpsilon(t, total/3, mean.Value[j], 1e-15)
		require.InEpsilon(t, (carried+sum(heads...)+r*total*total)/9, mean.Variance[j], 1e-12)
	}
}
