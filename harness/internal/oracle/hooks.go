package oracle

import "github.com/difftest/difftest/attention"

// Hooks are the places where a mistake can replace a part of the computation that no other field
// of [Problem] describes. The zero value replaces nothing.
type Hooks struct {
	// Prepare changes queries (..., H, L, E), keys (..., Hk, S, E) and values (..., Hk, S, Ev) just
	// before attention. It may combine heads and positions of one batch element only.
	Prepare func(q, k, v *Field)
	// KVHead returns the key/value head that serves a query head. Both count over the whole batch.
	KVHead func(head int) int
	// Score turns q.k into a score, in place of scale and softcap. It also returns the derivative
	// of the score by q.k.
	Score func(product float64) (score, slope float64)
	// VisibleScore changes the score of a visible key, MaskedScore the score of a masked key. Both
	// also return the derivative. If MaskedScore is set, masked keys take part in the softmax.
	VisibleScore, MaskedScore func(score float64) (s, slope float64)
	// CausalShift (B) is subtracted from the position of a query of each batch element before
	// Causal is asked; nil subtracts nothing.
	CausalShift []int
	// WindowShift (B) is subtracted in the same way before Window is asked.
	WindowShift []int
	// SlopeDistance and RelativeDistance replace the distance, key minus query, from which ALiBi
	// and the relative biases are computed.
	SlopeDistance, RelativeDistance func(query, key int) int
	// Softmax replaces the softmax of a row. It also returns the derivative of each weight by its
	// own score.
	Softmax func(Row) (weights, slopes []float64)
	// ZeroKeys is a number of additional scores of 0 in every softmax over keys, without values.
	ZeroKeys int
	// MisplacedPadding replaces Padding by a mask that is broadcast to the scores: true is ignored.
	MisplacedPadding *attention.Mask
	// Axis is the dimension over which the softmax runs.
	Axis Axis
	// Mix changes the context (..., H, L, Ev). It may combine the heads of one position only.
	// Finish changes the result. It may only move elements, or leave zeros in their place.
	Mix, Finish func(Field) Field
}

// Axis is the dimension over which a softmax runs.
type Axis int

// Only OverKeys is right. The others normalise over the queries of a head, over the heads of a
// batch element, over its heads and keys together, and over the batch elements.
const (
	OverKeys Axis = iota
	OverQueries
	OverHeads
	OverHeadsAndKeys
	OverBatch
)

// Row holds the scores of one query of one head.
type Row struct {
	Head   int       // counts over the whole batch
	Query  int       // index of the query
	Keys   []int     // indices of the keys that take part
	Scores []float64 // one for each of Keys
	Masked []bool    // whether a mask hides the key
	Sink   float64   // logit of the sink, which has no value; -Inf if there is none
}
