package pattern

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/oracle"
)

// A weight of 0 may be a low score: a key is lost only if all heads say so, for several keys.
func TestLostKeys(t *testing.T) {
	const keys = 4
	x := &Pattern{
		Heads: 2, PerBatch: 2, Queries: 1, Keys: keys,
		Expected:    slices.Repeat([]float64{0.25}, 2*keys),
		Uncertainty: slices.Repeat([]float64{1e-9}, 2*keys),
	}
	sees := oracle.Trace{Sees: slices.Repeat([]bool{true}, 2*keys)}
	x.Recovered = []float64{1, 0, 0, 0, 0.25, 0.25, 0.25, 0.25}
	require.Empty(t, x.lost(sees), "in one head of two")
	x.Recovered = []float64{0.5, 0.5, 0, 0, 0.5, 0.5, 0, 0}
	require.Empty(t, x.lost(sees), "two keys")
	x.Recovered = []float64{1, 0, 0, 0, 1, 0, 0, 0}
	require.Equal(t, []int{1, 2, 3, 5, 6, 7}, x.lost(sees))
	x.PerBatch = 1
	require.Empty(t, x.lost(sees), "one head a batch element")
}

func TestDistances(t *testing.T) {
	require.Equal(t, "3", distances(3, 3))
	require.Equal(t, "3-4", distances(3, 4))
	require.Equal(t, "3 to 8", distances(3, 8))
}
