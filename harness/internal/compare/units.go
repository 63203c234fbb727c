package compare

import (
	"math"
	"slices"
)

// Units is the result of comparing two arrays in units in the last place. The unit of a pair of
// elements belongs to the larger magnitude of the two, in the coarser of the two types.
type Units struct {
	// Median is the median distance.
	Median float64
	// Largest is the pair that is furthest apart. Its Z is the distance in units. Z is infinite if
	// one of the two is NaN or infinite.
	Largest Element
	// Beyond counts the pairs that cannot be one number, rounded once to each of the two types.
	// Such a number would lie within half a unit of both elements. In a single type the elements
	// must therefore be equal or neighbours. A number that became infinite is beyond.
	Beyond int
}

// InUnits compares two arrays of the same shape. ofGot and ofWant return the unit in the last place
// of a magnitude in the type of each array.
func InUnits(shape []int, got, want []float64, ofGot, ofWant func(float64) float64) Units {
	var u Units
	distances := make([]float64, len(got))
	for i, g := range got {
		w := want[i]
		off := Distance(g, w)
		magnitude := math.Max(math.Abs(g), math.Abs(w))
		if off > 0 && !math.IsInf(off, 1) {
			a, b := ofGot(magnitude), ofWant(magnitude)
			distances[i] = off / math.Max(a, b)
			off -= a/2 + b/2
		}
		if math.IsInf(off, 1) {
			distances[i] = off
		}
		if off > 0 {
			u.Beyond++
		}
		if i == 0 || distances[i] > u.Largest.Z {
			u.Largest = Element{Index: unravel(i, shape), Got: g, Want: w, Z: distances[i]}
		}
	}
	u.Median = median(distances)
	return u
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

// median returns the middle value, or the lower one of two; NaN if there are no values.
func median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[(len(sorted)-1)/2]
}
