package oracle

// roundoff is the variance of one float32 rounding of a value near 1: u²/3, for an error spread
// evenly over [-u, u] with u = 2⁻²⁴.
const (
	u        = 0x1p-24
	roundoff = u * u / 3
)

// underflow is float32's smallest normal number. A float32 implementation may turn anything
// smaller into zero.
const underflow = 0x1p-126

// sumOfProducts returns the variance that rounding gives to a sum of n products t, where sum is
// S = Σt and squares is Q = Σt². It counts the rounding of the n products and of the n-1 partial
// sums. Over all orders of adding, the squares of the partial sums add up to about
// n S²/3 + n Q/6 on average.
func sumOfProducts(n int, sum, squares float64) float64 {
	terms := float64(n)
	return roundoff * (terms*sum*sum/3 + terms*squares/6 + squares + sum*sum)
}

// sumWith adds b, with the variance of b, to a, with the variance of a.
//
// If a or b has no effect on the sum in float64, it has none in float32 either, and its noise is
// lost with it. If float32 alone loses a, the error is at most a itself.
func (p Precision) sumWith(a, variance, b, ownVariance float64) (sum, sumVariance float64) {
	sum = a + b
	switch {
	case sum == a:
		return a, variance
	case sum == b && a != 0:
		return b, ownVariance
	}
	if p.small {
		return sum, variance + ownVariance + roundoff*sum*sum
	}
	return sum, variance + ownVariance + min(roundoff*sum*sum, a*a)
}

// addSquares adds times the square of each value to its variance.
func addSquares(f Field, times float64) {
	if times == 0 || !f.noisy() {
		return
	}
	for i, v := range f.Value {
		f.Variance[i] += times * v * v
	}
}

func squares(values []float64) []float64 {
	out := make([]float64, len(values))
	squaresTo(out, values)
	return out
}

func squaresTo(out, values []float64) {
	for i, v := range values {
		out[i] = v * v
	}
}
