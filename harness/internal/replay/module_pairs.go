package replay

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/graph"
)

// Pairs holds the pairs of mistakes that a search found in a graph, and the number tried.
type Pairs struct {
	Matches []Match // the same in this case
	Tried   int     // pairs that were computed
	Of      int     // pairs of mistakes that this case sees and tells apart
}

// FindPairs looks for two mistakes that give an output together, each at all of its places. Both
// must be visible alone. Of mistakes with the same output one stands for all until a pair is found.
// Only the most promising pairs are computed: see [pairOrder]. The noise of a lower precision would
// hide second mistakes. Nothing is found in it.
func (m *Module) FindPairs(ctx context.Context, got []float64) (Pairs, Cut) {
	most := m.affordablePairs()
	if m.lower || most == 0 {
		return Pairs{}, ""
	}
	q, missing := m.newPairSearch(ctx, got)
	if missing > 0 {
		return Pairs{}, "two mistakes at once were not tried"
	}
	order := newPairOrder(m, q.classes, got).best(most)
	q.try(order)
	if near := q.confirmed(); len(near) > 0 {
		q.try(q.beside(near))
	}
	tried := Pairs{Tried: q.count, Of: len(q.classes) * (len(q.classes) - 1) / 2}
	if ctx.Err() != nil {
		return tried, Cut(fmt.Sprintf("%d of %d pairs of mistakes were not tried", tried.Of-tried.Tried, tried.Of))
	}
	tried.Matches = q.matches()
	return tried, ""
}

// affordablePairs returns how many pairs are computed at most: a second or two of them. It returns
// 0 for a model so large that too few could be.
func (m *Module) affordablePairs() int {
	const most, least, operations = 1000, 50, 2e9
	if count := int(operations / m.work()); count >= least {
		return min(count, most)
	}
	return 0
}

// pairClass is mistakes that give the same output alone. The first one stands for all.
type pairClass struct {
	members []hypothesis
	outputs []float64
}

// pairSearch looks for two mistakes that give one output.
type pairSearch struct {
	ctx     context.Context
	module  *Module
	got     []float64
	search  *search
	classes []pairClass
	tried   map[pairOf]bool
	count   int // of the pairs that were computed
	near    []bothMade
	least   float64 // distance of the nearest pair
}

// bothMade is two mistakes with the graph that has both, and its output.
type bothMade struct {
	pair pairOf
	hypothesis
}

// newPairSearch makes every mistake everywhere, and sorts the visible ones into classes. It also
// returns the number of mistakes that it left out because ctx ended.
func (m *Module) newPairSearch(ctx context.Context, got []float64) (q *pairSearch, missing int) {
	q = &pairSearch{
		ctx: ctx, module: m, got: got, search: newSearch(), tried: map[pairOf]bool{}, least: math.Inf(1),
	}
	q.search.miss(compare.Residual(got, m.Truth.Value)) // a pair must come much nearer
	made := m.hypotheses(everywhere)
	missing = each(ctx, "mistakes to be made at once", len(made), func(i int) { made[i] = m.compute(made[i], got) })
	made = slices.DeleteFunc(made, func(h hypothesis) bool { return h.output == nil })
	for _, h := range made {
		q.search.miss(h.residual)
	}
	for _, h := range m.withoutDoubles(made) {
		if compare.Outputs(m.Truth.Shape, h.output.Data, m.Truth).OK() {
			continue // alone it is within the noise
		}
		i := slices.IndexFunc(q.classes, func(c pairClass) bool { return m.sameOutput(c.members[0], h) })
		if i < 0 {
			q.classes = append(q.classes, pairClass{[]hypothesis{h}, h.output.Data})
			continue
		}
		q.classes[i].members = append(q.classes[i].members, h)
	}
	return q, missing
}

// try computes pairs that were not tried before. The pairs of one first mistake share its graph.
func (q *pairSearch) try(pairs []pairOf) {
	byFirst, order := map[int][]pairOf{}, []int{}
	for _, p := range pairs {
		if q.tried[p] {
			continue
		}
		q.tried[p] = true
		first := q.firstOf(p)
		if byFirst[first] == nil {
			order = append(order, first)
		}
		byFirst[first] = append(byFirst[first], p)
	}
	made, counts := make([][]bothMade, len(order)), make([]int, len(order))
	each(q.ctx, "two mistakes at once", len(order), func(i int) {
		made[i], counts[i] = q.withFirst(order[i], byFirst[order[i]])
	})
	for _, count := range counts {
		q.count += count
	}
	for _, b := range slices.Concat(made...) {
		q.least = min(q.least, b.rms)
		q.near = append(q.near, b)
	}
	q.near = slices.DeleteFunc(q.near, func(b bothMade) bool {
		far := b.isFar(q.least) || b.residual > compare.MaxResidual
		if far {
			q.search.miss(b.residual)
		}
		return far
	})
}

// firstOf returns the mistake of a pair that is made first: the one outside attention, or else the
// one with the earliest place, because all that is computed before it is known.
func (q *pairSearch) firstOf(p pairOf) int {
	a, b := q.classes[p[0]].members[0], q.classes[p[1]].members[0]
	switch {
	case isOfAttention(a.mistake) != isOfAttention(b.mistake):
		if isOfAttention(a.mistake) {
			return p[1]
		}
	case b.sites[0] < a.sites[0]:
		return p[1]
	}
	return p[0]
}

// withFirst computes the pairs of one mistake, and counts them, until ctx ends.
func (q *pairSearch) withFirst(first int, pairs []pairOf) (made []bothMade, count int) {
	var known *ground
	for i, p := range pairs {
		if q.ctx.Err() != nil {
			return made, i
		}
		second := p[0] + p[1] - first
		a, b := q.classes[first].members[0], q.classes[second].members[0]
		if known == nil && !isOfAttention(a.mistake) {
			if known = q.module.groundOf(a); known == nil {
				return nil, len(pairs)
			}
		}
		made = append(made, q.both(p, a, b, known)...)
	}
	return made, len(pairs)
}

// both computes two mistakes, b after a, whose graph is known. If a removes places of b, the order
// is reversed. A mistake of attention comes second, because the problem of its site replaces the
// nodes of another mistake. Two mistakes of attention are both made in the problem. both returns
// nothing if the two exclude each other, or give what one of them gives alone.
func (q *pairSearch) both(p pairOf, a, b hypothesis, known *ground) []bothMade {
	m := q.module
	var g *graph.Graph
	var output *graph.Tensor[float64]
	switch {
	case isOfAttention(a.mistake):
		if g = m.bothInAttention(a, b); g != nil {
			output = m.outputOfGraph(g)
		}
	default:
		if g = known.with(b); g == nil && !isOfAttention(b.mistake) {
			if known = m.groundOf(b); known != nil {
				g = known.with(a)
			}
		}
		if g != nil {
			output = known.output(g)
		}
	}
	if output == nil || m.alike(output, a.output) || m.alike(output, b.output) {
		return nil
	}
	h := m.against(q.got, hypothesis{mistake: a.mistake, graph: g}, output)
	if h.output == nil {
		return nil
	}
	h.graph = g
	return []bothMade{{p, h}}
}

// alike reports whether no program's rounding can tell two outputs apart.
func (m *Module) alike(a, b *graph.Tensor[float64]) bool {
	const same = 0.5 // of the noise, as in sameOutput
	return inNoise(a.Data, b.Data, m.Truth.Sigma) <= same
}
