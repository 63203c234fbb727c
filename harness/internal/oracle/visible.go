package oracle

import (
	"math"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/num"
)

// view says which keys a query sees and what is added to its scores.
type view struct {
	p                    *Problem
	queries, keys, heads int // keys without appended ones
	all                  int // with them
	allow, block, filler *spreadMask
	bias                 *spreadOut
}

// view is given the number of keys, appended ones with them.
func (p *Problem) view(all int) view {
	scores := p.scores()
	v := view{p: p, queries: scores[len(scores)-2], keys: num.Last(scores), heads: p.heads(), all: all}
	v.allow, v.block, v.filler = newSpreadMask(p.Allow, scores), newSpreadMask(p.Block, scores), newSpreadMask(p.MisplacedPadding, scores)
	if p.Bias != nil {
		v.bias = newSpreadOut(p.Bias.Shape, scores)
	}
	return v
}

// sees says whether query i of head n sees key j. An appended key is seen by all.
func (v *view) sees(n, i, j int) bool {
	if j >= v.keys {
		return true
	}
	position := i + v.p.Offset
	switch {
	case v.p.Causal != nil && !v.p.Causal(position, j),
		v.p.Window > 0 && (position-j >= v.p.Window || j-position >= v.p.Window),
		v.p.Padding != nil && v.p.Padding.Data[n/v.heads*v.keys+j],
		v.allow != nil && !v.allow.at(n, i, j),
		v.block != nil && v.block.at(n, i, j),
		v.filler != nil && v.filler.at(n, i, j),
		v.bias != nil && math.IsInf(v.p.Bias.Value[v.bias.place(n, i, j)], -1):
		return false
	}
	return true
}

// visible lists the keys that take part in the softmax of query i of head n, and which of them a
// mask hides: none, unless hidden keys keep a score. It adds them to lists that may have memory.
func (v *view) visible(n, i int, keys []int, hidden []bool) ([]int, []bool) {
	for j := range v.all {
		if sees := v.sees(n, i, j); sees || v.p.MaskedScore != nil {
			keys, hidden = append(keys, j), append(hidden, !sees)
		}
	}
	return keys, hidden
}

// term is something added to a score, with its own variance.
type term struct{ value, variance float64 }

// terms are what is added to a score, up to three: the additive mask, and what depends on the distance.
func (v *view) terms(n, i, j int) (all [3]term, count int) {
	if j >= v.keys {
		return all, 0
	}
	add := func(value, variance float64) {
		all[count] = term{value, variance}
		count++
	}
	if v.bias != nil {
		if b := v.p.Bias.Value[v.bias.place(n, i, j)]; !math.IsInf(b, -1) { // that hides the key, see sees
			add(b, v.p.Precision.given*b*b)
		}
	}
	head := n % v.heads
	if v.p.Slopes != nil {
		lost := -v.p.Slopes[head] * math.Abs(float64(v.distance(v.p.SlopeDistance, i, j)))
		add(lost, (2*roundoff+v.p.Precision.stored)*lost*lost)
	}
	if table := v.p.Relative; table != nil {
		distance, reach := v.distance(v.p.RelativeDistance, i, j), len(table)/v.heads/2
		learned := table[(min(max(distance, -reach), reach)+reach)*v.heads+head]
		add(learned, v.p.Precision.learned*learned*learned)
	}
	return all, count
}

// distance is from a query to a key, by the positions where they stand.
func (v *view) distance(other func(query, key int) int, i, j int) int {
	if other != nil {
		return other(i+v.p.Offset, j)
	}
	return j - i - v.p.Offset
}

// spreadOut says where an array stands that is broadcast to the scores, (..., H, L, S): aligned from the
// right, and the same along the dimensions in which its shape is 1 or absent.
type spreadOut struct {
	heads      []int // place of each head's matrix, over the whole batch
	query, key int   // from one query, or key, to the next
}

func newSpreadOut(shape, scores []int) *spreadOut {
	strides, stride := make([]int, len(scores)), 1
	for back := 1; back <= len(shape); back++ {
		if n := shape[len(shape)-back]; n > 1 {
			strides[len(scores)-back] = stride
			stride *= n
		}
	}
	lead := scores[:len(scores)-2]
	o := &spreadOut{heads: []int{0}, query: strides[len(lead)], key: strides[len(lead)+1]}
	for d, n := range lead {
		var next []int
		for _, place := range o.heads {
			for i := range n {
				next = append(next, place+i*strides[d])
			}
		}
		o.heads = next
	}
	return o
}

func (o *spreadOut) place(n, i, j int) int { return o.heads[n] + i*o.query + j*o.key }

// spreadMask is a mask that is broadcast to the scores.
type spreadMask struct {
	*spreadOut
	data []bool
}

func newSpreadMask(m *attention.Mask, scores []int) *spreadMask {
	if m == nil {
		return nil
	}
	return &spreadMask{newSpreadOut(m.Shape, scores), m.Data}
}

func (m *spreadMask) at(n, i, j int) bool { return m.data[m.place(n, i, j)] }

// Visible counts what takes part in the softmax of each query, in the rows of the result,
// (..., L): the keys that it sees, and a sink. It is 0 where a query sees no key. A row of a layer
// whose heads see different numbers of keys counts as seeing two or more.
func (p *Problem) Visible() []int {
	appended := 0
	if l := p.Layer; l != nil && l.LearnedKey != nil {
		appended++
	}
	if l := p.Layer; l != nil && l.ZeroKey {
		appended++
	}
	scores := p.scores()
	v := p.view(num.Last(scores) + appended)
	together := 1
	if p.Layer != nil {
		together = v.heads
	}
	var counts []int
	for first := 0; first < num.Size(scores[:len(scores)-2]); first += together {
		for i := range v.queries {
			counts = append(counts, v.count(first, together, i))
		}
	}
	return counts
}

// HasEmptyRow says whether some query of some head sees no key.
func (p *Problem) HasEmptyRow() bool {
	if l := p.Layer; l != nil && (l.LearnedKey != nil || l.ZeroKey) {
		return false
	}
	scores := p.scores()
	v := p.view(num.Last(scores))
	for n := range num.Size(scores[:len(scores)-2]) {
		for i := range v.queries {
			if v.number(n, i) == 0 {
				return true
			}
		}
	}
	return false
}

// count is what [Problem.Visible] says of one row.
func (v *view) count(first, heads, i int) int {
	count := v.number(first, i)
	for n := first + 1; n < first+heads && !v.sameForHeads(); n++ {
		if keys := v.number(n, i); keys != count {
			return max(2, count, keys)
		}
	}
	if count > 0 && v.p.Sinks != nil {
		count++
	}
	return count
}

// sameForHeads says whether nothing that hides keys depends on the head, for sure.
func (v *view) sameForHeads() bool {
	return v.p.MaskedScore != nil || v.allow == nil && v.block == nil && v.filler == nil && v.bias == nil
}

// number counts the keys that take part in the softmax of query i of head n.
func (v *view) number(n, i int) int {
	if v.p.MaskedScore != nil {
		return v.all
	}
	count := 0
	for j := range v.all {
		if v.sees(n, i, j) {
			count++
		}
	}
	return count
}
