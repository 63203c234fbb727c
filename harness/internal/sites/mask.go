package sites

import (
	"slices"

	"github.com/difftest/difftest/harness/internal/graph"
	"github.com/difftest/difftest/harness/internal/num"
)

// hidden is the largest number whose addition to a score hides a key. Models add -10000, the lowest
// finite number of a type, or -Inf.
const hidden = -9999

// scoresMask holds, for each score (batch, heads, queries, keys), whether its key is seen and the
// number that attention adds.
type scoresMask struct {
	batch, heads, queries, keys int
	sees                        []bool
	bias                        []float64 // nil if nothing is added
	known                       []bool    // the bias is known: no number hides it
}

// each calls f for every element.
func (m *scoresMask) each(f func(at, b, h, i, j int)) {
	at := 0
	for b := range m.batch {
		for h := range m.heads {
			for i := range m.queries {
				for j := range m.keys {
					f(at, b, h, i, j)
					at++
				}
			}
		}
	}
}

// maskOf returns the mask of a node of attention. Its scores have a shape whose leading dimensions
// are batch elements and heads, in this order.
func maskOf(v *graph.View, values graph.Values[float64], n *graph.Node, shape []int, heads int) *scoresMask {
	rank := len(shape)
	m := &scoresMask{
		batch: num.Size(shape[:rank-2]) / heads, heads: heads, queries: shape[rank-2], keys: shape[rank-1],
		sees: make([]bool, num.Size(shape)), known: make([]bool, num.Size(shape)),
	}
	m.each(func(at, _, _, i, j int) {
		m.sees[at], m.known[at] = !n.Attributes.Causal || j <= i, true
	})
	for _, o := range addends(v, n.Operands[3]) {
		m.add(values[o.Name], shape)
	}
	return m
}

// addends returns the values whose sum a mask is.
func addends(v *graph.View, o graph.Operand) []graph.Operand {
	if o.Absent {
		return nil
	}
	if n := v.Maker(o); n != nil && n.Op == "add" && n.Operands[0].Name != "" && n.Operands[1].Name != "" {
		return append(addends(v, n.Operands[0]), addends(v, n.Operands[1])...)
	}
	return []graph.Operand{o}
}

// add adds a mask that is broadcast to the scores.
func (m *scoresMask) add(mask *graph.Tensor[float64], shape []int) {
	place := newBroadcast(mask.Shape, shape)
	adds := !mask.Bool && slices.ContainsFunc(mask.Data, func(x float64) bool { return x != 0 && x > hidden })
	if adds && m.bias == nil {
		m.bias = make([]float64, len(m.sees))
	}
	for at := range m.sees {
		switch x := mask.Data[place.index(at)]; {
		case mask.Bool && x == 0, !mask.Bool && x <= hidden:
			m.sees[at] = false
			m.known[at] = m.known[at] && !adds
		case adds:
			m.bias[at] += x
		}
	}
}

// padding returns the keys that no query of a batch element sees, (batch, keys), or nil if there
// are none.
func (m *scoresMask) padding() []bool {
	padding := slices.Repeat([]bool{true}, m.batch*m.keys)
	m.each(func(at, b, _, _, j int) {
		if m.sees[at] {
			padding[b*m.keys+j] = false
		}
	})
	if !slices.Contains(padding, true) {
		return nil
	}
	return padding
}

// positions are the parts of a mask that depend on the positions of query and key.
type positions struct {
	causal bool
	offset int // position of the first query, if its mask says so
	window int // 0 if there is none
	// explain reports whether they and the padding are the whole mask.
	explain bool
}

// positionsOf finds a causal mask and a window beside the padding.
func (m *scoresMask) positionsOf(padding []bool) positions {
	var p positions
	padded := func(b, j int) bool { return padding != nil && padding[b*m.keys+j] }
	p.causal, p.offset = m.causal(padded)
	p.window = m.window(p, padded)
	p.explain = true
	m.each(func(at, b, _, i, j int) {
		d := i + p.offset - j
		sees := !padded(b, j) && (!p.causal || d >= 0) && (p.window == 0 || d < p.window && -d < p.window)
		p.explain = p.explain && sees == m.sees[at]
	})
	if !p.explain {
		return positions{}
	}
	return p
}

// causal reports whether no query sees a later key, and the position of the first query.
func (m *scoresMask) causal(padded func(b, j int) bool) (causal bool, offset int) {
	offsets := []int{0, m.keys - m.queries}
	if m.keys <= m.queries {
		offsets = offsets[:1]
	}
	for _, offset := range offsets {
		hides, sees := false, false
		m.each(func(at, b, _, i, j int) {
			if j > i+offset && !padded(b, j) {
				hides, sees = hides || !m.sees[at], sees || m.sees[at]
			}
		})
		if hides && !sees {
			return true, offset
		}
	}
	return false, 0
}

// window returns the distance from which on no key is seen, or 0 if keys at every distance are.
func (m *scoresMask) window(p positions, padded func(b, j int) bool) int {
	seen, hides := 0, false
	distance := func(i, j int) int {
		if d := i + p.offset - j; d >= 0 {
			return d
		} else if p.causal {
			return -1 // hidden by causality
		} else {
			return -d
		}
	}
	m.each(func(at, _, _, i, j int) {
		if m.sees[at] {
			seen = max(seen, distance(i, j))
		}
	})
	m.each(func(_, b, _, i, j int) { hides = hides || !padded(b, j) && distance(i, j) > seen })
	if !hides {
		return 0
	}
	return seen + 1
}
