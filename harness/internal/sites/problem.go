package sites

import (
	"math"
	"slices"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/graph"
	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// setScores takes over everything between the queries, keys and values and the context.
func setScores(p *oracle.Problem, n *graph.Node, m *scoresMask, factor float64) {
	p.Scale = n.Attributes.Scale * factor
	if c := n.Attributes.Softcap; c != nil {
		p.Softcap = *c
	}
	padding := m.padding()
	at := m.positionsOf(padding)
	p.Offset, p.Window = at.offset, at.window
	if at.causal {
		p.Causal = func(query, key int) bool { return key <= query }
	}
	shape := []int{m.batch, m.heads, m.queries, m.keys}
	if at.rest == nil && padding != nil {
		p.Padding = &attention.Mask{Shape: []int{m.batch, m.keys}, Data: padding}
	}
	if at.rest != nil {
		p.Block = &attention.Mask{Shape: shape, Data: slices.Clone(at.rest)}
		for i, sees := range at.rest {
			p.Block.Data[i] = !sees
		}
	}
	if p.Slopes = m.slopes(at.causal, at.offset); p.Slopes != nil {
		return
	}
	if p.Relative = m.relative(at.offset); p.Relative == nil && m.bias != nil {
		p.Bias = &oracle.Array{Shape: shape, Value: m.bias}
	}
}

// linearOf returns the rows of a linear layer that are the given features.
func linearOf(n *graph.Node, values graph.Values[float64], features []int) oracle.Linear {
	weight := values[n.Operands[1].Name]
	out, in, outStep, inStep := weight.Shape[0], weight.Shape[1], weight.Shape[1], 1
	if n.Attributes.Weight == "in, out" {
		out, in, outStep, inStep = weight.Shape[1], weight.Shape[0], 1, weight.Shape[1]
	}
	if features == nil {
		features = num.UpTo(out)
	}
	l := oracle.Linear{In: in, Out: len(features), Weight: make([]float64, 0, in*len(features))}
	for _, o := range features {
		for i := range in {
			l.Weight = append(l.Weight, weight.Data[o*outStep+i*inStep])
		}
	}
	if bias := n.Operands[2]; !bias.Absent {
		for _, o := range features {
			l.Bias = append(l.Bias, values[bias.Name].Data[o])
		}
	}
	return l
}

// withInputOrder returns a linear layer whose inputs come in another order.
func withInputOrder(l oracle.Linear, order []int) oracle.Linear {
	weight := make([]float64, 0, len(l.Weight))
	for o := range l.Out {
		for _, i := range order {
			weight = append(weight, l.Weight[o*l.In+i])
		}
	}
	l.Weight = weight
	return l
}

// normOf returns the norm on a path, nil if there is none. It returns false if it is no norm of a
// head.
func normOf(p *path, s *split, values graph.Values[float64]) (*oracle.Norm, bool) {
	if p.norm == nil {
		return nil, true
	}
	if num.Last(p.norm.Shape) != s.width {
		return nil, false
	}
	norm := &oracle.Norm{Epsilon: p.norm.Attributes.Eps, Weight: slices.Repeat([]float64{1}, s.width)}
	if w := p.norm.Operands[1]; !w.Absent {
		for i, x := range values[w.Name].Data {
			norm.Weight[i] = x + p.norm.Attributes.Offset
		}
	}
	return norm, true
}

// gathered returns some rows of a tensor whose last dimension has features, as (batch, tokens,
// features).
func gathered(t *graph.Tensor[float64], s *split) oracle.Array {
	width := num.Last(t.Shape)
	a := oracle.Array{Shape: []int{s.batch, s.length, width}, Value: make([]float64, 0, len(s.rows)*width)}
	for _, row := range s.rows {
		a.Value = append(a.Value, t.Data[row*width:][:width]...)
	}
	return a
}

// reproduction is how closely a problem must give the value of its site, of the largest value.
const reproduction = 1e-12

// near reports whether two lists of numbers are the same to reproduction.
func near(got, want []float64) bool {
	worst, largest := 0.0, 0.0
	for i, w := range want {
		worst, largest = math.Max(worst, math.Abs(got[i]-w)), math.Max(largest, math.Abs(w))
	}
	return worst <= reproduction*largest && len(got) == len(want)
}
