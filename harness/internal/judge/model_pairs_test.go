package judge

import (
	"encoding/json"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/campaign"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/replay"
)

// Two mistakes that PyTorch made at once are named together. The plain run asks for every twelfth
// pair.
func TestTwoMistakesInModels(t *testing.T) {
	n := 0
	for _, name := range []string{"llama", "bert", "gemma"} {
		c, _ := plantedIn(t, name)
		referee, err := New(t.Context(), c, oracle.Precision{})
		require.NoError(t, err)
		list, err := os.ReadFile(plantedModels + "/" + name + "-pairs.json")
		require.NoError(t, err)
		var pairs [][2]string
		require.NoError(t, json.Unmarshal(list, &pairs))
		for i, got := range storedOutputs(t, plantedModels+"/"+name+"-pairs.npy", len(pairs)) {
			if n++; n%12 != 0 && (n%3 != 0 || !campaign.Full()) {
				continue
			}
			d := judgeModel(t, referee, c, got).Diagnosis
			assert.True(t, slices.ContainsFunc(d.Matches, func(m replay.Match) bool {
				return len(m.Mistakes) == 2 && names(m.IDs(), pairs[i][0]) && names(m.IDs(), pairs[i][1])
			}), "%s %v: %v", name, pairs[i], d.Reasons)
		}
	}
}

// Noise in some of an output is no pair of mistakes, and no parameter with other values.
func TestNoiseInAModelIsNoPair(t *testing.T) {
	c, _ := plantedIn(t, "bert")
	referee, err := New(t.Context(), c, oracle.Precision{})
	require.NoError(t, err)
	width := c.Output.Shape[len(c.Output.Shape)-1]
	for where, hit := range map[string]func(i int) bool{
		"a row":     func(i int) bool { return i/width == 3 },
		"a feature": func(i int) bool { return i%width == 3 },
	} {
		got := slices.Clone(c.Truth)
		for i := range got {
			if hit(i) {
				got[i] += 0.01 * float64((i*7919+i*i)%101-50)
			}
		}
		d := judgeModel(t, referee, c, toFloat32(got)).Diagnosis
		assert.Empty(t, d.Matches, "%s: %v", where, d.Reasons)
		assert.Empty(t, d.Fits, "%s: %v", where, d.Reasons)
		assert.Contains(t, d.Reasons, "two mistakes at once: 1000 of 11628 pairs were tried", where)
	}
}

// A bias and the weight of a norm with other values are named. The larger weights of linear layers
// and of embeddings get no name: nothing could prove them.
func TestOtherValuesOfAParameter(t *testing.T) {
	c, _ := plantedIn(t, "bert")
	referee, err := New(t.Context(), c, oracle.Precision{})
	require.NoError(t, err)
	outputs := storedOutputs(t, plantedModels+"/bert-parameters.npy", 7)
	for i, keys := range map[int][]string{4: nil, 5: {"layers.1.up.bias"}, 6: {"embeddings.norm.weight"}} {
		d := judgeModel(t, referee, c, outputs[i]).Diagnosis
		var named []string
		for _, f := range d.Fits {
			named = append(named, f.Parameters...)
		}
		assert.Equal(t, keys, named, "%v", d.Reasons)
	}
}
