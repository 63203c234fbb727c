package oracle

import (
	"slices"

	"github.com/difftest/difftest/attention"
)

// Problem is one attention computation, everything that decides its result laid open. A mistake
// is a change to a [Problem.Clone] of it.
type Problem struct {
	// SDPA: (..., H, T, E), where key and value may have a divisor of the heads; a layer:
	// (B, T, width), whatever the order of the case's files.
	Query, Key, Value Array

	Layer *Layer // nil: scaled dot-product attention alone
	Past  *Past  // of a layer; nil: no cache

	Scale   float64 // of the scores
	Softcap float64 // c: scores become c tanh(score / c); 0 is none

	// Causal says whether a query sees a key, by the positions where they stand; nil: every query
	// sees every key.
	Causal         func(query, key int) bool
	Offset         int             // query i stands at the position of key i + Offset
	Window         int             // a query sees keys at a distance below it; 0 is no limit
	Allow          *attention.Mask // broadcastable to the scores, true takes part
	Block, Padding *attention.Mask // broadcastable to the scores, and (B, S): true is ignored

	Bias     *Array    // broadcastable to the scores, added to them
	Slopes   []float64 // (H): scores lose it times the distance; nil: none
	Relative []float64 // (2R+1, H), added by distance, clipped at R; nil: none
	Sinks    []float64 // (H), logits without a value; nil: none
	EmptyRow attention.EmptyRow

	Precision Precision
	Stored    *Precision // the result is rounded to it; nil: not

	Hooks

	cache        *cache // shared by problems that were made from one another; nil: nobody's
	afterContext bool   // the context is that of the problem that it was made from
}

// Hooks are where mistakes take hold that no other field can express. The zero value has none.
type Hooks struct {
	// Prepare changes queries, keys and values, (..., H, T, E), just before they meet.
	Prepare func(q, k, v *Field)
	// KVHead is the head of key and value that serves a query head; both count over the whole batch.
	KVHead func(head int) int
	// Score makes a score of q.k, and says how steep it is there; nil: the softcap of the scaled product.
	Score func(product float64) (score, slope float64)
	// VisibleScore is what becomes of the score of a key that is seen, and MaskedScore of one that is not, and how
	// steep that is; with MaskedScore every key takes part in the softmax.
	VisibleScore, MaskedScore func(score float64) (s, slope float64)
	// SlopeDistance and RelativeDistance stand in the place of key minus query.
	SlopeDistance, RelativeDistance func(query, key int) int
	// Softmax stands in the place of the softmax of a row, and says how steep each weight is in its score.
	Softmax func(Row) (weights, slopes []float64)
	// ZeroKeys are so many more scores of 0 in each softmax over keys, without a value.
	ZeroKeys int
	// MisplacedPadding stands in the place of the padding: broadcastable to the scores, true is ignored.
	MisplacedPadding *attention.Mask
	// Axis is what the softmax runs over.
	Axis Axis
	// Mix changes the context, (..., H, L, Ev): that of each query by those of the other heads at its
	// position. Finish moves elements of the result, or leaves zeros in their place.
	Mix, Finish func(Field) Field
}

// Axis is what a softmax runs over.
type Axis int

// OverKeys is right. The others are not: over the queries of a head, the heads of a batch element,
// its heads and keys together, the batch elements.
const (
	OverKeys Axis = iota
	OverQueries
	OverHeads
	OverHeadsAndKeys
	OverBatch
)

// Row is what one query has to weigh its keys by.
type Row struct {
	Head   int       // over the whole batch
	Query  int       // its index
	Keys   []int     // that take part
	Scores []float64 // of them
	Masked []bool    // whether a mask hides them
	Sink   float64   // a score without a value; -Inf: none
}

// Array is a dense array in row-major order.
type Array struct {
	Shape []int
	Value []float64
}

// Layer is what multi-head attention has around its core.
type Layer struct {
	Heads, KVHeads            int
	Query, Key, Value, Output Linear

	// SplitIndex and MergeIndex say where the features of a head stand before the heads are taken apart
	// and after they are put together again; nil: where they belong, see [Sizes.Concatenated].
	SplitIndex, MergeIndex func(s Sizes, head, t, feature int) int

	QueryNorm, KeyNorm     *Norm     // nil: none
	ValueNorm              *Norm     // no right layer has it
	NormLast               bool      // after the rotation, where it does not belong
	QueryRotary, KeyRotary *Rotary   // rotary positions of the new queries and keys; nil: none
	ValueRotary            *Rotary   // of the new values: no right layer has it
	PastRotary             *Rotary   // of the cached keys, which are rotated already: no right layer has it
	LearnedKey             []float64 // (Hk*E), a key behind the others; nil: none
	LearnedValue           []float64
	ZeroKey                bool // one more key and value of zeros behind all
}

// Past is a cache, (B, Hk, P, E): keys as they were normed and rotated.
type Past struct{ Key, Value Array }

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
	Skipped bool // y is x, whatever the weight is: no right layer has it
}

// Norm is x / sqrt(mean(x²) + Epsilon) times a weight for each feature.
type Norm struct {
	Weight  []float64 // (E)
	Epsilon float64

	Centered    bool // the mean is subtracted from what is divided, as in a layer norm
	AcrossHeads bool // the mean is over all heads of a position
}

// Rotary rotates pairs of features by their position: pair i of Dim/2 by
// position / Factor * Base^(-2i/Dim).
type Rotary struct {
	Interleaved  bool // pairs 2i and 2i+1; else i and i + Dim/2
	Dim          int
	Base, Factor float64
	First        int // position of the first row

	// Exponent stands in the place of that of Base, for feature e of the pair; Position in the place
	// of a row's, in a head; nil: neither.
	Exponent func(pair, feature int) float64
	Position func(head, row int) float64
	// Round rounds cosines and sines; nil: not.
	Round func(float64) float64
	// AcrossHeads rotates all heads of a position as one, from its first feature to its last.
	AcrossHeads bool
}

// Clone copies what a mistake may change: the masks' presence, the scale, the parameters.
func (p *Problem) Clone() *Problem {
	q := p.Fork()
	q.cache = nil
	for _, values := range q.Parameters() {
		*values = slices.Clone(*values)
	}
	return q
}

// Cached is a problem like p that remembers what it computes for those who are made [Problem.Fork] from it;
// p itself where it does so already. Nobody may write to its arrays from then on.
func (p *Problem) Cached() *Problem {
	if p.cache != nil && p.cache.first == p {
		return p
	}
	q := p.Fork()
	known := &products{room: roomForProducts}
	if p.cache != nil {
		known = p.cache.products
	}
	q.cache = newMemo(q, known)
	return q
}

// Fork is a copy for a mistake that puts other arrays in the place of those that it changes, and writes to
// none. It takes what a problem that is [Problem.Cached] remembers where that is the same.
func (p *Problem) Fork() *Problem {
	q := *p
	q.afterContext = false
	if p.Layer == nil {
		return &q
	}
	l := *p.Layer
	q.Layer = &l
	for _, n := range []**Norm{&l.QueryNorm, &l.KeyNorm} {
		if *n != nil {
			own := **n
			*n = &own
		}
	}
	return &q
}

// ForkAfterContext is as [Problem.Fork], for changes to what becomes of the context alone: it takes that of the
// problem that is shared.
func (p *Problem) ForkAfterContext() *Problem {
	q := p.Fork()
	q.afterContext = true
	return q
}

// WithCache makes p take what a [Problem.Cached] problem remembers.
func (p *Problem) WithCache(shared *Problem) *Problem {
	p.cache = shared.cache
	return p
}

// Independent says whether nothing in the problem crosses from one batch element to another, for sure: a
// hook that sees all of them might.
func (p *Problem) Independent() bool {
	return p.Prepare == nil && p.KVHead == nil && p.Mix == nil && p.Finish == nil && p.Axis != OverBatch
}

// Parameters are all that a layer has learned; a function has none.
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

// Element is the problem of one place in the first dimension of the inputs, a batch element, or a head
// where there is no batch: its
// result is that part of the whole result, because nothing crosses from one to another.
func (p *Problem) Element(b int) *Problem {
	q := *p
	q.cache = nil
	serving := b * p.Key.Shape[0] / p.Query.Shape[0] // b itself, but where the first dimension is that of the heads
	q.Query, q.Key, q.Value = p.Query.only(b), p.Key.only(serving), p.Value.only(serving)
	if p.Layer == nil && len(p.Query.Shape) == 3 {
		q.Slopes, q.Sinks = onlyHead(p.Slopes, b), onlyHead(p.Sinks, b)
	}
	if p.Past != nil {
		q.Past = &Past{p.Past.Key.only(b), p.Past.Value.only(b)}
	}
	if p.Padding != nil {
		q.Padding = onlyMask(p.Padding, b)
	}
	whole := len(p.scores()) // a mask of fewer dimensions, or of 1 in the first, is the same for all
	for _, m := range []**attention.Mask{&q.Allow, &q.Block, &q.MisplacedPadding} {
		if *m != nil && len((*m).Shape) == whole && (*m).Shape[0] > 1 {
			*m = onlyMask(*m, b)
		}
	}
	if p.Bias != nil && len(p.Bias.Shape) == whole && p.Bias.Shape[0] > 1 {
		bias := p.Bias.only(b)
		q.Bias = &bias
	}
	return &q
}

func (a Array) only(b int) Array {
	n := len(a.Value) / a.Shape[0]
	return Array{Shape: one(a.Shape), Value: a.Value[b*n:][:n]}
}

func onlyHead(values []float64, h int) []float64 {
	if values == nil {
		return nil
	}
	return values[h : h+1]
}

func onlyMask(m *attention.Mask, b int) *attention.Mask {
	n := len(m.Data) / m.Shape[0]
	return &attention.Mask{Shape: one(m.Shape), Data: m.Data[b*n:][:n]}
}

// one is a shape with a first dimension of 1.
func one(shape []int) []int {
	return append([]int{1}, shape[1:]...)
}

// Projections are the four maps, query, key, value, output.
func (l *Layer) Projections() []*Linear {
	return []*Linear{&l.Query, &l.Key, &l.Value, &l.Output}
}

// scores is the shape that masks are broadcast to: (..., H, L, S), S without appended keys.
func (p *Problem) scores() []int {
	q, k := p.Query.Shape, p.Key.Shape
	lead, keys := slices.Clone(q[:len(q)-2]), k[len(k)-2]
	if p.Layer != nil {
		lead = append(lead, p.Layer.Heads)
	}
	if p.Past != nil {
		keys += p.Past.Key.Shape[2]
	}
	return append(lead, q[len(q)-2], keys)
}

// heads is how many heads share a batch element, the last dimension before the scores' last two.
func (p *Problem) heads() int {
	s := p.scores()
	return s[len(s)-3]
}
