// Package diagnose classifies an output outside the noise. A checklist of steps looks at the
// output from the surest explanation to the weakest, and the first step that can tell decides.
//
// No step has a fixed limit for the size of an error. The size that a mistake gives depends on
// the weights, the lengths and the inputs of a case. So package replay makes every known mistake
// on the case at hand, package fit asks which parameters would explain the output, and package
// pattern recovers its attention weights. If two classes remain possible, the class is [Unclear].
package diagnose
