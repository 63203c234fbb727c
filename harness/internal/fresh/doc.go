// Package fresh makes cases from a few numbers, without PyTorch. The inputs follow the rules of
// pyref: scores have a standard deviation near 1, and padding differs between batch elements. The
// oracle computes the truth.
package fresh
