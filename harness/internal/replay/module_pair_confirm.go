package replay

import (
	"slices"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
)

// confirmed holds the output against the nearest pairs, each in its own noise, and keeps the ones
// that explain it. No pair is kept if none of the hopeful ones does.
func (q *pairSearch) confirmed() []bothMade {
	asked := map[pairOf]bool{} // noise takes many replays
	explains := func(b bothMade) bool {
		if _, known := asked[b.pair]; !known {
			asked[b.pair] = q.explains(b)
		}
		return asked[b.pair]
	}
	hope := func(b bothMade) bool { return q.search.hopeful(b.residual) && explains(b) }
	if !slices.ContainsFunc(q.near, hope) {
		q.near = nil
		return nil
	}
	q.near = slices.DeleteFunc(q.near, func(b bothMade) bool { return !explains(b) })
	return q.near
}

// explains reports whether two mistakes give the output within their own noise. The search notes
// how near they come if they do not.
func (q *pairSearch) explains(b bothMade) bool {
	m := q.module
	own := m.noiseOf(b.graph, b.output)
	if own.tooSmall(q.got) {
		q.search.miss(b.residual)
		return false
	}
	wrong, err := own.expected()
	if err != nil {
		return false
	}
	_, ok := q.search.explains(q.got, wrong)
	return ok
}

// beside lists the pairs that have a mistake in common with given ones. They are the most likely to
// give the same output.
func (q *pairSearch) beside(near []bothMade) []pairOf {
	var pairs []pairOf
	for _, b := range near {
		for _, one := range b.pair {
			for other := range q.classes {
				if other != one {
					pairs = append(pairs, pairOf{min(one, other), max(one, other)})
				}
			}
		}
	}
	return pairs
}

// matches returns the pairs that explain the output, with every mistake that one of theirs stands
// for. It returns nil if another computation comes about as near.
func (q *pairSearch) matches() []Match {
	for _, b := range q.confirmed() {
		for _, x := range q.classes[b.pair[0]].members {
			for _, y := range q.classes[b.pair[1]].members {
				q.add(b, x, y)
			}
		}
	}
	return q.search.matches()
}

// add collects two mistakes of the classes of a pair, if they give the output as well.
func (q *pairSearch) add(b bothMade, x, y hypothesis) {
	m := q.module
	first, second := q.classes[b.pair[0]].members[0], q.classes[b.pair[1]].members[0]
	if called(x.mistake) != called(first.mistake) || called(y.mistake) != called(second.mistake) {
		if isOfAttention(x.mistake) && !isOfAttention(y.mistake) {
			x, y = y, x
		}
		known := m.groundOf(x)
		if known == nil {
			return
		}
		made := q.both(b.pair, x, y, known)
		if len(made) == 0 || made[0].residual > compare.MaxResidual {
			return
		}
		b = made[0]
	}
	if wrong, err := m.expected(b.graph, b.output); err == nil {
		q.search.add(q.got, wrong, m.inOrder(x.mistake, y.mistake)...)
	}
}

// inOrder returns two mistakes in the order of the module's catalogue.
func (m *Module) inOrder(x, y catalogue.Mistake) []catalogue.Mistake {
	known := m.known()
	place := func(of catalogue.Mistake) int {
		return slices.IndexFunc(known, func(k catalogue.Mistake) bool { return called(k) == called(of) })
	}
	if place(y) < place(x) {
		x, y = y, x
	}
	return []catalogue.Mistake{x, y}
}
