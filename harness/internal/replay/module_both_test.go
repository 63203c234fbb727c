package replay

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/graph"
	"github.com/difftest/difftest/harness/internal/sites"
)

// onlyAttention is a module of one attention with a fused projection.
func onlyAttention(t *testing.T) *Module {
	return moduleOf(t, os.DirFS("../sites/testdata"), "attention/fused")
}

// replayOf returns a known mistake of a module at all of its places, with its output.
func replayOf(t *testing.T, m *Module, id string) hypothesis {
	t.Helper()
	for _, h := range m.hypotheses(everywhere) {
		if h.mistake.ID == id {
			h = m.compute(h, m.Truth.Value)
			require.NotNil(t, h.output, id)
			return h
		}
	}
	require.Fail(t, id)
	return hypothesis{}
}

// Of two mistakes of attention the one of the earlier stage is made first, and of one stage the
// first. Some exclude each other.
func TestTwoMistakesOfAttention(t *testing.T) {
	m := onlyAttention(t)
	inOrder := func(mistakes ...catalogue.Mistake) []float64 {
		edit := sites.Edit(m.attention().sites, mistakes...)
		return m.outputOfGraph(m.view.Apply(edit, m.sites(edit))).Data
	}
	both := func(a, b hypothesis) []float64 { return m.outputOfGraph(m.bothInAttention(a, b)).Data }
	early, late := replayOf(t, m, "second-half-of-heads-zero"), replayOf(t, m, "output-weight-column-major")
	want := inOrder(early.mistake, late.mistake)
	require.NotEqual(t, want, inOrder(late.mistake, early.mistake))
	require.Equal(t, want, both(early, late))
	require.Equal(t, want, both(late, early))
	zero, swapped := replayOf(t, m, "key-weight-zero"), replayOf(t, m, "query-key-swapped")
	require.Equal(t, zero.mistake.Stage, swapped.mistake.Stage)
	require.NotEqual(t, both(zero, swapped), both(swapped, zero))
	require.Equal(t, inOrder(zero.mistake, swapped.mistake), both(zero, swapped))
	require.Equal(t, inOrder(swapped.mistake, zero.mistake), both(swapped, zero))
	biases, one := replayOf(t, m, "biases-missing"), replayOf(t, m, "output-bias-missing")
	require.Nil(t, m.bothInAttention(biases, one), "no bias is left")

	// A search makes them in the problem of the site, whose first mistake has no graph of its own.
	q := pairsOf(t, m, float32s(want))
	early.mistake.Edit = broken("", m.output).Edit // no graph of its own is asked for
	q.classes = []pairClass{{members: []hypothesis{early}}, {members: []hypothesis{late}}, {members: []hypothesis{biases}}}
	made, count := q.withFirst(0, []pairOf{{0, 1}, {0, 2}})
	require.Equal(t, 2, count)
	require.Equal(t, pairOf{0, 1}, made[0].pair)
	require.Equal(t, want, made[0].output.Data)
	require.Less(t, made[0].residual, 1e-6)
	require.Empty(t, q.both(pairOf{}, biases, one, nil))
	require.Empty(t, q.both(pairOf{}, zero, zero, nil), "the second changes nothing")

	// Mistakes that give the same alone are made in the same order.
	again := zero
	again.mistake.Title = "the same again"
	q = pairsOf(t, m, float32s(both(zero, swapped)))
	q.classes = []pairClass{{members: []hypothesis{zero, again}}, {members: []hypothesis{swapped}}}
	q.add(q.both(pairOf{0, 1}, zero, swapped, nil)[0], again, swapped)
	require.Len(t, q.search.found, 1)
}

// A mistake of attention behind another one is made at the sites that are left.
func TestAttentionAfterAnotherMistake(t *testing.T) {
	m := moduleIn(t, "models/bert")
	swapped, biases := replayOf(t, m, "key-value-swapped"), replayOf(t, m, "biases-missing")
	gelu := replayOf(t, m, "gelu-tanh")
	known := m.groundOf(gelu)
	require.False(t, known.inAttention)
	g := known.with(swapped)
	require.NotNil(t, g)
	want := m.outputOfGraph(graph.NewView(m.edited(gelu), m.values).Apply(swapped.mistake.Edit, m.sites(swapped.mistake.Edit)))
	require.Equal(t, want.Data, known.output(g).Data)

	linears := edit(t, "linear-bias-missing")
	first := m.at(linears, layerOf)[0]
	require.True(t, m.groundOf(first).inAttention, "of the first of two sites")
	all := replayOf(t, m, "linear-bias-missing")
	known = m.groundOf(all)
	require.True(t, known.inAttention)
	require.Nil(t, known.with(biases), "no bias is left")
	g = known.with(swapped)
	require.NotNil(t, g)
	output := known.output(g)
	require.NotNil(t, output)
	for _, one := range []hypothesis{all, swapped} {
		require.Greater(t, compare.Residual(output.Data, one.output.Data), 1e-3)
	}
	edit := sites.Edit(sites.Find(known.view, known.values), swapped.mistake)
	require.Equal(t, known.output(known.view.Apply(edit, known.view.Sites(edit))).Data, output.Data)
	require.Nil(t, known.output(known.view.Apply(broken("", m.output).Edit, []int{len(known.graph.Nodes) - 1})))
}

// A first mistake has a graph of all nodes. Another mistake must find there the places that the
// other mistake has alone.
func TestMistakesOnTopOfAnother(t *testing.T) {
	fourth, sigmoid := times("fourth", 0.25), becomes("sigmoid", "bend", "sigmoid")
	everyTanh := catalogue.Mistake{ID: "tanh", Title: "tanh", Edit: func(_ *graph.View, n graph.Node) []graph.Node {
		if n.Op != "tanh" {
			return nil
		}
		return []graph.Node{n.Become("exp", n.Operands...)}
	}}
	m := tiny(t, fourth, sigmoid, everyTanh, fourthInBend)
	require.Nil(t, m.groundOf(hypothesis{mistake: broken("", "bend"), sites: []int{2}}))
	h := func(mistake catalogue.Mistake) hypothesis {
		return m.compute(m.at(mistake, everywhere)[0], m.Truth.Value)
	}
	known := m.groundOf(h(fourth))
	require.Equal(t, mistaken(t, m, fourth), float32s(known.values["sum"].Data))
	require.Equal(t, mistaken(t, m, fourth, sigmoid), float32s(known.output(known.with(h(sigmoid))).Data))
	require.Nil(t, m.groundOf(h(sigmoid)).with(h(everyTanh)), "its place is gone")
	require.Nil(t, known.output(known.view.Apply(broken("", "sum").Edit, []int{3})))
	require.NotNil(t, m.groundOf(h(fourthInBend)).with(h(everyTanh)), "by the name of the node, not by its place")

	q := pairsOf(t, m, mistaken(t, m, fourthInBend, everyTanh))
	require.Empty(t, q.both(pairOf{}, h(everyTanh), h(sigmoid), m.groundOf(h(everyTanh))), "alike")
	made := q.both(pairOf{}, h(everyTanh), h(fourthInBend), m.groundOf(h(everyTanh)))
	require.Len(t, made, 1, "in the other order")
	require.Len(t, q.both(pairOf{}, h(fourthInBend), h(everyTanh), m.groundOf(h(fourthInBend))), 1)
	require.Less(t, made[0].residual, 1e-6)
	inAttention := h(fourthInBend)
	inAttention.mistake = ofAttention(inAttention.mistake)
	require.Empty(t, q.both(pairOf{}, h(everyTanh), inAttention, m.groundOf(h(everyTanh))), "never after attention")
	// A first mistake that no program computes as a whole.
	q.classes[0].members[0].mistake = broken("", "half")
	made, count := q.withFirst(0, []pairOf{{0, 1}, {0, 2}})
	require.Empty(t, made)
	require.Equal(t, 2, count)
	require.Equal(t, []string{"a", "b"}, namesAt(&graph.Graph{Nodes: []graph.Node{{Name: "b"}, {Name: "x"}, {Name: "a"}}}, []int{0, 2}))
}
