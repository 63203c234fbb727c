package attention

import "math"

// ALiBiSlopes are ALiBi's, one for each head (Press et al., Train Short, Test Long, 2022): a geometric
// series from 2^(-8/heads) where heads is a power of two. Elsewhere they are those of the next
// lower power of two, followed by every other of twice as many heads.
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
