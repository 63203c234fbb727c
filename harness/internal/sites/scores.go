package sites

import (
	"slices"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/graph"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// setScores takes over what a node of attention does between its operands and the context. shape is
// the scores' in the problem. The scale multiplies the one that the problem has.
func setScores(p *oracle.Problem, values graph.Values[float64], n *graph.Node, m *scoresMask, shape []int) {
	if p.Layer == nil {
		p.Scale = 1
	}
	p.Scale *= n.Attributes.Scale
	if c := n.Attributes.Softcap; c != nil {
		p.Softcap = *c
	}
	if sinks := n.Operands[4]; !sinks.Absent {
		p.Sinks = slices.Clone(values[sinks.Name].Wide().Data)
	}
	padding := m.padding()
	at := m.positionsOf(padding)
	p.Offset, p.Window = at.offset, at.window
	if at.causal {
		p.Causal = func(query, key int) bool { return key <= query }
	}
	switch {
	case !at.explain && p.Layer == nil:
		p.Allow = &attention.Mask{Shape: shape, Data: m.sees}
	case !at.explain:
		hides := make([]bool, len(m.sees))
		for i, sees := range m.sees {
			hides[i] = !sees
		}
		p.Block = &attention.Mask{Shape: shape, Data: hides}
	case padding != nil:
		p.Padding = &attention.Mask{Shape: []int{m.batch, m.keys}, Data: padding}
	}
	if p.Slopes = m.slopes(at.offset); p.Slopes != nil {
		return
	}
	if p.Relative = m.relative(at.offset); p.Relative == nil && m.bias != nil {
		p.Bias = &oracle.Array{Shape: shape, Value: m.bias}
	}
}
