// Package variant holds float32 implementations of attention for tests: correct ones that add
// in different orders, and wrong ones. It shares no arithmetic with the attention package or
// with the oracle; from the oracle it takes the description of a problem alone.
package variant

import (
	"math"
	"slices"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// Variant is one way to compute attention in float32. The zero value adds from left to right.
type Variant struct {
	Name       string
	Dot        func(a, b []float32) float32 // nil: from left to right
	Tile       int                          // keys of one step of an online softmax; 0: the whole row at once
	FusedScale bool                         // the query is scaled, not the scores
	FusedInput bool                         // one product projects all that is made of one input
	Transposed bool                         // weights are stored (in, out)
	BiasFirst  bool                         // sums of a product begin with the bias
	Parts      int                          // threads that share the keys of a query, and merge their softmaxes; 0: one
	Store      func(float32) float32        // rounds every value that is stored; nil: float32

	// SplitIndex and MergeIndex say where feature e of head h stands in the concatenated heads of its
	// batch element, of the given length; nil: at [t][h][e].
	SplitIndex, MergeIndex func(s Sizes, h, t, e int) int
}

// Sizes are the sizes of one batch element.
type Sizes struct{ Length, Heads, Width int }

func concatenated(s Sizes, h, t, e int) int { return (t*s.Heads+h)*s.Width + e }

// Expresses says whether [Variant.Run] computes all that a problem is. It knows none of the hooks that
// hold arithmetic of their own, and no mistake inside a rotation or a norm.
func Expresses(p *oracle.Problem) bool {
	h := p.Hooks
	if h.Prepare != nil || h.Score != nil || h.VisibleScore != nil || h.MaskedScore != nil || h.Softmax != nil || h.Axis != oracle.OverKeys || h.Mix != nil {
		return false
	}
	l := p.Layer
	if p.Stored != nil || !p.Precision.IsFloat32() || l == nil {
		return p.Stored == nil && p.Precision.IsFloat32()
	}
	for _, t := range []*oracle.Rotary{l.QueryRotary, l.KeyRotary, l.ValueRotary, l.PastRotary} {
		if t != nil && (t.Exponent != nil || t.Position != nil || t.Round != nil || t.AcrossHeads) {
			return false
		}
	}
	for _, n := range []*oracle.Norm{l.QueryNorm, l.KeyNorm, l.ValueNorm} {
		if n != nil && (n.Centered || n.AcrossHeads) {
			return false
		}
	}
	return true
}

// Run computes a problem that [Expresses] takes, and widens the result.
func (v Variant) Run(p *oracle.Problem) []float64 {
	v = v.withDefaults()
	q, k, val := v.given(p.Query), v.given(p.Key), v.given(p.Value)
	lead := q.Shape[:len(q.Shape)-2]
	keys := k.Shape[len(k.Shape)-2]
	if l := p.Layer; l != nil {
		v = v.places(l)
		lead = []int{q.Shape[0], l.Heads}
		q, k, val = v.project(p)
		q = v.place(v.split(q, l.Heads), l.QueryNorm, l.QueryRotary, l.NormLast)
		k = v.place(v.split(k, l.KVHeads), l.KeyNorm, l.KeyRotary, l.NormLast)
		val = v.place(v.split(val, l.KVHeads), l.ValueNorm, l.ValueRotary, l.NormLast)
		if p.Past != nil {
			keys += p.Past.Key.Shape[2]
			k, val = glued(v.rotate(v.given(p.Past.Key), l.PastRotary), k), glued(v.given(p.Past.Value), val)
		}
		k, val = extended(k, l.LearnedKey, l.ZeroKey), extended(val, l.LearnedValue, l.ZeroKey)
	}
	out := v.attend(p, q, k, val, lead, keys)
	if l := p.Layer; l != nil {
		out = v.linear(v.merge(out, lead[0], l.Heads), l.Output)
	}
	return finished(p, out)
}

// finished widens a result, and moves its numbers where the problem says so.
func finished(p *oracle.Problem, out *attention.Tensor) []float64 {
	wide := make([]float64, len(out.Data))
	for i, x := range out.Data {
		wide[i] = float64(x)
	}
	if p.Finish == nil {
		return wide
	}
	shape := out.Shape
	if p.Layer == nil { // (N, L, Ev) stands for (..., H, L, Ev)
		shape = append(slices.Clone(p.Query.Shape[:len(p.Query.Shape)-2]), out.Shape[1:]...)
	}
	return p.Finish(oracle.Field{Shape: shape, Value: wide, Variance: make([]float64, len(wide))}).Value
}

// places takes over where a problem's features stand, unless the variant has its own mistake there.
func (v Variant) places(l *oracle.Layer) Variant {
	adapt := func(place func(oracle.Sizes, int, int, int) int) func(Sizes, int, int, int) int {
		return func(s Sizes, h, t, e int) int { return place(oracle.Sizes(s), h, t, e) }
	}
	if l.SplitIndex != nil {
		v.SplitIndex = adapt(l.SplitIndex)
	}
	if l.MergeIndex != nil {
		v.MergeIndex = adapt(l.MergeIndex)
	}
	return v
}

// project gives what queries, keys and values are before their heads are split, each by a product of its
// own, or by one for all that have the same input.
func (v Variant) project(p *oracle.Problem) (q, k, val *attention.Tensor) {
	l, query, key, value := p.Layer, v.given(p.Query), v.given(p.Key), v.given(p.Value)
	switch memory := slices.Equal(key.Data, value.Data) && l.Key.In == l.Value.In; {
	case v.FusedInput && memory && slices.Equal(query.Data, key.Data) && l.Query.In == l.Key.In:
		parts := v.stacked(query, l.Query, l.Key, l.Value)
		return parts[0], parts[1], parts[2]
	case v.FusedInput && memory:
		parts := v.stacked(key, l.Key, l.Value)
		return v.linear(query, l.Query), parts[0], parts[1]
	}
	return v.linear(query, l.Query), v.linear(key, l.Key), v.linear(value, l.Value)
}

// stacked multiplies by several weights, one below the other, and takes the results apart. Where some have
// a bias, that of the others is zero.
func (v Variant) stacked(x *attention.Tensor, maps ...oracle.Linear) []*attention.Tensor {
	all := oracle.Linear{In: maps[0].In}
	biased := slices.ContainsFunc(maps, func(m oracle.Linear) bool { return m.Bias != nil })
	for _, m := range maps {
		all.Weight, all.Out = append(all.Weight, m.Weight...), all.Out+m.Out
		if biased && m.Bias == nil {
			all.Bias = append(all.Bias, make([]float64, m.Out)...)
		}
		all.Bias = append(all.Bias, m.Bias...)
	}
	together := v.linear(x, all)
	var parts []*attention.Tensor
	first := 0
	for _, m := range maps {
		part := attention.NewTensor(x.Shape[0], x.Shape[1], m.Out)
		for row := range x.Shape[0] * x.Shape[1] {
			copy(part.Data[row*m.Out:][:m.Out], together.Data[row*all.Out+first:])
		}
		parts, first = append(parts, part), first+m.Out
	}
	return parts
}

// place norms and rotates, or the other way round.
func (v Variant) place(x *attention.Tensor, n *oracle.Norm, t *oracle.Rotary, normLast bool) *attention.Tensor {
	if normLast {
		return v.norm(v.rotate(x, t), n)
	}
	return v.rotate(v.norm(x, n), t)
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
	v.Parts = max(1, v.Parts)
	if v.SplitIndex == nil {
		v.SplitIndex = concatenated
	}
	if v.MergeIndex == nil {
		v.MergeIndex = concatenated
	}
	return v
}

// linear is y = x W^T + b.
func (v Variant) linear(x *attention.Tensor, m oracle.Linear) *attention.Tensor {
	switch {
	case m.Skipped:
		return x
	case v.Transposed:
		return v.linearTransposed(x, m)
	}
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
			y.Data[row*m.Out+o] = v.Store(v.sum(in, weight[o*m.In:][:m.In], m.Bias, o))
		}
	}
	return y
}

// sum is w x + b of one output.
func (v Variant) sum(in, weight []float32, bias []float64, o int) float32 {
	if bias == nil {
		return v.Dot(in, weight)
	}
	b := v.Store(float32(bias[o]))
	if v.BiasFirst {
		return v.Dot(append([]float32{1}, in...), append([]float32{b}, weight...))
	}
	return v.Dot(in, weight) + b
}

// linearTransposed goes through the stored weight, (in, out), row by row, and adds to all
// outputs at once, each step one fused multiply and add.
func (v Variant) linearTransposed(x *attention.Tensor, m oracle.Linear) *attention.Tensor {
	stored := make([]float32, len(m.Weight))
	for i, w := range m.Weight {
		stored[i%m.In*m.Out+i/m.In] = v.Store(float32(w))
	}
	y := attention.NewTensor(x.Shape[0], x.Shape[1], m.Out)
	for row := range x.Shape[0] * x.Shape[1] {
		out := y.Data[row*m.Out:][:m.Out]
		if m.Bias != nil && v.BiasFirst {
			for o, b := range m.Bias {
				out[o] = v.Store(float32(b))
			}
		}
		for i := range m.In {
			in := v.Store(x.Data[row*m.In+i])
			for o, w := range stored[i*m.Out:][:m.Out] {
				out[o] = float32(math.FMA(float64(in), float64(w), float64(out[o])))
			}
		}
		for o := range out {
			if m.Bias != nil && !v.BiasFirst {
				out[o] += v.Store(float32(m.Bias[o]))
			}
			out[o] = v.Store(out[o])
		}
	}
	return y
}

// split takes the heads apart: (B, T, H*E) -> (B, H, T, E).
func (v Variant) split(x *attention.Tensor, heads int) *attention.Tensor {
	s := Sizes{x.Shape[1], heads, x.Shape[2] / heads}
	y := attention.NewTensor(x.Shape[0], heads, s.Length, s.Width)
	s.each(x.Shape[0], func(base, apart, h, t, e int) {
		y.Data[apart] = x.Data[base+v.SplitIndex(s, h, t, e)]
	})
	return y
}

// merge puts the heads together: (N, T, E) -> (B, T, H*E).
func (v Variant) merge(x *attention.Tensor, batch, heads int) *attention.Tensor {
	s := Sizes{x.Shape[1], heads, x.Shape[2]}
	y := attention.NewTensor(batch, s.Length, heads*s.Width)
	s.each(batch, func(base, apart, h, t, e int) {
		y.Data[base+v.MergeIndex(s, h, t, e)] = x.Data[apart]
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
				partner := head / shared
				if p.KVHead != nil {
					partner = p.KVHead(head)
				}
				row := partner*all + j
				s := v.score(query, k.Data[row*e:][:e], float32(p.Scale))
				if p.Softcap > 0 {
					s = float32(p.Softcap) * float32(math.Tanh(float64(s/float32(p.Softcap))))
				}
				scores = append(scores, v.Store(s+m.added(head, i, j)))
				values = append(values, val.Data[row*ev:][:ev])
			}
			if empty := len(scores) == 0; !empty {
				for _, s := range m.valueless(head) { // keys whose value is zero
					scores, values = append(scores, s), append(values, make([]float32, ev))
				}
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

// context is softmax(scores) times the values, by one thread, or by several that have a share of the keys
// each, scale what they have to the largest score of all, and add it.
func (v Variant) context(scores []float32, values [][]float32, out []float32) {
	share := max(1, (len(scores)+v.Parts-1)/v.Parts)
	top, total := float32(math.Inf(-1)), float32(0)
	for at := 0; at < len(scores); at += share {
		end := min(at+share, len(scores))
		own := make([]float32, len(out))
		ownTop, ownTotal := v.share(scores[at:end], values[at:end], own)
		before := top
		top = max(top, ownTop)
		shrink, ownShrink := exp(before-top), exp(ownTop-top)
		total = total*shrink + ownTotal*ownShrink
		for c := range out {
			out[c] = out[c]*shrink + own[c]*ownShrink
		}
	}
	for c := range out {
		if total != 0 {
			out[c] = v.Store(out[c] / total)
		}
	}
}

// share adds values by the exponentials of their scores, in one step or with a running maximum and sum
// that are corrected tile by tile, as fused kernels do. It gives the largest score, and the sum.
func (v Variant) share(scores []float32, values [][]float32, out []float32) (top, total float32) {
	tile := v.Tile
	if tile == 0 {
		tile = max(1, len(scores))
	}
	top = float32(math.Inf(-1))
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
	return top, total
}

func exp(x float32) float32 { return float32(math.Exp(float64(x))) }
