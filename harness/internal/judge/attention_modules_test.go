package judge

import (
	"maps"
	"slices"
	"strings"
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
					return slices.Contains(sameParameters[id], other) || isTwo(id, other)
				})
				assert.Subset(t, same, without, "%s without %s", name, id)
			}
		}
	}
}

// twoAreOne lists mistakes that are two others at once: exchanges that make a rotation, keys of
// zero with biases or positions that do not matter then, and all biases of two sorts.
var twoAreOne = []string{"projections-rotated", "weights-uniform", "attention-bias-missing", "mlp-bias-missing"}

// isTwo reports whether a name is of two mistakes that may be the one with this id.
func isTwo(id, other string) bool {
	return slices.Contains(twoAreOne, id) && strings.Contains(other, "+")
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
}
