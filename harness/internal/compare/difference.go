package compare

// Difference is the result of comparing two arrays without any noise.
type Difference struct {
	Elements int
	// Equal counts the pairs of equal elements; NaN equals NaN.
	Equal int
	// Largest is the pair that is furthest apart. Its Z is the distance, which is infinite if one
	// of the two is NaN or infinite.
	Largest Element
	// Rel, Gain and Cosine are computed as in [Comparison].
	Rel, Gain, Cosine float64
}

// Values compares two arrays of the same shape, element by element.
func Values(shape []int, got, want []float64) Difference {
	r := NewRunning(shape)
	r.Add(got, want)
	return r.Difference()
}
