package oracle_test

import (
	"math"
	"testing"

	"github.com/difftest/difftest/harness/internal/oracle"
)

// In a norm y = w x r every y depends on every x. A feature with nearly all of the sum of squares
// cannot move its own y.
func TestVarianceOfQKNorm(t *testing.T) {
	const scale, epsilon = 0.6, 0.125
	for _, kw := range [][]float64{{1, 0.5}, {0.1, 3}} {
		qw, weights := []float64{0.5, -1}, []float64{1.5, -0.75}
		normed := func(x []noisy) []noisy {
			s := x[0].value*x[0].value + x[1].value*x[1].value
			root := 1 / math.Sqrt(s/2+epsilon)
			y := make([]noisy, 2)
			for i := range y {
				own, other := x[i], x[1-i]
				// Derivatives of y.
				toOwn := weights[i] * (root - root*root*root*own.value*own.value/2)
				toOther := weights[i] * root * root * root * own.value * other.value / 2
				v := weights[i] * own.value * root
				carried := toOwn*toOwn*own.variance + toOther*toOther*other.variance
				sumOfSquares := sum(own.value*own.value, other.value*other.value) / (4 * s * s)
				y[i] = noisy{v, carried + v*v*(3*r+sumOfSquares)} // 3r: the root and two products
			}
			return y
		}
		norm := &oracle.Norm{Weight: weights, Epsilon: epsilon}
		p := &oracle.Problem{Query: row(2), Key: column(0.5, -0.5), Value: column(3, -3), Scale: scale}
		p.Layer = &oracle.Layer{
			Heads: 1, KVHeads: 1,
			Query: linear1(qw...), Key: linear1(kw...), Value: linear1(1, 0), Output: first(2),
			QueryNorm: norm, KeyNorm: norm,
		}
		query := normed(projected(2, qw...))
		scores := []noisy{
			scored(scale, query, normed(projected(0.5, kw...))),
			scored(scale, query, normed(projected(-0.5, kw...))),
		}
		requireVariance(t, p, passedOn(attended(scores, []noisy{projected(3, 1)[0], projected(-3, 1)[0]}), 2))
	}
}
