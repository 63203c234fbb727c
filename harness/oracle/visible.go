package oracle

import (
	"math"

	"github.com/difftest/difftest/attention"
)

// view says which keys a query sees and what is added to its scores. Masks are spread out to
// one element for every score, (N, L, S), so that looking one up needs no arithmetic that
// could be wrong in the same way as that of an implementation.
type view struct {
	p                    *Problem
	queries, keys, heads int       // keys without appended ones
	all                  int       // with them
	hidden               []float64 // 1 where a mask hides a key; nil: nowhere
	bias                 []float64 // nil: nothing
}

// view is given the number of keys, appended ones with them.
func (p *Problem) view(all int) view {
	scores := p.scores()
	v := view{p: p, queries: scores[len(scores)-2], keys: last(scores), heads: p.heads(), all: all}
	v.hide(p.Allow, 0)
	v.hide(p.Block, 1)
	v.hide(p.Filler, 1)
	if p.Bias != nil {
		v.bias = spread(p.Bias.Value, p.Bias.Shape, scores)
	}
	return v
}

// hide spreads a mask in which the given value hides a key.
func (v *view) hide(m *attention.Mask, hides float64) {
	if m == nil {
		return
	}
	flags := make([]float64, len(m.Data))
	for i, on := range m.Data {
		if on == (hides == 1) {
			flags[i] = 1
		}
	}
	wide := spread(flags, m.Shape, v.p.scores())
	for i := range v.hidden {
		wide[i] = math.Max(wide[i], v.hidden[i])
	}
	v.hidden = wide
}

// sees says whether query i of head n sees key j. An appended key is seen by all.
func (v view) sees(n, i, j int) bool {
	if j >= v.keys {
		return true
	}
	at, position := (n*v.queries+i)*v.keys+j, i+v.p.Offset
	switch {
	case v.p.Causal != nil && !v.p.Causal(position, j),
		v.p.Window > 0 && (position-j >= v.p.Window || j-position >= v.p.Window),
		v.p.Padding != nil && v.p.Padding.Data[n/v.heads*v.keys+j],
		v.hidden != nil && v.hidden[at] == 1,
		v.bias != nil && math.IsInf(v.bias[at], -1):
		return false
	}
	return true
}

// visible lists the keys that take part in the softmax of query i of head n, and which of them a
// mask hides: none, unless hidden keys keep a score.
func (v view) visible(n, i int) (keys []int, hidden []bool) {
	for j := range v.all {
		if sees := v.sees(n, i, j); sees || v.p.Hidden != nil {
			keys, hidden = append(keys, j), append(hidden, !sees)
		}
	}
	return keys, hidden
}

// term is something added to a score, with its own variance.
type term struct{ value, variance float64 }

// terms are what is added to a score: the additive mask, and what depends on the distance.
func (v view) terms(n, i, j int) []term {
	var all []term
	if j >= v.keys {
		return nil
	}
	if v.bias != nil {
		if b := v.bias[(n*v.queries+i)*v.keys+j]; !math.IsInf(b, -1) { // that hides the key, see sees
			all = append(all, term{b, v.p.Precision.given * b * b})
		}
	}
	head := n % v.heads
	if v.p.Slopes != nil {
		lost := -v.p.Slopes[head] * math.Abs(float64(v.distance(v.p.SlopeDistance, i, j)))
		all = append(all, term{lost, (2*roundoff + v.p.Precision.stored) * lost * lost})
	}
	if table := v.p.Relative; table != nil {
		distance, reach := v.distance(v.p.RelativeDistance, i, j), len(table)/v.heads/2
		learned := table[(min(max(distance, -reach), reach)+reach)*v.heads+head]
		all = append(all, term{learned, v.p.Precision.learned * learned * learned})
	}
	return all
}

// distance is from a query to a key, by the positions where they stand.
func (v view) distance(other func(query, key int) int, i, j int) int {
	if other != nil {
		return other(i+v.p.Offset, j)
	}
	return j - i - v.p.Offset
}

// spread repeats data along the dimensions in which shape is 1 or absent, aligned from the
// right, one dimension after the other.
func spread(data []float64, shape, target []int) []float64 {
	full := make([]int, len(target))
	for d := range full {
		full[d] = 1
		if back := len(target) - d; back <= len(shape) {
			full[d] = shape[len(shape)-back]
		}
	}
	for d := range target {
		if full[d] != target[d] {
			data = repeat(data, size(full[d+1:]), target[d])
			full[d] = target[d]
		}
	}
	return data
}

// repeat writes each block of the given length times over.
func repeat(data []float64, block, times int) []float64 {
	out := make([]float64, 0, len(data)*times)
	for at := 0; at < len(data); at += block {
		for range times {
			out = append(out, data[at:at+block]...)
		}
	}
	return out
}

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
	v := p.view(last(scores) + appended)
	together := 1
	if p.Layer != nil {
		together = v.heads
	}
	var counts []int
	for first := 0; first < size(scores[:len(scores)-2]); first += together {
		for i := range v.queries {
			counts = append(counts, v.count(first, together, i))
		}
	}
	return counts
}

// Blank says whether some query of some head sees no key.
func (p *Problem) Blank() bool {
	if l := p.Layer; l != nil && (l.LearnedKey != nil || l.ZeroKey) {
		return false
	}
	scores := p.scores()
	v := p.view(last(scores))
	for n := range size(scores[:len(scores)-2]) {
		for i := range v.queries {
			if keys, _ := v.visible(n, i); len(keys) == 0 {
				return true
			}
		}
	}
	return false
}

// count is what [Problem.Visible] says of one row.
func (v view) count(first, heads, i int) int {
	keys, _ := v.visible(first, i)
	count := len(keys)
	for n := first + 1; n < first+heads; n++ {
		if keys, _ := v.visible(n, i); len(keys) != count {
			return max(2, count, len(keys))
		}
	}
	if count > 0 && v.p.Sinks != nil {
		count++
	}
	return count
}
