// Package oracle computes attention in float64. Beside every value it carries the variance that
// float32 rounding gives to that value. The values are the truth. The variances say how far from
// the truth a correct float32 implementation may end up on this very input.
//
// Every rounding is an independent error of variance u²/3, where u = 2⁻²⁴ is half a unit in the
// last place of a float32 in [1, 2). Errors are carried through the passes to first order, except
// that large errors of scores grow in the exponential. harness/CALIBRATION.md shows how far from
// the truth correct implementations were, measured in these standard deviations.
//
// The package uses the types of package attention and none of its arithmetic: an oracle must not
// share a mistake with the implementation that it judges. Both multiply matrices with package
// kernel. A test computes every case with plain loops in place of its assembly.
//
// Shapes are written in PyTorch's letters: B batch, H query heads, Hk key/value heads, L queries,
// S keys, T either of them, E features of a query and key head, Ev features of a value head, D
// width of the model. A context row is the context of one query of one head. Context rows are
// numbered in the order (..., H, L).
package oracle
