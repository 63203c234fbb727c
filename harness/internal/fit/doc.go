// Package fit asks by least squares which parameters would explain an output, if they alone
// differed from the right ones: the scale of the scores, or the weight and bias of a projection,
// all of it or single heads.
//
// The case is computed again with the values found. A question to which every output would answer
// yes is refused, with the reason.
package fit
