package replay

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/graph"
)

// matchOf returns the match of a hypothesis.
func matchOf(h hypothesis) Match {
	return Match{Mistakes: []catalogue.Mistake{h.mistake}, Where: h.where, sites: h.sites, Residual: 0.25}
}

// A mistake that is one of attention under another name gets the names of attention, at the same
// places. Other mistakes keep theirs.
func TestMistakesGiveWayToAttention(t *testing.T) {
	m := moduleIn(t, "models/bert")
	named := func(id string, place func(string) string, i int) []Match {
		match := matchOf(m.at(edit(t, id), place)[i])
		all := m.NamedAsInWhole([]Match{match})
		for _, other := range all {
			require.Equal(t, match.Where, other.Where)
			require.InDelta(t, match.Residual, other.Residual, 0)
		}
		return all
	}
	for id, want := range map[string][]string{
		"model-scale-missing":       {"scale-missing"},
		"model-scale-by-size":       {"scale-twice"},
		"linear-transposed":         {"weights-transposed", "weights-column-major"},
		"model-query-key-exchanged": {"query-key-swapped"},
		"linear-bias-missing":       {"linear-bias-missing"},
		"gelu-tanh":                 {"gelu-tanh"},
		"model-key-value-exchanged": {"key-value-swapped"},
		"attention-bias-missing":    {"biases-missing"},
	} {
		require.Equal(t, want, idsOf(named(id, everywhere, 0)), id)
	}
	second := named("model-scale-missing", layerOf, 1)
	require.Equal(t, []string{"scale-missing"}, idsOf(second))
	require.Equal(t, "bert.encoder.layer.1", second[0].Where)
	require.Equal(t, m.at(second[0].Mistakes[0], layerOf)[1].sites, second[0].sites)

	scale := matchOf(m.at(edit(t, "model-scale-missing"), everywhere)[0])
	two := scale
	two.Mistakes = append(slices.Clone(two.Mistakes), edit(t, "gelu-tanh"))
	require.Equal(t, []string{"model-scale-missing+gelu-tanh"}, idsOf(m.NamedAsInWhole([]Match{two})))
	scale.sites = nil
	require.Equal(t, []string{"model-scale-missing"}, idsOf(m.NamedAsInWhole([]Match{scale})), "no change at all")
	require.Equal(t, []string{"scale-twice"}, idsOf(m.Without("scale-missing").NamedAsInWhole(
		[]Match{matchOf(m.at(edit(t, "model-scale-by-size"), everywhere)[0])})))
}

// Of two names for one change, the one without a place stays. Changes at other places are others.
func TestTwoNamesForOneChange(t *testing.T) {
	m := moduleIn(t, "models/bert")
	layers := m.at(edit(t, "gelu-tanh"), layerOf)
	first, second := matchOf(layers[0]), matchOf(layers[1])
	everywhere := first
	everywhere.Where = ""
	for _, found := range [][]Match{{first, everywhere}, {everywhere, first}} {
		named := m.NamedAsInWhole(found)
		require.Len(t, named, 1)
		require.Empty(t, named[0].Where)
	}
	named := m.NamedAsInWhole([]Match{first, second, first})
	require.Len(t, named, 2)
	require.Equal(t, []string{layers[0].where, layers[1].where}, []string{named[0].Where, named[1].Where})
	exact := first
	exact.Mistakes = []catalogue.Mistake{edit(t, "linear-bias-missing")}
	require.False(t, m.sameChange(first, exact), "another mistake")
	other := first.Mistakes[0]
	other.Title = "the gelu of another value"
	other.Edit = func(_ *graph.View, n graph.Node) []graph.Node {
		if n.Op != "gelu" {
			return nil
		}
		n.Op, n.Attributes = "relu", graph.Attributes{}
		return []graph.Node{n}
	}
	exact.Mistakes = []catalogue.Mistake{other}
	require.False(t, m.sameChange(first, exact), "another output")
	require.True(t, m.sameChange(first, everywhere))
}

// Where no mistake gives an output, the distance of each is known all the same.
func TestMeasureWithoutAMatch(t *testing.T) {
	m := deep(t)
	got := slices.Clone(m.Truth.Value)
	for i := range got {
		got[i] += float64(i%3 - 1)
	}
	found, distances, cut := m.Measure(t.Context(), got)
	require.Empty(t, cut)
	require.Empty(t, found)
	require.NotEmpty(t, distances)
	require.True(t, slices.IsSortedFunc(distances, Distance.compare))
}
