package judge

import (
	"cmp"
	"encoding/json"
	"maps"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/campaign"
	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/edits"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/graph"
	"github.com/difftest/difftest/harness/internal/npy"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/replay"
	"github.com/difftest/difftest/harness/internal/report"
)

// plantedModels holds small models, and the outputs of known mistakes in them: pyref/models made
// both in eager PyTorch, by code that shares nothing with package edits.
const plantedModels = "../edits/testdata"

var modelNames = []string{
	"llama", "gemma", "bert", "gpt", "neox", "mixed", "grouped", "pyramid", "patches", "recurrent", "state_space",
	"deep", "fused", "upscaler",
}

// plantedIn returns the case of a model, and the output of each mistake in it.
func plantedIn(t *testing.T, name string) (*fixture.Case, map[string][]float64) {
	t.Helper()
	return plantedUnder(t, plantedModels, "models", name)
}

// plantedUnder returns the case GROUP/NAME in a folder, and the output of each mistake in it.
func plantedUnder(t *testing.T, folder, group, name string) (*fixture.Case, map[string][]float64) {
	t.Helper()
	c, err := fixture.Read(os.DirFS(folder), group+"/"+name)
	require.NoError(t, err)
	list, err := os.ReadFile(folder + "/" + name + ".json")
	require.NoError(t, err)
	var ids []string
	require.NoError(t, json.Unmarshal(list, &ids))
	outputs := map[string][]float64{}
	for i, output := range storedOutputs(t, folder+"/"+name+".npy", len(ids)) {
		outputs[ids[i]] = output
	}
	return c, outputs
}

// storedOutputs returns the outputs of count mistakes in a file.
func storedOutputs(t *testing.T, file string, count int) [][]float64 {
	t.Helper()
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	a, err := npy.Parse(data)
	require.NoError(t, err)
	values, err := a.Float64s()
	require.NoError(t, err)
	return slices.Collect(slices.Chunk(values, len(values)/count))
}

func judgeModel(t *testing.T, r *Referee, c *fixture.Case, got []float64) report.Result {
	t.Helper()
	result, err := r.Judge(t.Context(), c.Output.Shape, got)
	require.NoError(t, err)
	return result
}

func namesOf(r report.Result) []string {
	var ids []string
	for _, m := range r.Diagnosis.Matches {
		ids = append(ids, m.ID())
	}
	return ids
}

// The edit of each mistake gives what PyTorch computed with the mistake. The plain run judges every
// fourth mistake of small graphs, and every fifteenth of the others. Each is named. Without its
// entry in the catalogue it has no name but one of a mistake that gives the same output. The plain
// run checks this for every twelfth mistake of small graphs.
func TestMistakesInModelsAreNamed(t *testing.T) {
	seen := map[string]bool{}
	for _, name := range modelNames {
		c, outputs := plantedIn(t, name)
		replays, nodes := editedOutputs(t, c)
		referee, err := New(t.Context(), c, oracle.Precision{})
		require.NoError(t, err)
		require.Equal(t, report.Pass, judgeModel(t, referee, c, c.Output.Float64s()).Verdict)
		for n, id := range slices.Sorted(maps.Keys(outputs)) {
			got := outputs[id]
			seen[id] = true
			require.Contains(t, replays, id, name)
			assert.Less(t, compare.Residual(got, replays[id]), 1e-4, "%s %s", name, id)
			small := nodes < 60
			if !drawn(n, small, 4, 15) {
				continue
			}
			r := judgeModel(t, referee, c, got)
			assert.Equal(t, report.Fail, r.Verdict, "%s %s", name, id)
			alike := namesOf(r)
			assert.True(t, names(alike, id), "%s %s: %v %v", name, id, alike, r.Diagnosis.Reasons)
			if !small && !campaign.Full() || !drawn(n, small, 12, 48) {
				continue
			}
			without := namesOf(judgeModel(t, referee.Without(id).Without(insideAttention[id]), c, got))
			without = slices.DeleteFunc(without, func(other string) bool {
				return slices.Contains(sameByParameters[id], other) || isTwo(id, other)
			})
			assert.Subset(t, append(alike, inOnePlace[id]...), without, "%s without %s", name, id)
		}
	}
	var never []string
	for _, m := range edits.Mistakes {
		if !seen[m.ID] {
			never = append(never, m.ID)
		}
	}
	assert.Equal(t, notPlanted, never)
}

// editedOutputs returns the output of each edit at all of its places, by the mistake's id, and the
// number of nodes.
func editedOutputs(t *testing.T, c *fixture.Case) (outputs map[string][]float64, count int) {
	t.Helper()
	g, view, right := viewOf(t, c)
	outputs = map[string][]float64{}
	for _, m := range edits.Mistakes {
		sites := view.Sites(m.Edit)
		if wrong, err := graph.Rerun(g, view.Apply(m.Edit, sites), right); len(sites) > 0 && err == nil {
			outputs[m.ID] = wrong[g.Output].Data
		}
	}
	return outputs, len(g.Nodes)
}

// viewOf computes the graph of a case.
func viewOf(t *testing.T, c *fixture.Case) (*graph.Graph, *graph.View, graph.Values[float64]) {
	t.Helper()
	g, err := graph.Parse(c.Graph)
	require.NoError(t, err)
	given, err := graph.Given[float64](g, c.Given)
	require.NoError(t, err)
	right, err := graph.Run(g, given)
	require.NoError(t, err)
	return g, graph.NewView(g, right), right
}

// notPlanted lists the mistakes that PyTorch makes in none of the small models: its GRU has the
// reset gate behind the product.
var notPlanted = []string{"gru-reset-after"}

// insideAttention maps mistakes in a model to the mistakes of attention to which they give way.
var insideAttention = map[string]string{
	"model-scale-missing": "scale-missing", "model-scale-by-size": "scale-twice",
	"model-softcap-missing": "softcap-missing", "model-causal-missing": "causal-missing",
	"model-padding-ignored": "padding-ignored", "model-window-missing": "window-missing",
	"model-query-key-exchanged": "query-key-swapped", "model-key-value-exchanged": "key-value-swapped",
	"model-kv-heads-tiled": "kv-heads-tiled", "model-heads-not-merged": "heads-merge-untransposed",
	"model-rotary-missing": "rope-missing", "model-rotary-reversed": "rope-backwards",
	"model-rotary-interleaved": "rope-other-style", "model-rotary-query-alone": "rope-query-only",
	"model-rotary-key-alone": "rope-key-only", "attention-bias-missing": "biases-missing",
	"model-scale-by-root": "scale-default", "model-causal-added": "causal-added",
	"linear-transposed": "weights-transposed", "model-qk-norm-over-heads": "qk-norm-over-heads",
}

// drawn reports whether a test asks for mistake n: for one of so many in small models, and for
// fewer in others, which take longer. The full campaign asks for half as many again.
func drawn(n int, small bool, every, everyOfOthers int) bool {
	if !small {
		every = everyOfOthers
	}
	if campaign.Full() {
		every = (2*every + 2) / 3
	}
	return n%every == 0
}

// names reports whether ids hold a mistake, or the mistake of attention to which it gives way.
func names(ids []string, id string) bool {
	return slices.Contains(ids, id) || slices.Contains(ids, insideAttention[id])
}

// inOnePlace maps a mistake to others that are the same if they are made in one place alone.
var inOnePlace = map[string][]string{
	"norm-final-missing":     {"norm-skipped"},
	"rotary-everywhere":      {"rotary-layers-exchanged"},
	"norm-embedding-missing": {"norm-skipped"},
	"head-bias-missing":      {"linear-bias-missing"},
	// In a model without a causal mask.
	"padding-ignored": {"model-mask-missing"},
	// In a model of two layers.
	"layers-all-first": {"layers-reversed", "layers-one-late"},
	"layers-all-last":  {"layers-reversed", "layers-one-early"},
}

// sameByParameters maps a mistake to mistakes with parameters that give the same output.
var sameByParameters = map[string][]string{
	"norms-exchanged":   {"parameters-exchanged"},
	"gate-up-exchanged": {"parameters-exchanged"},
	"layers-reversed":   {"parameters-exchanged"},
	// LayerNorm takes a constant out.
	"positions-missing":   {"parameter-zeros", "parameter-ones"},
	"token-types-missing": {"parameter-zeros", "parameter-ones"},
	"attention-skipped":   {"parameter-zeros"},
	"mlp-skipped":         {"parameter-zeros"},
	"head-tied":           {"parameters-of-another"},
	"head-bias-missing":   {"parameter-zeros"},

	"recurrent-biases-exchanged": {"parameters-exchanged"},
	"mlp-up-bias-missing":        {"linear-bias-missing", "mlp-bias-missing"},
	"mlp-down-bias-missing":      {"linear-bias-missing", "mlp-bias-missing"},
	"norm-first-for-both":        {"parameters-of-another"},
}

// A mistake in one layer is named with its layer. The plain run asks for every seventh mistake.
func TestAMistakeInOneLayer(t *testing.T) {
	for _, name := range []string{"llama", "gemma", "bert"} {
		c, _ := plantedIn(t, name)
		referee, err := New(t.Context(), c, oracle.Precision{})
		require.NoError(t, err)
		for n, m := range edits.Mistakes {
			if n%7 != 0 && !campaign.Full() {
				continue
			}
			for where, output := range inEachLayer(t, c, m) {
				r := judgeModel(t, referee, c, toFloat32(output))
				alike := namesOf(r)
				if r.Right() || slices.Contains(alike, insideAttention[m.ID]) ||
					len(alike) > 0 && slices.Contains(inOnePlace[alike[0]], m.ID) {
					continue
				}
				i := slices.IndexFunc(r.Diagnosis.Matches, func(match replay.Match) bool {
					return match.ID() == m.ID && (match.Where == where || match.Where == "")
				})
				assert.GreaterOrEqual(t, i, 0, "%s %s in %s: %v", name, m.ID, where, namesOf(r))
			}
		}
	}
}

// inEachLayer returns the output of a mistake in each layer of a model alone, by the layer's path.
// It returns nothing if there is one place, or if the mistake changes nothing there.
func inEachLayer(t *testing.T, c *fixture.Case, m catalogue.Mistake) map[string][]float64 {
	t.Helper()
	g, view, right := viewOf(t, c)
	sites := map[string][]int{}
	for _, site := range view.Sites(m.Edit) {
		path := g.Nodes[site].Module
		path = cmp.Or(graph.LayerPath(path), path)
		sites[path] = append(sites[path], site)
	}
	if len(sites) < 2 {
		return nil
	}
	outputs := map[string][]float64{}
	for path, at := range sites {
		wrong, err := graph.Rerun(g, view.Apply(m.Edit, at), right)
		if err == nil && !slices.Equal(wrong[g.Output].Data, right[g.Output].Data) {
			outputs[path] = wrong[g.Output].Data
		}
	}
	return outputs
}

// toFloat32 returns values as float32 has them.
func toFloat32(values []float64) []float64 {
	all := make([]float64, len(values))
	for i, v := range values {
		all[i] = float64(float32(v))
	}
	return all
}

// A graph that does not give its module's output is refused.
func TestAGraphThatGivesAnotherOutput(t *testing.T) {
	c, _ := plantedIn(t, "llama")
	c.Truth = slices.Clone(c.Truth)
	c.Truth[3] += 1e-6
	_, err := New(t.Context(), c, oracle.Precision{})
	require.ErrorContains(t, err, "models/llama: graph.json: the graph differs from PyTorch's float64 result by")
}
