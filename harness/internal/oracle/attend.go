package oracle

import (
	"slices"

	"github.com/difftest/difftest/harness/internal/num"
)

// attend computes softmax(score(q k^T) + biases) v for the given context rows, a group of rows
// after the other. It takes queries (..., H, L, E), keys (..., Hk, S, E) and values (..., Hk, S,
// Ev). It returns the context (..., H, L, Ev) and, if the pass keeps them, the weights (..., H, L,
// S).
func (s *pass) attend(q, k, v Field, rows rowSet, kept keptRows) (context contexts, weights Field) {
	lead := q.Shape[:len(q.Shape)-2]
	queries, keys := q.Shape[len(lead)], k.Shape[len(k.Shape)-2]
	context = s.newContexts(append(slices.Clone(lead), queries, num.Last(v.Shape)), rows, kept)
	if s.keepWeights {
		weights = newField(s.detail, append(slices.Clone(lead), queries, keys)...)
	}
	c := &core{pass: s, masks: s.masks(keys), q: q, k: k, v: v, context: context, weights: weights, wanted: rows}
	c.keyFactors, c.valueFactors = s.cache.factorsOf(k, v, num.Size(k.Shape[:len(k.Shape)-2]))
	if c.masks.sameForHeads() && c.masks.p.MaskedScore == nil {
		c.sights = make([]sight, num.Size(lead)/c.masks.heads*queries)
	}
	c.findLargest()
	groups := s.groups(num.Size(lead), queries, rows)
	work := 0
	if len(groups) > 0 {
		work = len(groups[0]) * keys * (num.Last(k.Shape) + num.Last(v.Shape))
	}
	free := &workspaces{core: c}
	s.parallel(len(groups), work, func(i int) {
		w := free.take()
		group := w.rowsFor(groups[i])
		w.score(group)
		w.normalise(group)
		free.put(w)
	})
	context.Field = s.Precision.store(s.Precision.loseWeights(context.Field))
	return context, weights
}

// core holds the inputs and outputs that all rows of one call of attend share.
type core struct {
	*pass
	masks   masks
	q, k, v Field
	context contexts
	weights Field // without values unless the pass keeps them
	wanted  rowSet

	keyFactors   []keyFactors // of each key/value head
	valueFactors []valueFactors
	sights       []sight // of each position of each batch element, if all heads see the same keys
	largest      float64 // the largest v²; 0 without noise
}

func (c *core) findLargest() {
	if !c.noisy() {
		return
	}
	var largest float64
	for _, v := range c.v.Value {
		if v*v > largest {
			largest = v * v
		}
	}
	c.largest = largest
}

// normalise turns the scores of a group of rows into weights and contexts.
func (w *workspace) normalise(group []*row) {
	if w.Axis != OverKeys {
		w.jointSoftmax(group)
		return
	}
	for _, r := range group {
		r.softmax()
	}
	w.mix(group)
	for _, r := range group {
		if r.losesScores() {
			w.addLoss(r)
		}
		if w.keepWeights {
			r.storeWeights(w.core.weights.row(r.number))
		}
	}
}
