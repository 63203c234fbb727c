package attention

import "math"

// ALiBiSlopes returns the slope m of each head in ALiBi (Press et al., Train Short, Test Long,
// 2022): a key at distance d from the query loses m * |d| of its score, a pure number.
//
// If heads is a power of two, the slopes are 2^(-8/heads), 2^(-16/heads) and so on to 2^-8.
// Otherwise they are the slopes of the next lower power of two, followed by every other slope of
// the next higher one, as in Hugging Face's Bloom.
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
