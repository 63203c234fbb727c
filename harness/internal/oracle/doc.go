// Package oracle computes attention in float64 and carries, beside every value, the variance
// that float32 rounding gives it. The values say what is right; the variances say how far from
// it a correct float32 implementation may end up on this very input.
//
// Every rounding is treated as independent with variance u²/3, u = 2⁻²⁴ being half a unit in
// the last place of a float32 in [1, 2), and is followed through the passes to first order. Over
// correct implementations (sequential, pairwise, BLAS, one pass, online softmax) the root mean
// square of (got - value) / sigma lies between 0.2 and 1.2 and its largest value stays below
// [compare.MaxZ]: see the calibration in this package's tests.
//
// It uses the attention package's types and none of its arithmetic: an oracle that borrows the
// mathematics of what it judges is none.
package oracle
