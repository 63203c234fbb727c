// Package variant holds float32 implementations of attention for tests: correct ones that add
// in different orders, and wrong ones. It shares no arithmetic with the attention package or
// with the oracle; from the oracle it takes the description of a problem alone.
package variant

import (
	"math"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/oracle"
)

// Variant is one way to compute attention in float32. The zero value adds from left to right.
type Variant struct {
	Name       string
	Dot        func(a, b []float32) float32 // nil: from left to right
	Tile       int                          // keys of one step of an online softmax; 0: the whole row at once
	FusedScale bool                         // the query is scaled, not the scores
	Store      func(float32) float32        // rounds every value that is stored; nil: float32

	// Split and Merge say where feature e of head h stands in the concatenated heads of its
	// batch element, of the given length; nil: at [t][h][e].
	Split, Merge func(s Sizes, h, t, e int) int
}

// Sizes are the sizes of one batch element.
type Sizes struct{ Length, Heads, Width int }

func concatenated(s Sizes, h, t, e int) int { return (t*s.Heads+h)*s.Width + e }

// Run computes a problem and widens the result.
func (v Variant) Run(p *oracle.Problem) []float64 {
	v = v.withDefaults()
	q, k, val := v.given(p.Query), v.given(p.Key), v.given(p.Value)
	lead := q.Shape[:len(q.Shape)-2]
	keys := k.Shape[len(k.Shape)-2]
	if l := p.Layer; l != nil {
		lead = []int{q.Shape[0], l.Heads}
		q = v.rotate(v.norm(v.split(v.linear(q, l.Query), l.Heads), l.QueryNorm), l.QueryTurn)
		k = v.rotate(v.norm(v.split(v.linear(k, l.Key), l.KVHeads), l.KeyNorm), l.KeyTurn)
		val = v.split(v.linear(val, l.Value), l.KVHeads)
		if p.Past != nil {
			keys += p.Past.Key.Shape[2]
			k, val = glued(v.given(p.Past.Key), k), glued(v.given(p.Past.Value), val)
		}
		k, val = extended(k, l.LearnedKey, l.ZeroKey), extended(val, l.LearnedValue, l.ZeroKey)
	}
	out := v.attend(p, q, k, val, lead, keys)
	if l := p.Layer; l != nil {
		out = v.linear(v.merge(out, lead[0], l.Heads), l.Output)
	}
	wide := make([]float64, len(out.Data))
	for i, x := range out.Data {
		wide[i] = float64(x)
	}
	return wide
}

// given is an input as it is stored.
func (v Variant) given(a oracle.Array) *attention.Tensor {
	t := attention.NewTensor(a.Shape...)
	for i, x := range a.Value {
		t.Data[i] = v.Store(float32(x))
	}
	return t
}

func (v Variant) withDefaults() Variant {
	if v.Dot == nil {
		v.Dot = Sequential
	}
	if v.Store == nil {
		v.Store = func(x float32) float32 { return x }
	}
	if v.Split == nil {
		v.Split = concatenated
	}
	if v.Merge == nil {
		v.Merge = concatenated
	}
	return v
}

// linear is y = x W^T + b.
func (v Variant) linear(x *attention.Tensor, m oracle.Linear) *attention.Tensor {
	y := attention.NewTensor(x.Shape[0], x.Shape[1], m.Out)
	weight := make([]float32, len(m.Weight))
	for i, w := range m.Weight {
		weight[i] = v.Store(float32(w))
	}
	in := make([]float32, m.In)
	for row := range x.Shape[0] * x.Shape[1] {
		for i := range in {
			in[i] = v.Store(x.Data[row*m.In+i])
		}
		for o := range m.Out {
			sum := v.Dot(in, weight[o*m.In:][:m.In])
			if m.Bias != nil {
				sum += v.Store(float32(m.Bias[o]))
			}
			y.Data[row*m.Out+o] = v.Store(sum)
		}
	}
	return y
}

// split takes the heads apart: (B, T, H*E) -> (B, H, T, E).
func (v Variant) split(x *attention.Tensor, heads int) *attention.Tensor {
	s := Sizes{x.Shape[1], heads, x.Shape[2] / heads}
	y := attention.NewTensor(x.Shape[0], heads, s.Length, s.Width)
	s.each(x.Shape[0], func(base, apart, h, t, e int) {
		y.Data[apart] = x.Data[base+v.Split(s, h, t, e)]
	})
	return y
}

// merge puts the heads together: (N, T, E) -> (B, T, H*E).
func (v Variant) merge(x *attention.Tensor, batch, heads int) *attention.Tensor {
	s := Sizes{x.Shape[1], heads, x.Shape[2]}
	y := attention.NewTensor(batch, s.Length, heads*s.Width)
	s.each(batch, func(base, apart, h, t, e int) {
		y.Data[base+v.Merge(s, h, t, e)] = x.Data[apart]
	})
	return y
}

// each visits every feature: where its batch element begins, and its place when the heads stand
// apart.
func (s Sizes) each(batch int, f func(base, apart, h, t, e int)) {
	apart := 0
	for b := range batch {
		for h := range s.Heads {
			for t := range s.Length {
				for e := range s.Width {
					f(b*s.Length*s.Heads*s.Width, apart, h, t, e)
					apart++
				}
			}
		}
	}
}

// attend computes all heads: -> (N, L, Ev). keys is without those that stand behind all others.
func (v Variant) attend(p *oracle.Problem, q, k, val *attention.Tensor, lead []int, keys int) *attention.Tensor {
	dims, n := len(q.Shape), 1
	for _, d := range lead {
		n *= d
	}
	queries, all, e, ev := q.Shape[dims-2], k.Shape[dims-2], q.Shape[dims-1], val.Shape[dims-1]
	shared := n / (len(k.Data) / (all * e)) // heads that use one key head
	out := attention.NewTensor(n, queries, ev)
	m := newMasks(p, lead, queries, keys)
	for head := range n {
		for i := range queries {
			query := q.Data[(head*queries+i)*e:][:e]
			var scores []float32
			var values [][]float32
			for j := range all {
				if m.hidden(head, i, j) {
					continue
				}
				row := head/shared*all + j
				s := v.score(query, k.Data[row*e:][:e], float32(p.Scale))
				if p.Softcap > 0 {
					s = float32(p.Softcap) * float32(math.Tanh(float64(s/float32(p.Softcap))))
				}
				scores = append(scores, v.Store(s+m.added(head, i, j)))
				values = append(values, val.Data[row*ev:][:ev])
			}
			if p.Sinks != nil && len(scores) > 0 { // a key whose value is zero
				scores = append(scores, float32(p.Sinks[head%m.perBatch]))
				values = append(values, make([]float32, ev))
			}
			context := out.Data[(head*queries+i)*ev:][:ev]
			v.context(scores, values, context)
			if len(scores) == 0 && p.Sinks == nil && p.EmptyRow == attention.EmptyNaN {
				for c := range context {
					context[c] = float32(math.NaN())
				}
			}
		}
	}
	return out
}

func (v Variant) score(query, key []float32, scale float32) float32 {
	if !v.FusedScale {
		return scale * v.Dot(query, key)
	}
	scaled := make([]float32, len(query))
	for i, x := range query {
		scaled[i] = v.Store(scale * x)
	}
	return v.Dot(scaled, key)
}

// context is softmax(scores) times the values, in one step or with a running maximum and sum
// that are corrected tile by tile, as fused kernels do.
func (v Variant) context(scores []float32, values [][]float32, out []float32) {
	tile := v.Tile
	if tile == 0 {
		tile = max(1, len(scores))
	}
	top, total := float32(math.Inf(-1)), float32(0)
	for at := 0; at < len(scores); at += tile {
		end := min(at+tile, len(scores))
		before := top
		for _, s := range scores[at:end] {
			top = max(top, s)
		}
		shrink := exp(before - top)
		total *= shrink
		weights := make([]float32, end-at)
		for j, s := range scores[at:end] {
			weights[j] = v.Store(exp(s - top))
			total += weights[j]
		}
		column := make([]float32, end-at)
		for c := range out {
			for j := range column {
				column[j] = values[at+j][c]
			}
			out[c] = out[c]*shrink + v.Dot(weights, column)
		}
	}
	for c := range out {
		if total != 0 {
			out[c] = v.Store(out[c] / total)
		}
	}
}

func exp(x float32) float32 { return float32(math.Exp(float64(x))) }
