package variant

import (
	"math"

	"github.com/difftest/difftest/harness/oracle"
)

// masks answers for one score at a time, from the place of its indices in each mask's shape.
type masks struct {
	p             *oracle.Problem
	scores        []int // the shape that masks are broadcast to
	perBatch      int
	queries, keys int
}

func newMasks(p *oracle.Problem, n, perBatch, queries, keys int) masks {
	lead := p.Query.Shape[:len(p.Query.Shape)-2]
	if p.Layer != nil {
		lead = []int{n / perBatch, perBatch}
	}
	scores := append(append([]int{}, lead...), queries, keys)
	return masks{p, scores, perBatch, queries, keys}
}

func (m masks) hidden(head, i, j int) bool {
	p := m.p
	if p.Allow != nil && !p.Allow.Data[m.at(p.Allow.Shape, head, i, j)] {
		return true
	}
	if p.Bias != nil && math.IsInf(float64(m.added(head, i, j)), -1) {
		return true
	}
	return p.Causal && j > i ||
		p.Block != nil && p.Block.Data[i*m.keys+j] ||
		p.Padding != nil && p.Padding.Data[head/m.perBatch*m.keys+j]
}

func (m masks) added(head, i, j int) float32 {
	if m.p.Bias == nil {
		return 0
	}
	return m.p.Bias.Data[m.at(m.p.Bias.Shape, head, i, j)]
}

// at finds a score in a mask of the given shape.
func (m masks) at(shape []int, head, i, j int) int {
	place := (head*m.queries+i)*m.keys + j
	index := make([]int, len(m.scores))
	for d := len(m.scores) - 1; d >= 0; d-- {
		index[d] = place % m.scores[d]
		place /= m.scores[d]
	}
	flat := 0
	for d, size := range shape {
		flat *= size
		if size > 1 {
			flat += index[len(index)-len(shape)+d]
		}
	}
	return flat
}
