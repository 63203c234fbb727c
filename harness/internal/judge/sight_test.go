package judge

import (
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/edits"
	"github.com/difftest/difftest/harness/internal/harnesstest"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/replay"
)

// A case sees the mistakes whose output, made by PyTorch, fails on it, and no other. Mistakes are
// alike if the output of one passes as the output of the other.
func TestWhatTheCaseOfAModelSees(t *testing.T) {
	for _, name := range modelNames {
		c, outputs := plantedIn(t, name)
		referee, err := New(t.Context(), c, oracle.Precision{})
		require.NoError(t, err)
		sight := referee.Sees()
		require.Len(t, slices.Concat(sight.Seen, blind(sight.Blind), sight.Absent), len(edits.Mistakes))
		seen := catalogue.IDs(sight.Seen)
		for _, id := range slices.Sorted(maps.Keys(outputs)) {
			fails := !compare.Outputs(c.Output.Shape, outputs[id], referee.expected).OK()
			require.Equal(t, fails, slices.Contains(seen, id), "%s %s", name, id)
		}
		for _, group := range sight.Alike {
			first, planted := outputs[group[0].ID]
			for _, m := range group[1:] {
				if other, also := outputs[m.ID]; planted && also {
					require.Less(t, compare.Residual(other, first), 1e-4, "%s %s %s", name, group[0].ID, m.ID)
				}
			}
		}
	}
}

// A mistake that a case cannot see has a reason.
func TestWhatHidesAMistakeInAModel(t *testing.T) {
	referee, err := New(t.Context(), harnesstest.ReadCase(t, "models/bert"), oracle.Precision{})
	require.NoError(t, err)
	reasons := map[string]string{}
	for _, b := range referee.Sees().Blind {
		reasons[b.Mistake.ID] = b.Why
	}
	require.Equal(t, "nothing can be computed with it here", reasons["positions-minus-one"])
	require.Equal(t, "it changes nothing here", reasons["model-softcap-missing"])
	require.Contains(t, catalogue.IDs(referee.Sees().Absent), "gate-missing")
}

func blind(all []replay.Blindness) []catalogue.Mistake {
	var mistakes []catalogue.Mistake
	for _, b := range all {
		mistakes = append(mistakes, b.Mistake)
	}
	return mistakes
}
