package oracle

// Layer describes multi-head attention around scaled dot-product attention. Comments say where a
// field is only ever set by a mistake.
type Layer struct {
	Heads, KVHeads            int
	Query, Key, Value, Output Linear

	// SplitIndex and MergeIndex return the index of a head's feature in (T, H*E), when the heads
	// are split and when they are merged. If nil, [Sizes.Concatenated] does.
	SplitIndex, MergeIndex func(s Sizes, head, t, feature int) int

	// QueryNorm and KeyNorm normalise each head; nil if there is no norm.
	QueryNorm, KeyNorm *Norm
	// ValueNorm normalises values: a mistake.
	ValueNorm *Norm
	// NormLast applies the norms after the rotation: a mistake.
	NormLast bool
	// QueryRotary and KeyRotary rotate the new queries and keys; nil without rotary positions.
	QueryRotary, KeyRotary *Rotary
	// ValueRotary rotates the new values: a mistake.
	ValueRotary *Rotary
	// PastRotary rotates the cached keys, which are rotated already: a mistake.
	PastRotary *Rotary
	// LearnedKey and LearnedValue (Hk*E) are appended to keys and values, like bias_k and bias_v of
	// nn.MultiheadAttention; nil if there are none.
	LearnedKey, LearnedValue []float64
	// ZeroKey appends one more key and value of zeros, like add_zero_attn.
	ZeroKey bool
}

// Projections returns the query, key, value and output projections.
func (l *Layer) Projections() []*Linear {
	return []*Linear{&l.Query, &l.Key, &l.Value, &l.Output}
}

// Linear is y = x Weight^T + Bias, as nn.Linear.
type Linear struct {
	Weight  []float64 // (Out, In)
	Bias    []float64 // (Out); nil if there is none
	In, Out int
	Skipped bool // y is x: a mistake
}

// Norm is x / sqrt(mean(x²) + Epsilon) times one weight for each feature.
type Norm struct {
	Weight  []float64 // (E)
	Epsilon float64

	// Centered divides by the root of the variance and subtracts the mean, as a layer norm does: a
	// mistake.
	Centered bool
	// AcrossHeads takes the mean over all heads of a position: a mistake.
	AcrossHeads bool
}

// Rotary is a rotary position embedding. It rotates pair i of Dim/2 pairs of features by the angle
// position / Factor * Base^(-2i/Dim).
type Rotary struct {
	Interleaved  bool // pairs are (2i, 2i+1); otherwise (i, i + Dim/2)
	Dim          int
	Base, Factor float64
	First        int // position of the first row

	// Stretch (Dim/2) multiplies the frequency of each pair, as models for long texts do; nil for
	// factors of 1.
	Stretch []float64
	// Rounded (rows, Dim/2) is the quotient of a given table and the exact one, cos + i sin, where
	// the rotation was given as a table of rounded numbers; nil for quotients of 1.
	Rounded [][]complex128

	// Exponent replaces the exponent of Base for one feature of a pair; nil leaves it.
	Exponent func(pair, feature int) float64
	// Position replaces position / Factor for a row of a head; nil leaves it.
	Position func(head, row int) float64
	// Round rounds cosines and sines; nil leaves them.
	Round func(float64) float64
	// AcrossHeads rotates the heads of a position as if they were one: a mistake.
	AcrossHeads bool
}
