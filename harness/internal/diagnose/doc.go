// Package diagnose says what is wrong with an output that is outside the noise: how large the
// error is against what known mistakes give on this very case, where it lies, and whether it
// is the output of one of them.
//
// No number here is a threshold on the size of an error. What a mistake looks like depends on
// the weights, the lengths and the inputs, so every mistake is run on the case at hand and the
// output is held against those results. Where they leave two answers the class is [Unclear].
package diagnose
