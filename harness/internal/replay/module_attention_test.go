package replay

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/graph"
)

// The kind of a module is its path without the number of its layer.
func TestKindOfAPath(t *testing.T) {
	for path, kind := range map[string]string{
		"model.layers.3.mlp": "model.layers.*.mlp", "layers.0": "layers.*", "0.mlp": "*.mlp", "head": "head", "": "",
	} {
		require.Equal(t, kind, kindOf(path), path)
	}
}

// A mistake of attention is made in the module of attention, another one in the module of its node.
func TestModuleOfAMistake(t *testing.T) {
	m := moduleIn(t, "models/bert")
	swapped := replayOf(t, m, "key-value-swapped")
	node := m.graph.Nodes[swapped.sites[0]]
	require.NotEqual(t, node.Module, m.attention().modules[node.Name])
	require.Equal(t, m.attention().modules[node.Name], m.pathOf(swapped.mistake, swapped.sites[0]))
	require.Equal(t, m.attention().sites[0].Module, m.pathOf(swapped.mistake, swapped.sites[0]))
	gelu := edit(t, "gelu-tanh")
	require.Equal(t, node.Module, m.pathOf(gelu, swapped.sites[0]))
	before := swapped.sites[0] - 1
	require.Equal(t, m.graph.Nodes[before].Module, m.pathOf(swapped.mistake, before))
}

// besides returns a module of two elements with the noise 1 and 2.
func twoElements() *Module {
	return &Module{Truth: compare.Expected{Shape: []int{2}, Value: []float64{0, 0}, Sigma: []float64{1, 2}}}
}

// tensor returns values as a tensor.
func tensor(values ...float64) *graph.Tensor[float64] {
	return &graph.Tensor[float64]{Shape: []int{len(values)}, Data: values}
}

// Outputs within half of the noise are the same, at about the same distance from the subject's.
func TestSameOutput(t *testing.T) {
	m := twoElements()
	zero := hypothesis{output: tensor(0, 0), rms: 7}
	for _, tc := range []struct {
		other hypothesis
		same  bool
	}{
		{hypothesis{output: tensor(0.5, 1), rms: 7}, true},
		{hypothesis{output: tensor(0.5, -1), rms: 7.5}, true},
		{hypothesis{output: tensor(0.5, -1), rms: 6.5}, true},
		{hypothesis{output: tensor(0.52, -1), rms: 7}, false},
		{hypothesis{output: tensor(0.7, -1.4), rms: 7}, false},
		{hypothesis{output: tensor(0, 0), rms: 7.6}, false},
		{hypothesis{output: tensor(9, 9), rms: 17}, false},
		{hypothesis{rms: 7}, false},
	} {
		require.Equal(t, tc.same, m.sameOutput(zero, tc.other), tc)
		require.Equal(t, tc.same, m.sameOutput(tc.other, zero), tc)
	}
	require.False(t, m.sameOutput(hypothesis{}, hypothesis{}))
	require.True(t, m.alike(tensor(0, 0), tensor(0.5, -1)))
	require.False(t, m.alike(tensor(0, 0), tensor(0.52, -1)))
}

// A mistake that is one of attention under another name is left out, and so is the same mistake
// again, at the same place, next to the first.
func TestHypothesesWithoutDoubles(t *testing.T) {
	m := twoElements()
	h := func(id string, family catalogue.Family, where string, output *graph.Tensor[float64]) hypothesis {
		return hypothesis{mistake: catalogue.Mistake{ID: id, Family: family}, where: where, output: output}
	}
	a, b := tensor(1, 1), tensor(5, 5)
	site := h("site", catalogue.Masks, "", a)
	site.mistake = ofAttention(site.mistake)
	var kept []string
	for _, h := range m.withoutDoubles([]hypothesis{
		h("head", catalogue.Head, "", a), h("linear", catalogue.Linear, "", a), h("norm", catalogue.Norm, "", a),
		h("attention", catalogue.ModelAttention, "", a), h("other", catalogue.Linear, "", b), site,
		h("twice", catalogue.Norm, "x", b), h("twice", catalogue.Norm, "x", b), h("twice", catalogue.Norm, "y", b),
		h("twice", catalogue.Norm, "y", tensor(9, 9)), h("thrice", catalogue.Norm, "y", tensor(9, 9)),
		h("twice", catalogue.Norm, "y", tensor(9, 9)), h("late", catalogue.Linear, "", a), site,
	}) {
		kept = append(kept, h.mistake.ID+" "+h.where)
	}
	require.Equal(t, []string{
		"norm ", "other ", "site ", "twice x", "twice y", "twice y", "thrice y", "twice y", "site ",
	}, kept)
	require.Len(t, m.withoutDoubles([]hypothesis{h("linear", catalogue.Linear, "", a)}), 1)
	require.Empty(t, m.withoutDoubles(nil))
}
