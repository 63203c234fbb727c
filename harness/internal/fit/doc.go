// Package fit asks by least squares which parameters would explain an output, if they alone
// differed from the right ones: the scale of the scores, or the weight and bias of a projection,
// all of it or single heads.
//
// The values found must be needed and sufficient: the case is computed again with them, and a
// question that every output would answer is refused, with the reason.
package fit
