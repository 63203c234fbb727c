package oracle

import (
	"math"
	"slices"
	"sync"

	"github.com/difftest/difftest/harness/internal/num"
)

// attend computes softmax(score(q k^T) + biases) v for the given context rows, one query of one
// head after the other. It takes queries (..., H, L, E), keys (..., Hk, S, E) and values
// (..., Hk, S, Ev). It returns the context (..., H, L, Ev) and, if the pass keeps them, the weights
// (..., H, L, S).
func (s *pass) attend(q, k, v Field, rows rowSet) (context, weights Field) {
	lead := q.Shape[:len(q.Shape)-2]
	queries, keys := q.Shape[len(lead)], k.Shape[len(k.Shape)-2]
	context = newField(s.detail, append(slices.Clone(lead), queries, num.Last(v.Shape))...)
	if s.keepWeights {
		weights = newField(s.detail, append(slices.Clone(lead), queries, keys)...)
	}
	c := &core{pass: s, masks: s.masks(keys), q: q, k: k, v: v, context: context, weights: weights, wanted: rows}
	c.prepareNoise()
	joint := s.jointRows(num.Size(lead), queries, rows)
	work := 0
	if len(joint) > 0 {
		work = len(joint[0]) * keys * (num.Last(k.Shape) + num.Last(v.Shape))
	}
	pool := &rowPool{core: c}
	s.parallel(len(joint), work, func(i int) {
		group := pool.take(len(joint[i]))
		for n, at := range joint[i] {
			group[n].score(at)
		}
		c.normalise(group)
		pool.put(group)
	})
	return s.Precision.store(s.Precision.loseWeights(context)), weights
}

// core holds the inputs and outputs that all rows of one call of attend share.
type core struct {
	*pass
	masks            masks
	q, k, v          Field
	context, weights Field // weights have no values unless the pass keeps them
	wanted           rowSet

	// keyNoise holds k² and Var k of each key, (2E); valueNoise holds v² and Var v of each value,
	// (2Ev).
	keyNoise, valueNoise []float64
	// largest is the largest v².
	largest float64
}

func (c *core) prepareNoise() {
	if !c.noisy() {
		return
	}
	c.keyNoise, c.valueNoise = squaresAndVariances(c.k), squaresAndVariances(c.v)
	for _, v := range c.v.Value {
		c.largest = math.Max(c.largest, v*v)
	}
}

// squaresAndVariances returns for each row of f its squares followed by its variances.
func squaresAndVariances(f Field) []float64 {
	width := num.Last(f.Shape)
	all := make([]float64, 0, 2*len(f.Value))
	for at := 0; at < len(f.Value); at += width {
		for _, v := range f.Value[at:][:width] {
			all = append(all, v*v)
		}
		all = append(all, f.Variance[at:][:width]...)
	}
	return all
}

// normalise turns the scores of a group of joint rows into weights and contexts.
func (c *core) normalise(group []*row) {
	if c.Axis != OverKeys {
		c.jointSoftmax(group)
		return
	}
	for _, r := range group {
		r.softmax()
		if c.keepWeights {
			r.storeWeights(c.weights.row(r.number))
		}
	}
}

// rowPool holds rows that are free, so that their memory is used again.
type rowPool struct {
	sync.Mutex
	core *core
	free []*row
}

func (p *rowPool) take(n int) []*row {
	p.Lock()
	defer p.Unlock()
	for len(p.free) < n {
		p.free = append(p.free, &row{core: p.core})
	}
	taken := append([]*row{}, p.free[len(p.free)-n:]...)
	p.free = p.free[:len(p.free)-n]
	return taken
}

func (p *rowPool) put(rows []*row) {
	p.Lock()
	defer p.Unlock()
	p.free = append(p.free, rows...)
}
