package oracle

// roundoff is the variance of one float32 rounding of a value near 1: u²/3 for an error spread
// evenly over [-u, u], u = 2⁻²⁴.
const (
	u        = 0x1p-24
	roundoff = u * u / 3
)

// sumOfProducts is the variance that rounding gives a sum of n products t: of the n products,
// and of the n-1 partial sums, whose mean square is near n S²/3 + n Q/6 over the orders in which
// they may be added. sum is S = Σt, squares is Q = Σt².
func sumOfProducts(n int, sum, squares float64) float64 {
	terms := float64(n)
	return roundoff * (terms*sum*sum/3 + terms*squares/6 + squares + sum*sum)
}
