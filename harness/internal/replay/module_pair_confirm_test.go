package replay

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/graph"
)

// triedPairs returns a search in [tiny] that tried all pairs of two mistakes.
func triedPairs(t *testing.T, a, b catalogue.Mistake) *pairSearch {
	t.Helper()
	m := tiny(t, a, b)
	q := pairsOf(t, m, mistaken(t, m, a, b))
	q.try([]pairOf{{0, 1}})
	require.Len(t, q.near, 1)
	return q
}

// A pair is confirmed in its own noise. The search notes how near the others come.
func TestConfirmedPairsOfMistakes(t *testing.T) {
	fourth, sigmoid := times("fourth", 0.25), becomes("sigmoid", "bend", "sigmoid")
	q := triedPairs(t, fourth, sigmoid)
	right := q.near[0]
	// beside returns a pair with another number, whose graph gives its output.
	beside := func(factor float64) bothMade {
		b := right
		g := q.module.view.Apply(times("", factor).Edit, []int{0})
		view := graph.NewView(g, q.module.values)
		b.graph = view.Apply(sigmoid.Edit, []int{2})
		b.output = q.module.outputOfGraph(b.graph)
		b.pair, b.residual = pairOf{1, 2}, compare.Residual(q.got, b.output.Data)
		return b
	}
	off := beside(0.26)
	q.near = append(q.near, off)
	near := q.confirmed()
	require.Len(t, near, 1)
	require.Equal(t, right.pair, near[0].pair)
	require.Len(t, q.near, 1)
	require.InDelta(t, off.residual, q.search.next, 0)

	require.True(t, q.explains(right))
	require.False(t, q.explains(off))
	slightly := beside(0.25 * (1 + 4e-6)) // outside of the noise, but not far
	require.False(t, q.module.noiseOf(slightly.graph, slightly.output).tooSmall(q.got))
	require.False(t, q.explains(slightly))
	require.InDelta(t, slightly.residual, q.search.next, 1e-12)
	none := right
	none.graph = q.module.view.Apply(broken("", "bend").Edit, []int{2})
	require.False(t, q.explains(none), "no noise can be measured")

	q = triedPairs(t, fourth, sigmoid)
	q.near = append([]bothMade{slightly}, q.near...)
	q.near[0].residual = q.near[1].residual
	require.Len(t, q.confirmed(), 1, "one of two hopeful pairs explains the output")
	// Another computation comes about as near: no noise is measured.
	q = triedPairs(t, fourth, sigmoid)
	q.search.miss(4 * q.near[0].residual)
	require.Empty(t, q.confirmed())
	require.Nil(t, q.near)
	require.Nil(t, q.matches())
	q = triedPairs(t, fourth, sigmoid)
	q.near[0].graph, q.near[0].output = slightly.graph, slightly.output
	require.Empty(t, q.confirmed())
	require.Nil(t, q.near)
}

// Of a mistake of attention and another one, the other is made first, whichever stands first in the
// catalogue.
func TestPairsWithAttention(t *testing.T) {
	twice := atNode("twice", "bend", func(n graph.Node) []graph.Node {
		more := n.Before(5, "mul", n.Shape, n.Operands[0], graph.Number(2))
		return []graph.Node{more, n.Put(0, graph.Value(more.Name))}
	})
	third := func(id string) catalogue.Mistake {
		return ofAttention(atNode(id, "bend", func(n graph.Node) []graph.Node {
			bend := n.Before(7, "tanh", n.Shape, n.Operands[0])
			return []graph.Node{bend, n.Become("mul", graph.Value(bend.Name), graph.Number(0.3))}
		}))
	}
	for _, known := range [][]catalogue.Mistake{
		{third("third"), twice, third("alike")}, {twice, third("third"), third("alike")},
	} {
		m := tiny(t, known...)
		got := mistaken(t, m, twice, third("third"))
		pairs, cut := m.FindPairs(t.Context(), got)
		require.Empty(t, cut)
		want := []string{"third+twice", "twice+alike"}
		if known[0].ID == "twice" {
			want = []string{"twice+third", "twice+alike"}
		}
		require.Equal(t, want, idsOf(pairs.Matches))
		require.Equal(t, 1, pairs.Of)
	}
}

// Two mistakes stand in the order of the catalogue. Mistakes with one id have different titles.
func TestOrderOfTwoMistakes(t *testing.T) {
	a, b, c := times("a", 1), times("b", 2), times("b", 3)
	c.Title = "another title"
	m := tiny(t, a, b, c)
	for _, pair := range [][]catalogue.Mistake{{a, b}, {a, c}, {b, c}, {a, a}} {
		for _, made := range [][]catalogue.Mistake{m.inOrder(pair[0], pair[1]), m.inOrder(pair[1], pair[0])} {
			require.Len(t, made, 2)
			require.Equal(t, pair[0].Title, made[0].Title)
			require.Equal(t, pair[1].Title, made[1].Title)
		}
	}
}
