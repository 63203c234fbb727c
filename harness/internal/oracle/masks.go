package oracle

import (
	"math"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/num"
)

// masks decides which keys a query sees, and which biases are added to its scores. Heads n count
// over the whole batch.
type masks struct {
	p                       *Problem
	queries, keys, heads    int // keys without appended ones
	all                     int // keys with appended ones
	allow, block, misplaced *broadcastMask
	bias                    *broadcast
	byKey                   bool // see alibiByKey
}

// masks returns the masks of a problem with so many keys, appended ones included.
func (p *Problem) masks(all int) masks {
	scores := p.scores()
	m := masks{p: p, queries: scores[len(scores)-2], keys: num.Last(scores), heads: p.heads(), all: all}
	m.allow = newBroadcastMask(p.Allow, scores)
	m.block = newBroadcastMask(p.Block, scores)
	m.misplaced = newBroadcastMask(p.MisplacedPadding, scores)
	if p.Bias != nil {
		m.bias = newBroadcast(p.Bias.Shape, scores)
	}
	m.byKey = p.alibiByKey(all - m.keys)
	return m
}

// alibiByKey reports whether ALiBi may be computed from the position of the key alone, as a slope
// times j or j - (S-1). In a row this differs from the slope times the distance by a constant,
// which the softmax drops, if no query sees a later key and every score has a slope. The scores are
// then rounded at the size of the slope times the length of the sequence.
func (p *Problem) alibiByKey(appended int) bool {
	return p.Slopes != nil && p.SlopeDistance == nil && p.Causal != nil && p.Sinks == nil && appended == 0 &&
		p.ZeroKeys == 0 && p.Axis == OverKeys
}

// viewer is query i of head n, with the positions from which it is causal and has a window.
type viewer struct{ n, i, causal, window int }

func (m *masks) viewer(n, i int) viewer {
	position := i + m.p.FirstPosition(n/m.heads)
	return viewer{n, i, position - m.shift(m.p.CausalShift, n), position - m.shift(m.p.WindowShift, n)}
}

// sees reports whether a query sees key j. Every query sees an appended key.
func (m *masks) sees(v *viewer, j int) bool {
	if j >= m.keys {
		return true
	}
	n, i := v.n, v.i
	switch {
	case m.p.Causal != nil && !m.p.Causal(v.causal, j),
		m.p.Window > 0 && !within(m.p.Window, v.window, j),
		m.p.Padding != nil && m.p.Padding.Data[n/m.heads*m.keys+j],
		m.allow != nil && !m.allow.at(n, i, j),
		m.block != nil && m.block.at(n, i, j),
		m.misplaced != nil && m.misplaced.at(n, i, j),
		m.bias != nil && math.IsInf(m.p.Bias.Value[m.bias.index(n, i, j)], -1):
		return false
	}
	return true
}

// within reports whether a key is in the window of the query at a position.
func within(window, position, key int) bool {
	return position-key < window && key-position < window
}

// shift returns the number that a shift of each batch element has for head n, 0 for no shift.
func (m *masks) shift(of []int, n int) int {
	if of == nil {
		return 0
	}
	return of[n/m.heads]
}

// visible appends to keys every key that takes part in the softmax of query i of head n, and to
// masked whether a mask hides the key. A masked key takes part only if the MaskedScore hook is set.
func (m *masks) visible(n, i int, keys []int, masked []bool) ([]int, []bool) {
	v := m.viewer(n, i)
	for j := range m.all {
		if sees := m.sees(&v, j); sees || m.p.MaskedScore != nil {
			keys, masked = append(keys, j), append(masked, !sees)
		}
	}
	return keys, masked
}

// plainScores reports whether scores are q.k times the scale, with no hook, cap or bias, and are
// not rounded.
func (m *masks) plainScores() bool {
	p := m.p
	return p.Score == nil && p.VisibleScore == nil && p.MaskedScore == nil && p.Softcap <= 0 &&
		m.bias == nil && p.Slopes == nil && p.Relative == nil && p.Precision.stored == 0
}

// bias is a number that is added to a score, with its own variance.
type bias struct{ value, variance float64 }

// biases returns the numbers that are added to a score, at most three: the additive mask, ALiBi's
// slope times the distance, and the relative bias. The variance of ALiBi's includes the rounding of
// its sum with the score, if alibiByKey makes the sum larger than the score.
func (m *masks) biases(n, i, j int) (all [3]bias, count int) {
	if j >= m.keys {
		return all, 0
	}
	add := func(value, variance float64) {
		all[count] = bias{value, variance}
		count++
	}
	if m.bias != nil {
		b := m.p.Bias.Value[m.bias.index(n, i, j)]
		if !math.IsInf(b, -1) { // -Inf is a mask, see sees
			add(b, m.p.Precision.given*b*b)
		}
	}
	head := n % m.heads
	if m.p.Slopes != nil {
		slope := m.p.Slopes[n%len(m.p.Slopes)]
		distance := float64(m.distance(m.p.SlopeDistance, n, i, j))
		lost, own := -slope*math.Abs(distance), 2*roundoff+m.p.Precision.stored
		variance := own * lost * lost
		if m.byKey {
			end := slope * float64(max(j, m.keys-1-j))
			variance = (own + roundoff + m.p.Precision.stored) * max(lost*lost, end*end)
		}
		add(lost, variance)
	}
	if table := m.p.Relative; table != nil {
		distance, reach := m.distance(m.p.RelativeDistance, n, i, j), len(table)/m.heads/2
		learned := table[(min(max(distance, -reach), reach)+reach)*m.heads+head]
		add(learned, m.p.Precision.learned*learned*learned)
	}
	return all, count
}

// distance returns the position of key j minus the position of query i of head n, or the result of
// the hook.
func (m *masks) distance(hook func(query, key int) int, n, i, j int) int {
	position := i + m.p.FirstPosition(n/m.heads)
	if hook != nil {
		return hook(position, j)
	}
	return j - position
}

// sameForHeads reports whether all heads of a batch element are sure to see the same keys.
func (m *masks) sameForHeads() bool {
	return m.p.MaskedScore != nil || m.allow == nil && m.block == nil && m.misplaced == nil && m.bias == nil
}

// count counts the keys that take part in the softmax of query i of head n.
func (m *masks) count(n, i int) int {
	if m.p.MaskedScore != nil {
		return m.all
	}
	v, count := m.viewer(n, i), 0
	for j := range m.all {
		if m.sees(&v, j) {
			count++
		}
	}
	return count
}

// seesAny reports whether query i of head n has a key in its softmax.
func (m *masks) seesAny(n, i int) bool {
	if m.p.MaskedScore != nil {
		return m.all > 0
	}
	v := m.viewer(n, i)
	for j := range m.all {
		if m.sees(&v, j) {
			return true
		}
	}
	return false
}

// broadcast maps indices of the scores, (..., H, L, S), to indices of an array that is broadcast to
// them: aligned from the right, and repeated along every dimension of 1 or that it lacks.
type broadcast struct {
	heads      []int // index of each head's first element, over the whole batch
	query, key int   // strides
}

func newBroadcast(shape, scores []int) *broadcast {
	strides, stride := make([]int, len(scores)), 1
	for back := 1; back <= len(shape); back++ {
		if n := shape[len(shape)-back]; n > 1 {
			strides[len(scores)-back] = stride
			stride *= n
		}
	}
	lead := scores[:len(scores)-2]
	b := &broadcast{heads: []int{0}, query: strides[len(lead)], key: strides[len(lead)+1]}
	for d, n := range lead {
		var next []int
		for _, first := range b.heads {
			for i := range n {
				next = append(next, first+i*strides[d])
			}
		}
		b.heads = next
	}
	return b
}

func (b *broadcast) index(n, i, j int) int { return b.heads[n] + i*b.query + j*b.key }

// broadcastMask is a mask that is broadcast to the scores.
type broadcastMask struct {
	*broadcast
	data []bool
}

func newBroadcastMask(m *attention.Mask, scores []int) *broadcastMask {
	if m == nil {
		return nil
	}
	return &broadcastMask{newBroadcast(m.Shape, scores), m.Data}
}

func (m *broadcastMask) at(n, i, j int) bool { return m.data[m.index(n, i, j)] }
