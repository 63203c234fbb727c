package replay

import (
	"context"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/graph"
	"github.com/difftest/difftest/harness/internal/progress"
)

// classIDs returns the ids of the mistakes in each class of a search.
func classIDs(q *pairSearch) (all [][]string) {
	for _, c := range q.classes {
		var ids []string
		for _, h := range c.members {
			ids = append(ids, h.mistake.ID)
		}
		all = append(all, ids)
	}
	return all
}

// pairsOf returns the search for pairs that give an output, before any pair is tried.
func pairsOf(t *testing.T, m *Module, got []float64) *pairSearch {
	t.Helper()
	q, missing := m.newPairSearch(t.Context(), got)
	require.Zero(t, missing)
	return q
}

// ofAttention returns a mistake that counts as one of attention. Nobody calls its Plant.
func ofAttention(m catalogue.Mistake) catalogue.Mistake {
	m.Plant = catalogue.Mistakes[0].Plant
	return m
}

// fourthOfX computes what the node "half" and the ones behind it give of x/4, before another node.
func fourthOfX(n graph.Node) []graph.Node {
	fourth := n.Before(0, "mul", n.Shape, graph.Value("x"), graph.Number(0.25))
	line := n.Before(1, "linear", n.Shape, graph.Value(fourth.Name), graph.Value("weight"), graph.Value("bias"))
	line.Attributes.Weight = "out, in"
	return []graph.Node{fourth, line}
}

// fourthInBend gives what times 0.25 gives, in a node that another mistake replaces.
var fourthInBend = atNode("fourth-in-bend", "bend", func(n graph.Node) []graph.Node {
	if n.Op != "tanh" {
		return nil
	}
	made := fourthOfX(n)
	return append(made, n.With(graph.Value(made[1].Name)))
})

// fourthInSum gives what times 0.25 gives, and with another mistake in "bend" something else.
var fourthInSum = atNode("fourth-in-sum", "sum", func(n graph.Node) []graph.Node {
	made := fourthOfX(n)
	bend := n.Before(2, "tanh", n.Shape, graph.Value(made[1].Name))
	right := n.Before(3, "tanh", n.Shape, graph.Value("line"))
	off := n.Before(4, "sub", n.Shape, graph.Value("bend"), graph.Value(right.Name))
	both := n.Before(5, "add", n.Shape, graph.Value(bend.Name), graph.Value(off.Name))
	return append(made, bend, right, off, both, n.With(graph.Value(both.Name), graph.Value("x")))
})

// Two mistakes that give an output together are named, in the order of the catalogue, and so are
// mistakes that give the same: alone, and with the other one.
func TestFindPairsInAGraph(t *testing.T) {
	fourth, sigmoid := times("fourth", 0.25), becomes("sigmoid", "bend", "sigmoid")
	same := atNode("same", "half", func(n graph.Node) []graph.Node {
		return []graph.Node{n.Become("div", graph.Value("x"), graph.Number(4))}
	})
	m := tiny(t, sigmoid, becomes("sub", "sum", "sub"), fourth, same, fourthInBend, fourthInSum)
	got := mistaken(t, m, fourth, sigmoid)
	require.Equal(t,
		[][]string{{"sigmoid"}, {"sub"}, {"fourth", "same", "fourth-in-bend", "fourth-in-sum"}}, classIDs(pairsOf(t, m, got)))
	pairs, cut := m.FindPairs(t.Context(), got)
	require.Empty(t, cut)
	require.Equal(t, []string{"sigmoid+fourth", "sigmoid+same", "sigmoid+fourth-in-bend"}, idsOf(pairs.Matches))
	require.Equal(t, []int{3, 3}, []int{pairs.Tried, pairs.Of})
	for _, match := range pairs.Matches {
		require.Less(t, match.Residual, 1e-6)
		require.Less(t, match.MaxZ, 20.)
		require.GreaterOrEqual(t, match.Margin, 5.)
	}
	for _, other := range [][]float64{m.Truth.Value, unexplained(m), mistaken(t, m, fourth)} {
		pairs, cut = m.FindPairs(t.Context(), other)
		require.Empty(t, cut)
		require.Empty(t, pairs.Matches)
		require.Equal(t, 3, pairs.Of)
	}
	// A mistake that excludes the other one is no explanation beside it.
	sigmoid = atNode("sigmoid", "bend", func(n graph.Node) []graph.Node {
		if n.Operands[0].Name != "line" {
			return nil
		}
		return []graph.Node{n.Become("sigmoid", n.Operands...)}
	})
	m = tiny(t, sigmoid, fourth, fourthInBend)
	pairs, cut = m.FindPairs(t.Context(), got)
	require.Empty(t, cut)
	require.Equal(t, []string{"sigmoid+fourth"}, idsOf(pairs.Matches))
	pairs, cut = m.InLowerPrecision(m.Truth.Sigma).FindPairs(t.Context(), got)
	require.Empty(t, cut)
	require.Equal(t, Pairs{}, pairs, "noise would hide the second mistake")
}

// The mistake with the earlier place is made first, whichever stands first in the catalogue. The
// order may matter.
func TestOrderOfAPairInAGraph(t *testing.T) {
	fourth := times("fourth", 0.25)
	plusFactor := catalogue.Mistake{ID: "plus-factor", Edit: func(v *graph.View, n graph.Node) []graph.Node {
		if n.Name != "sum" {
			return nil
		}
		more := n.Before(0, "add", n.Shape, n.Operands[0], v.Maker(graph.Value("half")).Operands[1])
		return []graph.Node{more, n.Put(0, graph.Value(more.Name))}
	}}
	for _, known := range [][]catalogue.Mistake{{plusFactor, fourth}, {fourth, plusFactor}} {
		m := tiny(t, known...)
		pairs, cut := m.FindPairs(t.Context(), mistaken(t, m, fourth, plusFactor))
		require.Empty(t, cut)
		require.Equal(t, []string{known[0].ID + "+" + known[1].ID}, idsOf(pairs.Matches))
	}
}

// A search counts the pairs that it computed before its context ended.
func TestFindPairsInAGraphIsCutOff(t *testing.T) {
	fourth, sigmoid := times("fourth", 0.25), becomes("sigmoid", "bend", "sigmoid")
	m := tiny(t, fourth, becomes("exp", "line", "exp"), sigmoid, becomes("sub", "sum", "sub"))
	got := mistaken(t, m, fourth, sigmoid)
	pairs, cut := m.FindPairs(ended(t), got)
	require.Equal(t, Cut("two mistakes at once were not tried"), cut)
	require.Equal(t, Pairs{}, pairs)
	_, cut = tiny(t, fourth).FindPairs(ended(t), got)
	require.Equal(t, Cut("two mistakes at once were not tried"), cut, "of one mistake")
	m = tiny(t, fourth, becomes("exp", "line", "exp"), sigmoid, becomes("sub", "sum", "sub"))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	pairs, cut = m.FindPairs(progress.With(ctx, func(u progress.Update) {
		if u.Stage == "two mistakes at once" {
			cancel()
		}
	}), got)
	require.Equal(t, Cut("6 of 6 pairs of mistakes were not tried"), cut)
	require.Equal(t, Pairs{Of: 6}, pairs)

	q := pairsOf(t, m, got)
	ctx, cancel = context.WithCancel(t.Context())
	last := q.classes[3].members[0].mistake.Edit
	q.classes[3].members[0].mistake.Edit = func(v *graph.View, n graph.Node) []graph.Node {
		cancel()
		return last(v, n)
	}
	q.ctx = ctx
	_, count := q.withFirst(0, []pairOf{{0, 1}, {0, 3}, {0, 2}})
	require.Equal(t, 2, count)
}

// The nearest pairs are kept. The search notes how near the others come, and the mistakes alone.
func TestPairsNearAnOutput(t *testing.T) {
	fourth, sigmoid, sub := times("fourth", 0.25), becomes("sigmoid", "bend", "sigmoid"), becomes("sub", "sum", "sub")
	m := tiny(t, fourth, sigmoid, sub)
	got := mistaken(t, m, fourth, sigmoid)
	q := pairsOf(t, m, got)
	next := compare.Residual(got, m.Truth.Value)
	for _, one := range []catalogue.Mistake{fourth, sigmoid, sub} {
		next = min(next, compare.Residual(got, mistaken(t, m, one)))
	}
	require.InEpsilon(t, next, q.search.next, 1e-4)
	almost := slices.Clone(m.Truth.Value)
	almost[0] *= 1.001
	require.InDelta(t, compare.Residual(almost, m.Truth.Value), pairsOf(t, m, almost).search.next, 0)
	all := []pairOf{{0, 1}, {0, 2}, {1, 2}}
	q.try(all[:1])
	require.Equal(t, 1, q.count)
	q.try(append(all, all...))
	require.Equal(t, 3, q.count)
	q.try(all[1:])
	require.Equal(t, 3, q.count, "pairs are tried once")
	require.Len(t, q.near, 1)
	require.Equal(t, all[0], q.near[0].pair)
	require.InDelta(t, q.near[0].rms, q.least, 0)
	require.Equal(t, got, float32s(q.near[0].output.Data))
	require.Equal(t, mistaken(t, m, fourth, sigmoid), float32s(m.outputOfGraph(q.near[0].graph).Data))

	for _, pair := range [][]catalogue.Mistake{{fourth, sub}, {sigmoid, sub}} {
		next = min(next, compare.Residual(got, mistaken(t, m, pair...)))
	}
	require.InEpsilon(t, next, q.search.next, 1e-4)
}

// Only mistakes that show alone are paired. Mistakes of one class give the same output.
func TestClassesOfMistakes(t *testing.T) {
	twin := times("twin", 0.25)
	m := tiny(t,
		times("nothing", 0.5), times("in-noise", 0.5*(1+1e-9)), broken("broken", "bend"), times("fourth", 0.25),
		becomes("sub", "sum", "sub"), becomes("sigmoid", "bend", "sigmoid"), twin, becomes("sub-again", "sum", "sub"))
	q := pairsOf(t, m, unexplained(m))
	require.Equal(t, [][]string{{"fourth", "twin"}, {"sub", "sub-again"}, {"sigmoid"}}, classIDs(q))
	for _, c := range q.classes {
		require.Equal(t, c.members[0].output.Data, c.outputs)
	}
	require.Equal(t, []pairOf{{0, 1}, {1, 2}, {0, 2}, {1, 2}}, q.beside([]bothMade{{pair: pairOf{1, 2}}}))
}

// A model with many mistakes: the most promising pairs are tried, then the ones beside a match.
func TestPairsBesideAMatch(t *testing.T) {
	var known []catalogue.Mistake
	for i := range 32 {
		known = append(known, times(fmt.Sprintf("times-%d", i), 0.1*float64(i+6)))
	}
	for i := range 32 {
		known = append(known, atNode(fmt.Sprintf("plus-%d", i), "sum", func(n graph.Node) []graph.Node {
			more := n.Before(0, "mul", n.Shape, graph.Value("bend"), graph.Number(0.1*float64(i+12)))
			return []graph.Node{more, n.Put(0, graph.Value(more.Name))}
		}))
	}
	m := tiny(t, known...)
	got := mistaken(t, m, known[3], known[40])
	q := pairsOf(t, m, got)
	require.Len(t, q.classes, 64)
	tried := map[pairOf]bool{}
	for _, p := range newPairOrder(m, q.classes, got).best(1000) {
		tried[p] = true
	}
	require.Len(t, tried, 1000)
	for other := range 64 {
		for _, one := range []int{3, 40} {
			if other != one {
				tried[pairOf{min(one, other), max(one, other)}] = true
			}
		}
	}
	require.Greater(t, len(tried), 1000)
	pairs, cut := m.FindPairs(t.Context(), got)
	require.Empty(t, cut)
	require.Equal(t, []string{"times-3+plus-8"}, idsOf(pairs.Matches))
	require.Equal(t, []int{len(tried), 64 * 63 / 2}, []int{pairs.Tried, pairs.Of})
}

// A second or two of pairs are affordable: at most 1000, and at least 50 or none.
func TestAffordablePairsOfAModule(t *testing.T) {
	for work, want := range map[int]int{4e4: 1000, 1.9e6: 1000, 2.1e6: 952, 4e7: 50, 4e7 + 4: 0, 4e8: 0} {
		m := &Module{
			graph: &graph.Graph{Nodes: []graph.Node{{Name: "y", Op: "matmul", Operands: []graph.Operand{graph.Value("x")}}}},
			values: graph.Values[float64]{
				"x": {Shape: []int{1, work - 4}}, "y": {Data: make([]float64, 1)},
			},
		}
		require.InDelta(t, work, m.work(), 0)
		require.Equal(t, want, m.affordablePairs(), work)
	}
}

// A mistake outside attention is made before one of attention, and an earlier one before a later
// one.
func TestTheFirstMistakeOfAPair(t *testing.T) {
	early := hypothesis{sites: []int{1, 9}}
	late, inAttention := hypothesis{sites: []int{3, 5}}, hypothesis{mistake: ofAttention(catalogue.Mistake{}), sites: []int{2}}
	q := &pairSearch{}
	for _, h := range []hypothesis{early, late, inAttention, inAttention, early} {
		q.classes = append(q.classes, pairClass{members: []hypothesis{h}})
	}
	for p, first := range map[pairOf]int{
		{0, 1}: 0, {1, 4}: 4, {0, 4}: 0, {0, 2}: 0, {1, 2}: 1, {2, 4}: 4, {2, 3}: 2,
	} {
		require.Equal(t, first, q.firstOf(p), p)
	}
}

// Pairs that are further from an output than an explanation may be are not kept.
func TestPairsFarFromAnOutput(t *testing.T) {
	m := tiny(t, times("fourth", 0.25), becomes("sigmoid", "bend", "sigmoid"), becomes("sub", "sum", "sub"))
	q := pairsOf(t, m, unexplained(m))
	q.try([]pairOf{{0, 1}, {0, 2}, {1, 2}})
	require.Equal(t, 3, q.count)
	require.Empty(t, q.near)
	require.Less(t, q.least, math.Inf(1))
}

// Two pairs of the same mistakes, up to rounding: each has its own distance.
func TestDistancesOfPairsThatAreAlike(t *testing.T) {
	fourth, sigmoid := times("fourth", 0.25), becomes("sigmoid", "bend", "sigmoid")
	m := tiny(t, fourth, times("nearly", 0.25*(1+1e-8)), sigmoid)
	require.Equal(t, [][]string{{"fourth", "nearly"}, {"sigmoid"}}, classIDs(pairsOf(t, m, m.Truth.Value)))
	pairs, cut := m.FindPairs(t.Context(), mistaken(t, m, fourth, sigmoid))
	require.Empty(t, cut)
	require.Equal(t, []string{"fourth+sigmoid", "nearly+sigmoid"}, idsOf(pairs.Matches))
	require.NotEqual(t, pairs.Matches[0].Residual, pairs.Matches[1].Residual)
}
