// Package variant holds float32 implementations of attention for tests: correct ones that add in
// different orders, and wrong ones. It shares no arithmetic with package attention or with the
// oracle, from which it takes only the description of a problem.
package variant

import (
	"slices"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// Variant is one way to compute attention in float32. The zero value adds from left to right.
type Variant struct {
	Name string
	// Dot returns a dot product; nil adds from left to right.
	Dot func(a, b []float32) float32
	// Tile is the number of keys in one step of an online softmax; 0 takes a whole row at once.
	Tile int
	// FusedScale scales the query instead of the scores.
	FusedScale bool
	// FusedInput applies all projections of one input in one product.
	FusedInput bool
	// Transposed stores weights as (in, out).
	Transposed bool
	// BiasFirst begins the sums of a projection with the bias.
	BiasFirst bool
	// Parts is the number of threads that share the keys of a query and merge their softmaxes; 0
	// means one.
	Parts int
	// Slopes says what ALiBi's slopes are multiplied by.
	Slopes Slopes
	// Store rounds every value that is stored; nil stores float32.
	Store func(float32) float32

	// SplitIndex and MergeIndex return the index of feature e of head h at position t in the
	// concatenated heads of a batch element; nil means [t][h][e].
	SplitIndex, MergeIndex func(s Sizes, h, t, e int) int
}

// Slopes is a way to compute ALiBi. All ways are the same in a row, but for a constant that the
// softmax drops.
type Slopes int

// The ways to compute ALiBi. ByKey and FromLast are used where they give the right output: every
// score has a slope, and no query sees a later key.
const (
	ByDistance Slopes = iota // a slope times j - i
	ByKey                    // a slope times j, as Bloom does
	FromLast                 // a slope times j - (S-1), as MPT does
)

// Expresses reports whether [Variant.Run] can compute a problem. Run does not know the hooks with
// arithmetic of their own, and no mistakes inside a rotation or a norm.
func Expresses(p *oracle.Problem) bool {
	h := p.Hooks
	if h.Prepare != nil || h.Score != nil || h.VisibleScore != nil || h.MaskedScore != nil ||
		h.Softmax != nil || h.Axis != oracle.OverKeys || h.Mix != nil {
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

// Run computes a problem for which [Expresses] is true, and converts the result to float64.
func (v Variant) Run(p *oracle.Problem) []float64 {
	v = v.withDefaults()
	if p.Turn != nil {
		return finished(p, v.turn(p))
	}
	q, k, val := v.input(p.Query), v.input(p.Key), v.input(p.Value)
	lead := q.Shape[:len(q.Shape)-2]
	keys := k.Shape[len(k.Shape)-2]
	if p.Layer == nil && p.Past != nil {
		keys += p.Past.Key.Shape[len(p.Past.Key.Shape)-2]
		k, val = concatenate(v.input(p.Past.Key), k), concatenate(v.input(p.Past.Value), val)
	}
	if l := p.Layer; l != nil {
		v = v.withIndices(l)
		lead = []int{q.Shape[0], l.Heads}
		q, k, val = v.project(p)
		q = v.normAndRotate(l, v.splitHeads(q, l.Heads), l.QueryNorm, l.QueryRotary)
		k = v.normAndRotate(l, v.splitHeads(k, l.KVHeads), l.KeyNorm, l.KeyRotary)
		val = v.normAndRotate(l, v.splitHeads(val, l.KVHeads), l.ValueNorm, l.ValueRotary)
		if p.Past != nil {
			keys += p.Past.Key.Shape[len(p.Past.Key.Shape)-2]
			k = concatenate(v.rotate(v.input(p.Past.Key), l.PastRotary), k)
			val = concatenate(v.input(p.Past.Value), val)
		}
		k, val = appendKeys(k, l.LearnedKey, l), appendKeys(val, l.LearnedValue, l)
	}
	out := v.attend(p, q, k, val, lead, keys)
	if l := p.Layer; l != nil {
		out = v.linear(v.mergeHeads(out, lead[0], l.Heads), l.Output)
	}
	return finished(p, out)
}

// finished converts a result to float64 and applies the Finish hook.
func finished(p *oracle.Problem, out *attention.Tensor) []float64 {
	wide := make([]float64, len(out.Data))
	for i, x := range out.Data {
		wide[i] = float64(x)
	}
	if p.Finish == nil {
		return wide
	}
	shape := out.Shape
	if p.Layer == nil && p.Turn == nil { // (N, L, Ev) is (..., H, L, Ev)
		shape = append(slices.Clone(p.Query.Shape[:len(p.Query.Shape)-2]), out.Shape[1:]...)
	}
	return p.Finish(oracle.Field{Shape: shape, Value: wide, Variance: make([]float64, len(wide))}).Value
}

// withIndices takes SplitIndex and MergeIndex from a layer, if the layer has them.
func (v Variant) withIndices(l *oracle.Layer) Variant {
	adapt := func(index func(oracle.Sizes, int, int, int) int) func(Sizes, int, int, int) int {
		return func(s Sizes, h, t, e int) int { return index(oracle.Sizes(s), h, t, e) }
	}
	if l.SplitIndex != nil {
		v.SplitIndex = adapt(l.SplitIndex)
	}
	if l.MergeIndex != nil {
		v.MergeIndex = adapt(l.MergeIndex)
	}
	return v
}

// normAndRotate applies a norm and rotary positions, in the order of the layer.
func (v Variant) normAndRotate(
	l *oracle.Layer, x *attention.Tensor, n *oracle.Norm, t *oracle.Rotary,
) *attention.Tensor {
	if l.NormLast {
		return v.norm(v.rotate(x, t), n)
	}
	return v.rotate(v.norm(x, n), t)
}

// input returns an input as the variant stores it.
func (v Variant) input(a oracle.Array) *attention.Tensor {
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
