package compare

import "math"

// Units is the result of comparing two arrays in units in the last place. The unit of a pair of
// elements belongs to the larger magnitude of the two, in the coarser of the two types.
type Units struct {
	// Median is the median distance, or at most 0.1 % less.
	Median float64
	// Largest is the pair that is furthest apart. Its Z is the distance in units. Z is infinite if
	// one of the two is NaN or infinite.
	Largest Element
	// Beyond counts the pairs that cannot be one number, rounded once to each of the two types.
	// Such a number would lie within half a unit of both elements. In a single type the elements
	// must therefore be equal or neighbours. A number that became infinite is beyond.
	Beyond int
}

// Distance returns |a - b|. It is 0 between equal infinities and between two NaN, and infinite if
// one of the two alone is NaN or infinite.
func Distance(a, b float64) float64 {
	off := math.Abs(a - b)
	switch {
	case a == b, math.IsNaN(a) && math.IsNaN(b):
		return 0
	case math.IsNaN(off):
		return math.Inf(1)
	}
	return off
}
