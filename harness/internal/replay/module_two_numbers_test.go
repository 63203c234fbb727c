package replay

import (
	"cmp"
	"maps"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/edits"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/graph"
)

// wrongNumbers returns the float32 output of a model with other values of two or three numbers.
func wrongNumbers(t *testing.T, m *Module, model string, values map[string]float64) []float64 {
	t.Helper()
	c, err := fixture.Read(os.DirFS("../edits/testdata"), "models/"+model)
	require.NoError(t, err)
	given, err := graph.Given[float32](m.graph, c.Given)
	require.NoError(t, err)
	changed := m.graph
	for _, id := range slices.Sorted(maps.Keys(values)) {
		n, known := edits.NumberByID(id)
		require.True(t, known, id)
		edit := n.To(values[id])
		if base := values["model-rope-base"]; id == "model-rope-factor" && base > 0 {
			other, _ := edits.NumberByID("model-rope-base")
			edit = edits.Both(other, n, base, values[id])
			changed = m.graph
		}
		view := graph.NewView(changed, m.values)
		var sites []int
		for i, node := range changed.Nodes {
			if _, ok := n.At(view, node); ok {
				sites = append(sites, i)
			}
		}
		require.NotEmpty(t, sites, id)
		changed = view.Apply(edit, sites)
	}
	output, err := graph.Run(changed, given)
	require.NoError(t, err)
	var got []float64
	for _, x := range output[changed.Output].Data {
		got = append(got, float64(x))
	}
	return got
}

// valuesOf returns the values of the numbers that are found together, by their ids.
func valuesOf(t *testing.T, m *Module, got []float64) []map[string]float64 {
	t.Helper()
	found, cut := m.FindTwoNumbers(t.Context(), got)
	require.Empty(t, cut)
	var all []map[string]float64
	for _, n := range found {
		require.NotNil(t, n.Beside)
		for _, one := range []NumberMatch{n, *n.Beside} {
			assert.True(t, one.Allows(one.Value), one.Number.ID)
			assert.False(t, one.Allows(one.Right), one.Number.ID)
		}
		all = append(all, n.Values())
	}
	return all
}

// Two wrong numbers are named with their values, usual and unusual ones. Three get no name.
func TestTwoWrongNumbers(t *testing.T) {
	for _, tc := range []struct {
		model  string
		values map[string]float64
		named  bool
	}{
		{"llama", map[string]float64{"model-rope-base": 5e5, "norm-eps": 1e-6}, true},
		{"llama", map[string]float64{"model-rope-base": 31234, "model-scale": 0.31}, true},
		{"llama", map[string]float64{"model-rope-base": 31234, "model-rope-factor": 2}, true},
		// One number covers the other.
		{"llama", map[string]float64{"model-rope-base": 777, "norm-eps": 7e-5}, true},
		{"llama", map[string]float64{"model-rope-factor": 3.7, "embedding-factor": 7}, true},
		{"gemma", map[string]float64{"logits-softcap": 11, "norm-eps": 1e-3}, true},
		// One number counts, downwards as well, and the other one does not.
		{"gpt", map[string]float64{"position-offset": 3, "norm-eps": 1e-3}, true},
		{"deep", map[string]float64{"position-offset": -2, "factor": 0.37}, true},
		// The third number is hardly outside the noise.
		{"llama", map[string]float64{"model-rope-base": 31234, "model-scale": 0.31, "norm-eps": 1.03e-5}, false},
		{"llama", map[string]float64{"model-rope-base": 31234, "model-scale": 0.31, "norm-eps": 1e-3}, false},
		{"gemma", map[string]float64{"logits-softcap": 11, "norm-eps": 1e-3, "model-rope-base": 777}, false},
	} {
		m := moduleOf(t, os.DirFS("../edits/testdata"), "models/"+tc.model)
		found := valuesOf(t, m, wrongNumbers(t, m, tc.model, tc.values))
		if !tc.named {
			assert.Empty(t, found, "%v", tc.values)
			continue
		}
		if assert.Len(t, found, 1, "%v", tc.values) {
			for id, value := range tc.values {
				assert.InEpsilon(t, value, found[0][id], 1e-3, id)
			}
		}
	}
}

// Embeddings that are larger make all that is added to them smaller, and the epsilon of the norms.
// Two of the three numbers give what two others give.
func TestTwoWrongNumbersWithEquals(t *testing.T) {
	m := moduleOf(t, os.DirFS("../edits/testdata"), "models/llama")
	got := wrongNumbers(t, m, "llama", map[string]float64{"embedding-factor": 3, "norm-eps": 1e-3})
	var ids [][]string
	for _, values := range valuesOf(t, m, got) {
		ids = append(ids, slices.Sorted(maps.Keys(values)))
		assert.InDelta(t, 3, cmp.Or(values["embedding-factor"], 1)/cmp.Or(values["residual-factor"], 1), 3e-3)
	}
	require.ElementsMatch(t, [][]string{
		{"embedding-factor", "norm-eps"}, {"norm-eps", "residual-factor"}, {"embedding-factor", "residual-factor"},
	}, ids)
}

// Two wrong numbers, one of which the search does not know, are not two others.
func TestAnUnknownNumberBesideAnother(t *testing.T) {
	all := edits.Numbers
	t.Cleanup(func() { edits.Numbers = all })
	m := moduleOf(t, os.DirFS("../edits/testdata"), "models/llama")
	got := wrongNumbers(t, m, "llama", map[string]float64{"model-rope-base": 31234, "model-scale": 0.31})
	require.Len(t, valuesOf(t, m, got), 1)
	for _, unknown := range []string{"model-rope-base", "model-scale"} {
		edits.Numbers = slices.DeleteFunc(slices.Clone(all), func(n edits.Number) bool { return n.ID == unknown })
		assert.Empty(t, valuesOf(t, m, got), unknown)
	}
}
