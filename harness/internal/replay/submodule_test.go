package replay

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
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

// A mistake without an output gives nothing, and is no other mistake.
func TestMistakesWithoutAnOutput(t *testing.T) {
	none := broken("none", "bend")
	none.Family = catalogue.Linear
	nothing := times("nothing", 0.5)
	inNoise := times("in-noise", 0.5*(1+1e-9))
	inNoise.Family = catalogue.Linear
	m := tiny(t, ofAttention(broken("first", "bend")), ofAttention(nothing), none, inNoise)
	at := func(mistake catalogue.Mistake) Match { return matchOf(m.at(mistake, everywhere)[0]) }
	require.Equal(t, []string{"none"}, idsOf(m.NamedAsInWhole([]Match{at(none)})))
	require.Equal(t, []string{"in-noise"}, idsOf(m.NamedAsInWhole([]Match{at(inNoise)})))
	require.False(t, m.sameChange(at(none), at(none)))
	later := []Later{{Output: outputAt(t, m, "layers.1"), Got: m.values["bend"].Data}}
	require.False(t, m.gives(none, []int{2}, later))
	require.True(t, m.gives(inNoise, []int{0}, later))
	bend := m.values["bend"].Data
	far := slices.Clone(bend)
	for i := range far {
		far[i] *= 1.01
	}
	later[0].Got = atLimit(t, far, 0.01, func(got []float64) float64 { return compare.Residual(got, bend) })
	require.True(t, m.gives(nothing, []int{0}, later), "at the limit")
	otherTitle := none
	otherTitle.Title, otherTitle.Edit = "fourth", times("", 0.25).Edit
	require.False(t, m.sameChange(at(none), Match{Mistakes: []catalogue.Mistake{otherTitle}, sites: []int{2}}))
	require.False(t, m.sameChange(Match{Mistakes: []catalogue.Mistake{otherTitle}, sites: []int{2}}, at(none)))

	// The same output at other places is another change.
	passes := catalogue.Mistake{ID: "passes", Edit: func(_ *graph.View, n graph.Node) []graph.Node { return []graph.Node{n} }}
	a, b := matchOf(hypothesis{mistake: passes, sites: []int{1}}), matchOf(hypothesis{mistake: passes, sites: []int{2}})
	require.True(t, m.sameChange(a, a))
	require.False(t, m.sameChange(a, b))

	// A mistake of attention gives the same output as one that gives way.
	linear, site := times("linear", 0.25), ofAttention(times("site", 0.25))
	linear.Family = catalogue.Linear
	m = tiny(t, ofAttention(broken("first", "bend")), linear, site)
	require.Equal(t, []string{"site"}, idsOf(m.NamedAsInWhole([]Match{at(linear)})))
	m.given = nil
	_, err := m.Expected(m.Submodules())
	require.ErrorContains(t, err, "missing")
}

// A mistake at the end of a part does not agree with values that the same mistake gives elsewhere.
// Values agree up to 1 % of their size.
func TestAgreesAtTheEndOfAPart(t *testing.T) {
	m, mistake := deep(t), edit(t, "linear-bias-missing")
	layers, end := m.at(mistake, layerOf), outputAt(t, m, "layers.0.gate")
	require.Equal(t, []int{end.Node}, layers[0].sites)
	later := outputAt(t, m, "layers.7")
	agrees := func(sites []int, factor float64) (Match, Agreement) {
		got := slices.Clone(m.outputOfGraph(m.view.Apply(mistake.Edit, sites).Until(m.graph.Nodes[later.Node].Name)).Data)
		for i := range got {
			got[i] *= factor
		}
		found := Match{Mistakes: []catalogue.Mistake{mistake}, Where: "found", sites: layers[0].sites}
		return m.Agrees(found, end, []Later{{Output: later, Got: got}})
	}
	whole := m.at(mistake, everywhere)[0].sites
	found, how := agrees(whole, 1)
	require.Equal(t, Throughout, how)
	require.Empty(t, found.Where)
	require.Equal(t, whole, found.sites)
	found, how = agrees(layers[0].sites, 1.009)
	require.Equal(t, Throughout, how)
	require.Equal(t, "layers.0", found.Where)
	require.Equal(t, layers[0].sites, found.sites)
	for _, how := range []Agreement{
		second2(agrees(layers[5].sites, 1)), second2(agrees(layers[0].sites, 1.012)), second2(agrees(nil, 1)),
	} {
		require.Equal(t, Disagrees, how)
	}
}

func second2(_ Match, how Agreement) Agreement { return how }
