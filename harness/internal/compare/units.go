package compare

import (
	"math"
	"slices"
)

// Units is how far two arrays of floating-point numbers are apart in units in the last place, each unit
// that of the larger of two elements in the coarser of the two types.
type Units struct {
	Median  float64
	Largest Element // Z is the distance in units; infinite where one of the two is NaN or infinite

	// Beyond counts the pairs that are no rounding of each other: two elements may be one number, rounded
	// once to each of the two types, when they lie no further apart than half a unit of the one type and
	// half a unit of the other. In one type these are neighbours and equal numbers. A number that became
	// infinite is beyond.
	Beyond int
}

// InUnits compares two arrays of the same shape. ofGot and ofWant give the unit in the last place that a
// magnitude has in the type of each.
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

// Distance returns the absolute difference of two numbers. It is 0 between equal numbers and between two
// NaN, and infinite between NaN or infinity and any other number.
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

// median is the middle value, the lower one of two; NaN of none.
func median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[(len(sorted)-1)/2]
}
