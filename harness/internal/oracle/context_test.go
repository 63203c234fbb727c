package oracle_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/oracle"
)

// With one key the softmax is 1 for every score. Noise remains in p v, with p rounded twice and
// a denominator of one term.
func TestVarianceOfOneKey(t *testing.T) {
	p := &oracle.Problem{Query: row(2), Key: row(3), Value: row(5, -7), Scale: 1}
	one := sum(1) + 2*r
	requireVariance(t, p, sum(5)+25*one, sum(-7)+49*one)
}

// Two keys, with and without an additive mask, show every term of the scores and of the context.
func TestVarianceOfTwoKeys(t *testing.T) {
	const c, q = 0.5, 2.0
	keys, values := []float64{3, -1}, []float64{5, -7}
	for _, bias := range [][]float64{nil, {0.25, -1.5}} {
		p := &oracle.Problem{
			Query: row(q), Scale: c,
			Key:   column(3, -1),
			Value: column(5, -7),
		}
		var s, variance [2]float64
		for j, k := range keys {
			s[j] = c * q * k
			variance[j] = c*c*(sum(q*k)+2*r*q*k*q*k) + // the product, the scale and its rounding
				4*0x1p-48 // exp, (2u)²
			if bias != nil {
				p.Bias = &oracle.Array{Shape: []int{1, 2}, Value: bias}
				s[j] += bias[j]
				variance[j] += r * s[j] * s[j]
			}
		}
		variance[1] += r * (s[1] - s[0]) * (s[1] - s[0]) // subtraction of the maximum, s[0]
		w1 := math.Exp(s[1]-s[0]) / (1 + math.Exp(s[1]-s[0]))
		w := [2]float64{1 - w1, w1}
		out := w[0]*values[0] + w[1]*values[1]
		want := sum(w[0]*values[0], w[1]*values[1]) // the sum
		want += out * out * (sum(w[0], w[1]) + 2*r) // the denominator, p and its division
		for j := range w {
			want += w[j] * w[j] * (values[j] - out) * (values[j] - out) * variance[j]
		}
		requireVariance(t, p, want)
	}
}

// A number below the smallest normal number may become zero: the result, or a weight of any value.
func TestVarianceOfUnderflow(t *testing.T) {
	p := &oracle.Problem{Query: row(1), Key: column(0, -1000), Value: column(0, 2), Scale: 1}
	const smallest = 0x1p-126
	requireVariance(t, p, smallest*smallest*(1+2*2))
	require.Equal(t, 0.0, p.Weights().Value[1])
	require.Equal(t, smallest*smallest, p.Weights().Variance[1])
}
