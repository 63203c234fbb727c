package variant

import (
	"math"

	"github.com/difftest/difftest/harness/internal/oracle"
)

// masks looks up one score at a time in each mask, by its indices in the mask's shape.
type masks struct {
	p             *oracle.Problem
	scores        []int // shape of the scores, to which masks are broadcast
	perBatch      int   // heads of one batch element
	slopes        Slopes
	queries, keys int // keys without appended ones
}

// newMasks returns the masks of a problem. keys counts the keys that a mask can hide, and all
// counts the appended keys, too.
func (v Variant) newMasks(p *oracle.Problem, lead []int, queries, keys, all int) masks {
	perBatch := lead[len(lead)-1]
	scores := append(append([]int{}, lead...), queries, keys)
	m := masks{p, scores, perBatch, v.Slopes, queries, keys}
	if p.SlopeDistance != nil || p.Sinks != nil || all > keys || p.ZeroKeys > 0 || m.seesLater() {
		m.slopes = ByDistance
	}
	return m
}

// seesLater reports whether a query sees a key behind its own position. A slope times the distance
// then falls on both sides of the query, and a slope times the position of the key does not.
func (m masks) seesLater() bool {
	if m.slopes == ByDistance || m.p.Slopes == nil {
		return false
	}
	heads := 1
	for _, n := range m.scores[:len(m.scores)-2] {
		heads *= n
	}
	for head := range heads {
		for i := range m.queries {
			for j := max(0, m.position(head, i)+1); j < m.keys; j++ {
				if !m.hidden(head, i, j) {
					return true
				}
			}
		}
	}
	return false
}

// along returns the factor of ALiBi's slope in a score.
func (m masks) along(head, i, j int) int {
	position := m.position(head, i)
	distance := j - position
	switch {
	case m.slopes == ByKey:
		return j
	case m.slopes == FromLast:
		return j - (m.keys - 1)
	case m.p.SlopeDistance != nil:
		distance = m.p.SlopeDistance(position, j)
	}
	return min(distance, -distance)
}

func (m masks) hidden(head, i, j int) bool {
	if j >= m.keys {
		return false
	}
	p, position := m.p, m.position(head, i)
	distance := j - position
	if p.Allow != nil && !p.Allow.Data[m.at(p.Allow.Shape, head, i, j)] ||
		p.Block != nil && p.Block.Data[m.at(p.Block.Shape, head, i, j)] ||
		p.MisplacedPadding != nil && p.MisplacedPadding.Data[m.at(p.MisplacedPadding.Shape, head, i, j)] ||
		p.Padding != nil && p.Padding.Data[head/m.perBatch*m.keys+j] {
		return true
	}
	if p.Bias != nil && math.IsInf(p.Bias.Value[m.at(p.Bias.Shape, head, i, j)], -1) {
		return true
	}
	asked := position
	if p.WindowShift != nil {
		distance += p.WindowShift[head/m.perBatch]
	}
	if p.CausalShift != nil {
		asked -= p.CausalShift[head/m.perBatch]
	}
	return p.Causal != nil && !p.Causal(asked, j) ||
		p.Window > 0 && (distance >= p.Window || -distance >= p.Window)
}

// position returns the position of query i of a head.
func (m masks) position(head, i int) int {
	if m.p.Offsets == nil {
		return i + m.p.Offset
	}
	return i + m.p.Offsets[head/m.perBatch]
}

// added returns the sum of the biases of a score.
func (m masks) added(head, i, j int) float32 {
	var sum float32
	if j >= m.keys {
		return sum
	}
	if m.p.Bias != nil {
		sum += float32(m.p.Bias.Value[m.at(m.p.Bias.Shape, head, i, j)])
	}
	position := m.position(head, i)
	distance := j - position
	if m.p.Slopes != nil {
		sum += float32(m.p.Slopes[head%len(m.p.Slopes)]) * float32(m.along(head, i, j))
	}
	if m.p.Relative != nil {
		middle := len(m.p.Relative) / m.perBatch / 2
		if m.p.RelativeDistance != nil {
			distance = m.p.RelativeDistance(position, j)
		}
		clipped := middle + distance
		if clipped < 0 {
			clipped = 0
		}
		if clipped > 2*middle {
			clipped = 2 * middle
		}
		sum += float32(m.p.Relative[clipped*m.perBatch+head%m.perBatch])
	}
	return sum
}

// valueless returns the scores of a head without a value: the sink's, and the zeros of ZeroKeys.
func (m masks) valueless(head int) []float32 {
	scores := make([]float32, m.p.ZeroKeys)
	if m.p.Sinks != nil {
		scores = append(scores, float32(m.p.Sinks[head%len(m.p.Sinks)]))
	}
	return scores
}

// at returns the index of a score in a mask of the given shape.
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
