package replay

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/edits"
	"github.com/difftest/difftest/harness/internal/graph"
)

// shared is a number that stands in two modules of each of two layers.
func shared(t *testing.T) (*curves, *edits.Number) {
	c := newCurves(t, 6, 1e-5, axis(2, 0), axis(2, 1), axis(2, 3), axis(2, 4))
	places := map[string]int{}
	for i, path := range []string{"layers.0.a", "layers.0.b", "layers.1.a", "layers.1.b"} {
		n := &c.module.graph.Nodes[i]
		n.Module, n.Class = path, path[len(path)-1:]
		places[n.Name] = i
	}
	one := c.numbers[0].Number
	one.Number.Title = "number"
	one.At = func(_ *graph.View, n graph.Node) (float64, bool) { return 2, true }
	one.To = func(value float64) graph.Edit {
		return func(_ *graph.View, n graph.Node) []graph.Node {
			return []graph.Node{c.added(n, c.numbers[places[n.Name]], value)}
		}
	}
	all := edits.Numbers
	t.Cleanup(func() { edits.Numbers = all })
	edits.Numbers = []edits.Number{one}
	return c, &edits.Numbers[0]
}

// A number is wrong everywhere, in one module of every layer, in one layer, or in one module alone.
func TestPlacesOfAWrongNumber(t *testing.T) {
	c, _ := shared(t)
	for _, tc := range []struct {
		values []float64
		where  string
	}{
		{[]float64{5, 5, 5, 5}, ""}, {[]float64{5, 2, 5, 2}, "layers.*.a"}, {[]float64{2, 2, 5, 5}, "layers.1"},
		{[]float64{2, 5, 2, 2}, "layers.0.b"},
	} {
		found, cut := c.module.FindNumbers(t.Context(), c.output(tc.values...))
		require.Empty(t, cut)
		require.Len(t, found, 1, tc.where)
		assert.Equal(t, tc.where, found[0].Where)
		assert.InDelta(t, 5, found[0].Value, 1e-3)
		assert.Greater(t, found[0].Next, 1e-3)
		assert.Less(t, found[0].Next, 1., "the right output is a miss")
	}
	for _, values := range [][]float64{{2, 5, 5, 2}, {2, 2, 2, 2}, {3, 5, 2, 2}} {
		found, cut := c.module.FindNumbers(t.Context(), c.output(values...))
		assert.Empty(t, found)
		assert.Empty(t, cut)
	}
	found, cut := c.module.FindNumbers(ended(t), c.output(5, 5, 5, 5))
	assert.Empty(t, found)
	assert.NotEmpty(t, cut)
}

// A number has an entry for each value, class and place.
func TestSitesOfANumber(t *testing.T) {
	c, n := shared(t)
	sites := func(place func(string) string) (all []string) {
		for _, at := range c.module.numberSites(*n, place) {
			all = append(all, fmt.Sprint(at.number.Title, " ", at.right, " ", at.where, " ", at.sites))
		}
		return all
	}
	assert.Equal(t, []string{"number 2  [0 1 2 3]"}, sites(everywhere))
	assert.Equal(t, []string{"number 2 layers.0 [0 1]", "number 2 layers.1 [2 3]"}, sites(layerOf))
	n.ByClass = true
	assert.Equal(t, []string{"number in a 2  [0 2]", "number in b 2  [1 3]"}, sites(everywhere))
	c.module.graph.Nodes[3].Class = ""
	assert.Equal(t, []string{"number in a 2  [0 2]", "number in b 2  [1]", "number 2  [3]"}, sites(everywhere))
	n.ByClass = false
	n.At = func(_ *graph.View, n graph.Node) (float64, bool) { return float64(len(n.Class)), n.Name != "sum0" }
	assert.Equal(t, []string{"number 1  [1 2]", "number 0  [3]"}, sites(everywhere))
	part := *c.module
	part.last = 2
	c.module = &part
	assert.Equal(t, []string{"number 1  [1 2]"}, sites(everywhere))
}

// A number in one place is searched once. Places of a number are searched one by one only in a
// small model: each search takes 12 replays.
func TestSearchesOfANumber(t *testing.T) {
	c, n := shared(t)
	at := n.At
	n.At = func(v *graph.View, node graph.Node) (float64, bool) {
		right, _ := at(v, node)
		return right, node.Name == "sum3"
	}
	got := c.output(2, 2, 2, 5)
	got[5] += 3
	_, _ = c.module.FindNumbers(t.Context(), got)
	once := c.counted()
	s, q := newSearch(), c.search(t.Context(), 3, got)
	q.at.where = "layers.1.b"
	q.at.number = *n
	runAll(t.Context(), "", s, []*moduleSearch{q})
	assert.LessOrEqual(t, once, c.counted()+16)
	n.At = at
	got = c.output(5, 2, 5, 2)
	// Of 1e10 operations, a 24th for each of the two kinds of modules.
	for operations, want := range map[float64]int{1e10 / 24.5: 1, 1e10 / 23.5: 0} {
		c.module.values["x"].Shape = []int{1, int(operations / 6)}
		c.module.graph.Nodes[0].Op = "linear"
		found, cut := c.module.FindNumbers(t.Context(), got)
		assert.Empty(t, cut)
		assert.Len(t, found, want)
	}
	found, _ := c.module.FindNumbers(t.Context(), c.output(5, 5, 5, 5))
	assert.Len(t, found, 1, "everywhere is always searched")
}

// The nearest value that is no answer is a miss, beside the answers.
func TestMissesOfNumbers(t *testing.T) {
	c := newCurves(t, 4, 1e-6, plain(1, powers), plain(2, powers))
	got := c.output(3, 2)
	for i := range got {
		got[i] += 1e-3 * float64(i%2)
	}
	s := newSearch()
	assert.Empty(t, runAll(t.Context(), "", s, []*moduleSearch{c.search(t.Context(), 0, got), c.search(t.Context(), 1, got)}))
	_, a := c.search(t.Context(), 0, got).find()
	_, b := c.search(t.Context(), 1, got).find()
	assert.InDelta(t, min(a, b), s.next, 1e-12)
	assert.Less(t, s.next, 1e-3)
	s = newSearch()
	got = c.output(3, 2)
	found := runAll(t.Context(), "", s, []*moduleSearch{c.search(t.Context(), 0, got)})
	require.Len(t, found, 1)
	assert.Equal(t, "number-0", found[0].Number.ID)
}

// A number that is wrong everywhere is searched at any price. Narrower places wait for a budget.
func TestNumbersOfAnExpensiveGraph(t *testing.T) {
	for _, width := range []int{1, 1e12} {
		c, _ := shared(t)
		c.module.graph.Nodes[0].Op = "linear"
		c.module.values["x"].Shape = []int{1, width}
		found, cut := c.module.FindNumbers(t.Context(), c.output(5, 5, 5, 5))
		require.Empty(t, cut)
		require.Len(t, found, 1)
		assert.InDelta(t, 5, found[0].Value, 1e-3)
		found, cut = c.module.FindNumbers(t.Context(), c.output(2, 2, 5, 5))
		require.Empty(t, cut)
		assert.Len(t, found, map[int]int{1: 1, 1e12: 0}[width])
	}
}
