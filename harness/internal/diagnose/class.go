package diagnose

import "github.com/difftest/difftest/harness/internal/catalogue"

// Class is the sort of failure that an output is.
type Class string

// The classes of an output.
const (
	// Right is an output within the noise.
	Right Class = "match"
	// Rounding has errors as a lower precision gives: of its size, everywhere, without direction.
	Rounding Class = "rounding"
	// MissingFeature has the right weights; a mask, the scale or the biases are missing or wrong,
	// or a step such as a softmax follows.
	MissingFeature Class = "missing-feature"
	// WrongWeights has other weights. If all are random, the output has nothing in common with
	// the expected one but its size.
	WrongWeights Class = "wrong-weights"
	// WrongNumber has a number of the configuration with another value.
	WrongNumber Class = "wrong-number"
	// WrongLayout has the right numbers in wrong places: heads, axes, or the order of memory.
	WrongLayout Class = "wrong-layout"
	// Dead is zero or constant, all of it or a block of heads, rows or features.
	Dead Class = "dead"
	// NonFinite has NaN or infinity where a number was expected, or the reverse.
	NonFinite Class = "non-finite"
	// Unclear is an output that no other class fits for sure.
	Unclear Class = "unclear"
)

// classOf returns the class of an output with a mistake of a kind.
func classOf(k catalogue.Kind) Class {
	switch k {
	case catalogue.Unloaded, catalogue.Parameters:
		return WrongWeights
	case catalogue.Missing, catalogue.Altered:
		return MissingFeature
	case catalogue.Layout:
		return WrongLayout
	case catalogue.Rounded:
		return Rounding
	}
	return Unclear
}

// only returns the class if there is one. Beside another class, rounding does not count.
func only(classes map[Class]bool) Class {
	if len(classes) > 1 {
		delete(classes, Rounding)
	}
	if len(classes) > 1 {
		return Unclear
	}
	for class := range classes {
		return class
	}
	return Unclear
}
