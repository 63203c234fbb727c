package oracle

import (
	"math"
	"slices"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/fixture"
)

// Problem is one attention computation, everything that decides its result laid open. A mistake
// is a change to a [Problem.Clone] of it.
type Problem struct {
	Query, Key, Value *attention.Tensor // SDPA: (..., T, E), a layer: (B, T, width)

	Layer *Layer  // nil: scaled dot-product attention alone
	Scale float64 // of the scores

	Causal   bool              // query i sees keys 0..i
	Allow    *attention.Mask   // broadcastable to the scores, true takes part
	Block    *attention.Mask   // (L, S), true is ignored
	Padding  *attention.Mask   // (B, S), true is ignored
	Bias     *attention.Tensor // broadcastable to the scores, added to them
	EmptyRow attention.EmptyRow
}

// Layer is what multi-head attention has around its core.
type Layer struct {
	Heads                     int
	Query, Key, Value, Output Linear

	// Split and Merge say where the features of a head stand before the heads are taken apart
	// and after they are put together again; nil: where they belong, see [Sizes.Concatenated].
	Split, Merge func(s Sizes, head, t, feature int) int
}

// Sizes are those of one batch element: T positions, H heads, E features a head.
type Sizes struct{ Length, Heads, Width int }

// Concatenated is the place of a feature in (T, H*E): the heads of a position side by side.
func (s Sizes) Concatenated(head, t, feature int) int {
	return (t*s.Heads+head)*s.Width + feature
}

// Linear is y = x Weight^T + Bias.
type Linear struct {
	Weight  []float64 // (Out, In)
	Bias    []float64 // (Out), nil for none
	In, Out int
}

// FromCase lays a validated case open.
func FromCase(c *fixture.Case) *Problem {
	p := &Problem{Query: c.Inputs.Query, Key: c.Inputs.Key, Value: c.Inputs.Value, EmptyRow: c.EmptyRow()}
	if c.Op == fixture.SDPA {
		p.Causal = c.Options.Causality == attention.TopLeft
		p.Allow, p.Bias, p.Scale = c.Options.Allow, c.Options.Bias, c.Options.Scale
		if p.Scale == 0 {
			p.Scale = 1 / math.Sqrt(float64(last(p.Query.Shape)))
		}
		return p
	}
	p.Causal = !c.Layer.Bidirectional
	p.Block, p.Padding = c.Inputs.Block, c.Inputs.Padding
	p.Layer = layer(c.Layer, c.State)
	p.Scale = 1 / math.Sqrt(float64(p.Layer.Query.Out/p.Layer.Heads))
	return p
}

func last(shape []int) int { return shape[len(shape)-1] }

// layer finds the four linear maps in a state dict.
func layer(c attention.Config, state attention.StateDict) *Layer {
	weight := func(key string, part, parts int) Linear {
		t := state[key]
		out := t.Shape[0] / parts
		return Linear{Weight: rows(t, part, parts), Out: out, In: t.Shape[1]}
	}
	var l Layer
	switch _, packed := state["in_proj_weight"]; {
	case c.Keys == attention.SeedKeys:
		l = Layer{Query: weight("W_Q", 0, 1), Key: weight("W_K", 0, 1), Value: weight("W_V", 0, 1), Output: weight("W_O", 0, 1)}
	case packed:
		l = Layer{Query: weight("in_proj_weight", 0, 3), Key: weight("in_proj_weight", 1, 3),
			Value: weight("in_proj_weight", 2, 3), Output: weight("out_proj.weight", 0, 1)}
	default:
		l = Layer{Query: weight("q_proj_weight", 0, 1), Key: weight("k_proj_weight", 0, 1),
			Value: weight("v_proj_weight", 0, 1), Output: weight("out_proj.weight", 0, 1)}
	}
	if bias := state["in_proj_bias"]; bias != nil {
		l.Query.Bias, l.Key.Bias, l.Value.Bias = rows(bias, 0, 3), rows(bias, 1, 3), rows(bias, 2, 3)
		l.Output.Bias = rows(state["out_proj.bias"], 0, 1)
	}
	l.Heads = c.NumHeads
	return &l
}

// rows gives one of equal parts of a stacked parameter.
func rows(t *attention.Tensor, part, parts int) []float64 {
	n := len(t.Data) / parts
	return t.Float64s()[part*n:][:n]
}

// Clone copies what a mistake may change: the masks' presence, the scale, the parameters.
func (p *Problem) Clone() *Problem {
	q := *p
	if p.Layer != nil {
		l := *p.Layer
		for _, m := range l.Linears() {
			m.Weight, m.Bias = slices.Clone(m.Weight), slices.Clone(m.Bias)
		}
		q.Layer = &l
	}
	return &q
}

// Only is the problem of one place in the first dimension of the inputs, a batch element: its
// result is that part of the whole result, because nothing crosses from one to another.
func (p *Problem) Only(b int) *Problem {
	q := *p
	part := func(t *attention.Tensor) *attention.Tensor {
		n := len(t.Data) / t.Shape[0]
		return &attention.Tensor{Shape: one(t.Shape), Data: t.Data[b*n:][:n]}
	}
	mask := func(m *attention.Mask) *attention.Mask {
		n := len(m.Data) / m.Shape[0]
		return &attention.Mask{Shape: one(m.Shape), Data: m.Data[b*n:][:n]}
	}
	q.Query, q.Key, q.Value = part(p.Query), part(p.Key), part(p.Value)
	if p.Padding != nil {
		q.Padding = mask(p.Padding)
	}
	whole := len(p.scores()) // a mask of fewer dimensions, or of 1 in the first, is the same for all
	if p.Allow != nil && len(p.Allow.Shape) == whole && p.Allow.Shape[0] > 1 {
		q.Allow = mask(p.Allow)
	}
	if p.Bias != nil && len(p.Bias.Shape) == whole && p.Bias.Shape[0] > 1 {
		q.Bias = part(p.Bias)
	}
	return &q
}

// one is a shape with a first dimension of 1.
func one(shape []int) []int {
	return append([]int{1}, shape[1:]...)
}

// Linears are the four maps, query, key, value, output.
func (l *Layer) Linears() []*Linear {
	return []*Linear{&l.Query, &l.Key, &l.Value, &l.Output}
}

// heads is how many heads one batch element has, as masks count them.
func (p *Problem) heads() int {
	if p.Layer != nil {
		return p.Layer.Heads
	}
	return 1
}

// sizes gives the number of heads over all batch elements, of queries and of keys.
func (p *Problem) sizes() (n, queries, keys int) {
	q, k := p.Query.Shape, p.Key.Shape
	return size(q[:len(q)-2]) * p.heads(), q[len(q)-2], k[len(k)-2]
}

// scores is the shape that masks are broadcast to.
func (p *Problem) scores() []int {
	_, queries, keys := p.sizes()
	lead := p.Query.Shape[:len(p.Query.Shape)-2]
	if p.Layer != nil {
		lead = append(slices.Clone(lead), p.Layer.Heads)
	}
	return append(slices.Clone(lead), queries, keys)
}
