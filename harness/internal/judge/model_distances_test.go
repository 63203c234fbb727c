package judge

import (
	"cmp"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/replay"
)

// The distance of a wrong output from every mistake that a model can have is known. The mistake
// that gives the output is nearest.
func TestDistancesFromTheMistakesInAModel(t *testing.T) {
	c, outputs := plantedIn(t, "llama")
	referee, err := New(t.Context(), c, oracle.Precision{})
	require.NoError(t, err)
	for _, id := range slices.Sorted(maps.Keys(outputs))[:3] {
		d := judgeModel(t, referee, c, outputs[id]).Diagnosis
		require.Greater(t, len(d.Distances), 50, id)
		require.Equal(t, d.Matches[0].ID(), d.Distances[0].ID, id)
		require.InEpsilon(t, d.Matches[0].Residual, d.Distances[0].Residual, 0.01, id)
		require.True(t, slices.IsSortedFunc(d.Distances, func(a, b replay.Distance) int {
			return cmp.Compare(a.Residual, b.Residual)
		}), id)
		seen := map[string]bool{}
		for _, one := range d.Distances {
			require.False(t, seen[one.ID], "%s is there twice", one.ID)
			seen[one.ID] = true
		}
	}
}
