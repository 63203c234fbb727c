package oracle

import (
	"reflect"
	"slices"

	"github.com/difftest/difftest/attention"
)

// Prefix returns the problem of the first n tokens of a batch element. Its result is the same rows
// of the whole result, to the last bit, unless variances are computed. Prefix returns nil if these
// rows may need more than these tokens.
func (p *Problem) Prefix(b, n int) *Problem {
	if !p.hasPrefix(b, n) {
		return nil
	}
	q := p.Element(b)
	q.afterContext = false
	for _, in := range []*Array{&q.Query, &q.Key, &q.Value} {
		width := in.Shape[2]
		*in = Array{Shape: []int{1, n, width}, Value: in.Value[:n*width]}
	}
	if q.Padding != nil {
		q.Padding = &attention.Mask{Shape: []int{1, n}, Data: q.Padding.Data[:n]}
	}
	return q
}

// hasPrefix reports whether rows before n of a batch element need tokens before n alone.
func (p *Problem) hasPrefix(b, n int) bool {
	l := p.Layer
	if l == nil || p.Past != nil || p.Allow != nil || p.Block != nil || p.Bias != nil || p.EmptyMean {
		return false
	}
	if l.SplitIndex != nil || l.MergeIndex != nil || l.LearnedKey != nil || l.ZeroKey {
		return false
	}
	if p.Turn != nil || !reflect.ValueOf(p.Hooks).IsZero() {
		return false
	}
	lengths := []int{p.Query.Shape[1], p.Key.Shape[1], p.Value.Shape[1]}
	keys := p.Key.Shape[1]
	if p.Key.Shape[0] != p.Query.Shape[0] || slices.Min(lengths) < n || keys != p.Value.Shape[1] {
		return false
	}
	m := p.masks(keys)
	for i := range n {
		v := m.viewer(b*m.heads, i)
		for j := n; j < keys; j++ {
			if m.sees(&v, j) {
				return false
			}
		}
	}
	return true
}

// CachedParts is [Problem.Cached] for a problem that remembers queries, keys, values and context,
// and no products. The result shares the output weight with whole, the problem that p is a part of.
func (p *Problem) CachedParts(whole *Problem) *Problem {
	q := p.Fork()
	q.cache = newCache(q, &products{})
	q.shareOutput(whole)
	return q
}

// ProjectsAnew reports whether keys or values are products of other inputs or weights than the
// inputs and weights of the problem that owns the cache.
func (p *Problem) ProjectsAnew() bool {
	if p.cache == nil || p.Layer == nil {
		return true
	}
	own := p.sources()
	for _, r := range []role{keyRole, valueRole} {
		if right := p.cache.sources[r]; own[r].input != right.input || own[r].weight != right.weight {
			return true
		}
	}
	return false
}
