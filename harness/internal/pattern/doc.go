// Package pattern recovers the attention weights that an output was made with, and reads from
// them which step of the computation is wrong.
//
// A context is an output row without its bias times the pseudo-inverse of the output weight, and
// weights are a context times the pseudo-inverse of the values. This works where the values and
// the output projection are right and a value has at least as many features as there are keys.
package pattern
