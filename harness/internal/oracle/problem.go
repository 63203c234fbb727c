package oracle

import (
	"slices"

	"github.com/difftest/difftest/attention"
)

// Problem is one attention computation with everything that decides its result. A mistake is a
// change to a [Problem.Clone] or a [Problem.Fork] of it.
type Problem struct {
	// Query, Key and Value are the inputs. Scaled dot-product attention takes (..., H, T, E); the
	// heads of key and value may be fewer and then divide the query's. A layer takes (B, T, width),
	// whatever its InputLayout is.
	Query, Key, Value Array

	// Layer surrounds attention with projections; nil for scaled dot-product attention alone.
	Layer *Layer
	// Turn rotates Query by tables, in place of attention; nil if there is attention.
	Turn *Turn
	// Past is the KV cache; nil if there is none.
	Past *Past

	// Scale multiplies q.k to give a score.
	Scale float64
	// Softcap c turns a score s into c tanh(s / c); 0 leaves it as it is.
	Softcap float64

	// Causal reports whether a query may see a key, given their positions. If it is nil, every
	// query may see every key.
	Causal func(query, key int) bool
	// Offset is the position of the first query. The first key has position 0.
	Offset int
	// Offsets (B) holds the position of the first query of each batch element, in place of Offset;
	// nil if all elements have the same.
	Offsets []int
	// Window hides the keys at a distance of Window or more from the query; 0 hides none.
	Window int
	// Allow is broadcast to the scores: true takes part, as in PyTorch's SDPA.
	Allow *attention.Mask
	// Block is broadcast to the scores, and Padding is (B, S): true is ignored, as in PyTorch's
	// nn.MultiheadAttention.
	Block, Padding *attention.Mask

	// Bias is broadcast to the scores and added to them; -Inf hides a key. It is nil if there is
	// none.
	Bias *Array
	// Slopes (H) are ALiBi's: a score loses the slope of its head times its distance. With a
	// mistake they may be (B*H), as Sinks may.
	Slopes []float64
	// Relative (2R+1, H) is a table of learned biases by distance, which is clipped to [-R, R].
	Relative []float64
	// Sinks (H) are additional logits, one in every softmax of a head. They have no value.
	Sinks []float64
	// EmptyRow decides the context of a query that sees no key.
	EmptyRow attention.EmptyRow
	// EmptyMean gives such a query the mean of all values in place of EmptyRow, as a softmax of
	// scores does that all have the lowest number added.
	EmptyMean bool

	// Precision is the arithmetic whose rounding the variances describe.
	Precision Precision
	// Stored is the precision to which the result itself is rounded; nil leaves it in float64.
	Stored *Precision

	Hooks

	// cache is shared by a problem and its forks; nil if there is none.
	cache *cache
	// afterContext is set if the problem has the same context as the one that owns the cache.
	afterContext bool
	// loans are the arrays of [Problem.Borrow].
	loans [][]float64
}

// Array is a dense array in row-major order.
type Array struct {
	Shape []int
	Value []float64
}

// Is reports whether two arrays are one: they have the same memory and shape.
func (a Array) Is(b Array) bool {
	return identityOf(a.Value) == identityOf(b.Value) && slices.Equal(a.Shape, b.Shape)
}

// Past is a KV cache, (B, Hk, P, E), whose values may have another width. Its keys are already
// normalised and rotated.
type Past struct{ Key, Value Array }

// Parameters returns every learned array of a layer. It returns nothing for scaled dot-product
// attention.
func (p *Problem) Parameters() []*[]float64 {
	l := p.Layer
	if l == nil {
		return nil
	}
	var all []*[]float64
	for _, m := range l.Projections() {
		all = append(all, &m.Weight, &m.Bias)
	}
	for _, n := range []*Norm{l.QueryNorm, l.KeyNorm} {
		if n != nil {
			all = append(all, &n.Weight)
		}
	}
	return append(all, &l.LearnedKey, &l.LearnedValue, &p.Sinks, &p.Relative)
}

// scores returns the shape of the scores, (..., H, L, S), to which masks are broadcast. S counts
// cached keys and leaves out appended ones.
func (p *Problem) scores() []int {
	q, k := p.Query.Shape, p.Key.Shape
	lead, keys := slices.Clone(q[:len(q)-2]), k[len(k)-2]
	if p.Layer != nil {
		lead = append(lead, p.Layer.Heads)
	}
	if p.Past != nil {
		keys += p.pastLength()
	}
	return append(lead, q[len(q)-2], keys)
}

// pastLength returns P, the number of cached keys.
func (p *Problem) pastLength() int {
	if p.Past == nil {
		return 0
	}
	shape := p.Past.Key.Shape
	return shape[len(shape)-2]
}

// FirstPosition returns the position of the first query of a batch element.
func (p *Problem) FirstPosition(batch int) int {
	if p.Offsets == nil {
		return p.Offset
	}
	return p.Offsets[batch]
}

// heads returns H, the number of query heads of one batch element.
func (p *Problem) heads() int {
	s := p.scores()
	return s[len(s)-3]
}

// kvHead returns the key/value head that serves a query head. Both count over the whole batch.
func (p *Problem) kvHead(head int) int {
	if p.KVHead != nil {
		return p.KVHead(head)
	}
	if p.Layer != nil {
		return head / (p.Layer.Heads / p.Layer.KVHeads)
	}
	return head / (p.heads() / p.Key.Shape[len(p.Key.Shape)-3])
}
