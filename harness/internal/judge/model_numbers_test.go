package judge

import (
	"encoding/json"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/campaign"
	"github.com/difftest/difftest/harness/internal/edits"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/graph"
	"github.com/difftest/difftest/harness/internal/harnesstest"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/replay"
)

// plantedNumber is a wrong number that PyTorch computed a model with.
type plantedNumber struct {
	Number, Where string
	Right, Value  float64
	output        []float64
}

// numbersIn returns the case of a model, and the wrong numbers in it.
func numbersIn(t *testing.T, name string) (*fixture.Case, []plantedNumber) {
	t.Helper()
	c, err := fixture.Read(os.DirFS(plantedModels), "models/"+name)
	require.NoError(t, err)
	list, err := os.ReadFile(plantedModels + "/" + name + "-numbers.json")
	require.NoError(t, err)
	var plants []plantedNumber
	require.NoError(t, json.Unmarshal(list, &plants))
	for i, output := range storedOutputs(t, plantedModels+"/"+name+"-numbers.npy", len(plants)) {
		plants[i].output = output
	}
	return c, plants
}

// alikeNumbers maps a number to another that gives nearly the same output in models whose norms
// stand before each layer: embeddings that are larger make all that is added to them smaller.
var alikeNumbers = map[string]string{"embedding-factor": "residual-factor", "residual-factor": "embedding-factor"}

// A wrong number in a model is found, with its value and its place. The plain run asks for every
// fifth.
func TestWrongNumbersInModelsAreFound(t *testing.T) {
	seen, n := map[string]bool{}, 0
	for _, name := range []string{"llama", "gemma", "bert", "scaled"} {
		c, plants := numbersIn(t, name)
		referee, err := New(t.Context(), c, oracle.Precision{})
		require.NoError(t, err)
		for _, p := range plants {
			seen[p.Number] = true
			if n++; n%5 != 0 && !campaign.Full() {
				continue
			}
			r := judgeModel(t, referee, c, p.output)
			if r.Right() {
				continue
			}
			is := func(m replay.NumberMatch) bool {
				return m.Number.ID == p.Number && m.Where == p.Where && m.Right == p.Right && m.Allows(p.Value)
			}
			found := r.Diagnosis.Numbers
			if ids := namesOf(r); len(ids) > 0 && p.Number == "model-window" && p.Value == p.Right-1 {
				assert.Equal(t, []string{"window-one-narrow"}, ids)
				continue
			}
			assert.True(t, slices.ContainsFunc(found, is), "%s: %s %g %s: %v", name, p.Number, p.Value, p.Where,
				r.Diagnosis.Reasons)
			for _, m := range found {
				assert.True(t, is(m) || m.Number.ID == alikeNumbers[p.Number], "%s: %s for %s", name, m.Number.ID, p.Number)
			}
		}
	}
	var never []string
	for _, n := range edits.Numbers {
		if !seen[n.ID] {
			never = append(never, n.ID)
		}
	}
	assert.Equal(t, []string{"factor", "term"}, never)
}

// The search for a number goes on where the outputs of its values wind: with a scale this large,
// attention chooses one key.
func TestANumberWithOutputsThatWind(t *testing.T) {
	const value = 7.133
	c := harnesstest.ReadCase(t, "models/t5")
	referee, err := New(t.Context(), c, oracle.Precision{})
	require.NoError(t, err)
	g, view, right := viewOf(t, c)
	scale, known := edits.NumberByID("model-scale")
	require.True(t, known)
	edit := scale.To(value)
	wrong, err := graph.Rerun(g, view.Apply(edit, view.Sites(edit)), right)
	require.NoError(t, err)
	found, cut := referee.module.FindNumbers(t.Context(), referee.Expected().Blank(toFloat32(wrong[g.Output].Data)))
	require.Empty(t, cut)
	require.Len(t, found, 1)
	require.Equal(t, "model-scale", found[0].Number.ID)
	require.True(t, found[0].Allows(value))
}
