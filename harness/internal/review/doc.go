// Package review compares a suite with its regeneration by another PyTorch. It reports how far
// every file moved, and whether that is more than rounding.
//
// Another PyTorch may add in another order, so computed files may move a little. Files that were
// drawn or written by hand may not. The following is more than rounding:
//
//   - an input, a mask or a parameter with any other value: PyTorch does not compute them;
//   - a float64 truth that moved by more than 1e-12 of its largest value: some thousand roundings
//     of a float64, the same bound that the harness sets for its own oracle;
//   - an expected output that judge.Outputs finds wrong on the old case, or expected attention
//     weights that judge.Weights does: a correct implementation in the precision of the case
//     stays within that noise;
//   - an expected sigma whose root mean square moved by more than a factor of 2: sigma is an
//     estimate from nine runs, not a result;
//   - a number that became NaN or infinite, or the reverse, and another shape or dtype;
//   - a field of case.json other than provenance and sha256, which record how the files were made;
//   - a file that is new or gone, and any other file of a case that has other bytes.
package review
