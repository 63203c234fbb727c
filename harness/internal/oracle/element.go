package oracle

import "github.com/difftest/difftest/attention"

// Independent reports whether no element of the first dimension can influence another. It is false
// for most hooks that see the whole batch, even where they do not mix its elements.
func (p *Problem) Independent() bool {
	apart := p.Turn == nil && (p.Prepare == nil || !p.firstIsHead())
	return apart && p.KVHead == nil && p.Mix == nil && p.Finish == nil && p.Axis != OverBatch
}

// firstIsHead reports whether the first dimension of the inputs is the heads: there is no batch.
func (p *Problem) firstIsHead() bool { return p.Layer == nil && len(p.Query.Shape) == 3 }

// Element returns the problem of index b in the first dimension of the inputs: one batch element,
// or one head if there is no batch. The problem must be [Problem.Independent]. The result is then
// the same part of the whole result.
func (p *Problem) Element(b int) *Problem {
	q := *p
	q.cache, q.loans = nil, nil
	kv := b * p.Key.Shape[0] / p.Query.Shape[0] // differs from b if the elements are grouped heads
	q.Query, q.Key, q.Value = p.Query.element(b), p.Key.element(kv), p.Value.element(kv)
	q.Slopes, q.Sinks = p.constantsOf(p.Slopes, b), p.constantsOf(p.Sinks, b)
	if p.Past != nil {
		q.Past = &Past{p.Past.Key.element(kv), p.Past.Value.element(kv)}
	}
	if p.Padding != nil {
		q.Padding = maskElement(p.Padding, b)
	}
	q.Offsets = elementOf(p.Offsets, b)
	q.CausalShift, q.WindowShift = elementOf(p.CausalShift, b), elementOf(p.WindowShift, b)
	// A mask of fewer dimensions, or with a first dimension of 1, serves all elements.
	whole := len(p.scores())
	for _, m := range []**attention.Mask{&q.Allow, &q.Block, &q.MisplacedPadding} {
		if *m != nil && len((*m).Shape) == whole && (*m).Shape[0] > 1 {
			*m = maskElement(*m, b)
		}
	}
	if p.Bias != nil && len(p.Bias.Shape) == whole && p.Bias.Shape[0] > 1 {
		bias := p.Bias.element(b)
		q.Bias = &bias
	}
	return &q
}

func (a Array) element(b int) Array {
	n := len(a.Value) / a.Shape[0]
	return Array{Shape: oneElement(a.Shape), Value: a.Value[b*n:][:n]}
}

func maskElement(m *attention.Mask, b int) *attention.Mask {
	n := len(m.Data) / m.Shape[0]
	return &attention.Mask{Shape: oneElement(m.Shape), Data: m.Data[b*n:][:n]}
}

// elementOf returns values[b] as a slice; nil if there are no values.
func elementOf(values []int, b int) []int {
	if values == nil {
		return nil
	}
	return values[b : b+1]
}

// constantsOf returns the constants of index b in the first dimension, one for each of its heads.
// Batch elements share values (H), and not values (B*H). It returns nil for nil.
func (p *Problem) constantsOf(values []float64, b int) []float64 {
	elements := p.Query.Shape[0]
	if values == nil || !p.firstIsHead() && len(values) == p.heads() {
		return values
	}
	n := len(values) / elements
	return values[b*n:][:n]
}

// oneElement returns a shape with 1 for its first dimension.
func oneElement(shape []int) []int {
	return append([]int{1}, shape[1:]...)
}
