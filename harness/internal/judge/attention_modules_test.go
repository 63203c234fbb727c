package judge

import (
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/campaign"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/report"
)

// plantedAttention holds modules of attention, and the outputs of known mistakes in them:
// pyref/models/attention_store.py made both in eager PyTorch.
const plantedAttention = "../sites/testdata"

// Each mistake that PyTorch made in a module of attention is named. Without its entry in the
// catalogue the output has no name but one of a mistake that gives the same output. The plain run
// asks for the latter of every fifth mistake.
func TestMistakesInAttentionModulesAreNamed(t *testing.T) {
	for _, name := range []string{"separate", "fused", "per-head", "normed", "relative", "cross"} {
		c, outputs := plantedUnder(t, plantedAttention, "attention", name)
		referee, err := New(t.Context(), c, oracle.Precision{})
		require.NoError(t, err)
		require.Equal(t, report.Pass, judgeModel(t, referee, c, c.Output.Float64s()).Verdict)
		for n, id := range slices.Sorted(maps.Keys(outputs)) {
			r := judgeModel(t, referee, c, outputs[id])
			assert.Equal(t, report.Fail, r.Verdict, "%s %s", name, id)
			alike := namesOf(r)
			assert.Contains(t, alike, id, "%s: %v", name, r.Diagnosis.Reasons)
			for _, m := range r.Diagnosis.Matches {
				assert.Empty(t, m.Where, "%s %s", name, id)
				assert.NotEqual(t, "attention in a model", string(m.Mistakes[0].Family), "%s %s", name, id)
			}
			if n%5 == 0 || campaign.Full() {
				without := namesOf(judgeModel(t, referee.Without(id), c, outputs[id]))
				same := append(alike, underAnotherName[id])
				without = slices.DeleteFunc(without, func(other string) bool {
					return slices.Contains(sameParameters[id], other)
				})
				assert.Subset(t, same, without, "%s without %s", name, id)
			}
		}
	}
}

// underAnotherName maps mistakes of attention to mistakes in a model that give way to them.
var underAnotherName = func() map[string]string {
	names := map[string]string{"value-aliased-to-key": "parameters-of-another"}
	for model, attention := range insideAttention {
		names[attention] = model
	}
	return names
}()

// sameParameters maps mistakes of attention to mistakes with parameters that are the same in a
// module of attention alone.
var sameParameters = map[string][]string{
	"key-value-swapped":   {"parameters-exchanged"},
	"padding-ignored":     {"model-mask-missing"}, // the padding is the whole mask
	"relative-missing":    {"parameter-zeros", "parameter-ones"},
	"output-bias-missing": {"head-bias-missing", "linear-bias-missing", "parameter-zeros"},
	"query-bias-missing":  {"linear-bias-missing", "attention-bias-missing", "parameter-zeros"},
	"key-bias-missing":    {"linear-bias-missing", "attention-bias-missing", "parameter-zeros"},
	"value-bias-missing":  {"linear-bias-missing", "attention-bias-missing", "parameter-zeros"},
	// Scores of zero, and two exchanges that make a rotation.
	"weights-uniform":     {"key-weight-zero+key-bias-missing", "key-weight-zero+relative-missing"},
	"projections-rotated": {"key-value-swapped+query-value-swapped"},
}
