package oracle

import "github.com/difftest/difftest/harness/fixture"

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

// sumWith adds b, of its own variance, to a. Where one is lost in the other even in float64, it is
// lost in float32, too, with all its noise. Where a is lost in float32 alone, the error is a itself
// and no more.
func sumWith(a, variance, b, ownVariance float64) (sum, sumVariance float64) {
	sum = a + b
	switch {
	case sum == a:
		return a, variance
	case sum == b && a != 0:
		return b, ownVariance
	}
	return sum, variance + ownVariance + min(roundoff*sum*sum, a*a)
}

// Precision is the type that values are stored in. Sums run in float32 or better in all of them.
type Precision struct {
	stored float64 // variance of storing a value near 1, beyond that of float32
	given  float64 // variance of the inputs, which float32 cannot hold
}

// Of half a unit in the last place: 2⁻¹¹ in float16, 2⁻⁸ in bfloat16.
var precisions = map[fixture.DType]Precision{
	fixture.Float16:  {stored: 0x1p-22 / 3},
	fixture.BFloat16: {stored: 0x1p-16 / 3},
	fixture.Float64:  {given: roundoff},
}

func precisionOf(c *fixture.Case) Precision { return precisions[c.Precision] }

// stored adds the rounding of each value to its variance; float32's is in every step already.
func (p Precision) store(f Field) Field {
	if p.stored > 0 && f.noisy() {
		for i, v := range f.Value {
			f.Variance[i] += p.stored * v * v
		}
	}
	return f
}

// exact is an array that was given, not computed: its variance is zero, or that of rounding it to
// float32.
func (p Precision) exact(a Array) Field {
	f := Field{Shape: a.Shape, Value: a.Value, Variance: make([]float64, len(a.Value))}
	for i, v := range a.Value {
		f.Variance[i] = p.given * v * v
	}
	return f
}
