package attention

import "math"

// ALiBiSlopes returns the slope of each head in ALiBi (Press et al., Train Short, Test Long, 2022).
// A key at distance d from the query loses slope * |d| of its score.
//
// If heads is a power of two, the slopes are 2^(-8/heads), 2^(-16/heads) and so on to 2^-8.
// Otherwise the slopes of the next lower power of two come first. Every other slope of the next
// higher power of two follows, as in Hugging Face's Bloom.
func ALiBiSlopes(heads int) []float64 {
	power := 1
	for power*2 <= heads {
		power *= 2
	}
	slopes := make([]float64, heads)
	for h := range slopes {
		step := 8 / float64(power)
		if h < power {
			slopes[h] = math.Exp2(-step * float64(h+1))
		} else {
			slopes[h] = math.Exp2(-step / 2 * float64(2*(h-power)+1))
		}
	}
	return slopes
}
