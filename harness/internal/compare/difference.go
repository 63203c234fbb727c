package compare

import "math"

// Difference is the result of comparing two arrays without any noise.
type Difference struct {
	Elements int
	// Equal counts the pairs of equal elements; NaN equals NaN.
	Equal int
	// Largest is the pair that is furthest apart. If one of the two is NaN or infinite, they are
	// infinitely far apart.
	Largest Element
	// Rel, Gain and Cosine are computed as in [Comparison].
	Rel, Gain, Cosine float64
}

// Values compares two arrays of the same shape, element by element.
func Values(shape []int, got, want []float64) Difference {
	exact := Expected{Shape: shape, Value: want, Sigma: make([]float64, len(want))}
	c := Outputs(shape, got, exact) // every element that differs is outside
	d := Difference{
		Elements: c.Elements, Equal: c.Elements - c.Outside,
		Rel: c.Rel, Gain: c.Gain, Cosine: c.Cosine,
	}
	largest := -1.0
	for i := range got {
		off := math.Abs(got[i] - want[i])
		if c.Z[i] > 0 && !isFinite(off) {
			off = math.Inf(1)
		}
		if off > largest {
			largest = off
			d.Largest = element(i, got, exact, c.Z[i])
		}
	}
	return d
}
