// Package review holds one suite against another, as a regeneration with another PyTorch gives
// it, and says of every file how far it moved and whether that is more than rounding.
//
// Another PyTorch may add in another order, so what it computes may move, and what is drawn or
// written by hand may not. More than rounding is:
//
//   - an input, a mask or a parameter that moved at all, as a value: no PyTorch has a part in them;
//   - a float64 truth that moved by more than 1e-12 of its largest value: some thousand roundings
//     of a float64, and what the harness demands of its own oracle;
//   - an expected output that judge.Outputs finds wrong on the old case, or expected attention
//     weights that judge.Weights does: within the noise is what a correct implementation in
//     the precision of the case could have given;
//   - an expected sigma whose root mean square moved by more than a factor of 2: it is an estimate
//     from nine runs, not a result;
//   - a number that became NaN or infinite, or the reverse, and another shape or dtype;
//   - a field of case.json other than provenance and sha256, which say who made what was compared;
//   - a file that is new or gone, and any other file of a case that has other bytes.
package review
