package compare

import "math"

// Difference is two arrays of one shape against each other, without any noise to judge it by.
type Difference struct {
	Elements int
	Equal    int     // NaN equals NaN
	Largest  Element // the largest difference; NaN or infinity in one of the two is infinitely far

	Rel, Gain, Cosine float64 // as in Comparison
}

// Values compares two arrays of the same shape, element by element.
func Values(shape []int, got, want []float64) Difference {
	exact := Expected{Shape: shape, Value: want, Sigma: make([]float64, len(want))}
	c := Outputs(shape, got, exact) // without noise, every element that differs is outside
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
