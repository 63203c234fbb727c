package judge

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/campaign"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/replay"
)

// Parameters that PyTorch had in wrong places are named. Parameters with other values get no name.
// The plain run asks for every third.
func TestParametersInWrongPlaces(t *testing.T) {
	n := 0
	for _, name := range []string{"llama", "bert"} {
		c, _ := plantedIn(t, name)
		referee, err := New(t.Context(), c, oracle.Precision{})
		require.NoError(t, err)
		var plants []struct{ ID, Title string }
		list, err := os.ReadFile(plantedModels + "/" + name + "-parameters.json")
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(list, &plants))
		outputs := storedOutputs(t, plantedModels+"/"+name+"-parameters.npy", len(plants))
		for i, p := range plants {
			if n++; n%3 != 0 && !campaign.Full() {
				continue
			}
			d := judgeModel(t, referee, c, outputs[i]).Diagnosis
			if p.ID == "" {
				assert.Empty(t, d.Matches, "%s: %v", name, d.Reasons)
				assert.Empty(t, d.Numbers, "%s: %v", name, d.Reasons)
				continue
			}
			if !slices.ContainsFunc(d.Matches, func(m replay.Match) bool { return sameInAttention[p.Title] == m.ID() }) {
				assert.Contains(t, strings.Join(d.Reasons, "; "), p.Title, name)
			}
			assert.LessOrEqual(t, len(d.Matches)+len(d.Numbers), 2, "%s: %v", name, d.Reasons)
		}
	}
}

// sameInAttention maps parameters in wrong places to the mistake of attention that they are.
var sameInAttention = map[string]string{
	"the parameters of layers.*.self_attn.k_proj.weight and layers.*.self_attn.v_proj.weight exchanged": "key-value-swapped",
	"zeros for layers.1.self_attn.k_proj.weight":                                                        "key-weight-zero",
}
