package oracle_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/oracle"
)

// r is the variance of one rounding of a value near 1, u²/3.
const r = 0x1p-48 / 3

// sum is the rounding of a sum of products, written out: n S²/3 + n Q/6 + Q + S² roundings.
func sum(products ...float64) float64 {
	var s, q float64
	for _, t := range products {
		s += t
		q += t * t
	}
	n := float64(len(products))
	return r * (n*s*s/3 + n*q/6 + q + s*s)
}

func row(values ...float64) oracle.Array {
	return oracle.Array{Shape: []int{1, 1, len(values)}, Value: values}
}

func column(values ...float64) oracle.Array {
	return oracle.Array{Shape: []int{1, len(values), 1}, Value: values}
}

func requireVariance(t *testing.T, p *oracle.Problem, want ...float64) {
	t.Helper()
	got := p.Run().Variance
	require.Len(t, got, len(want))
	for i := range want {
		require.InEpsilon(t, want[i], got[i], 1e-12, "element %d", i)
	}
}

// One key: the softmax is 1 whatever the score, and what is left is p v with p rounded twice and
// a denominator of one term.
func TestVarianceOfOneKey(t *testing.T) {
	p := &oracle.Problem{Query: row(2), Key: row(3), Value: row(5, -7), Scale: 1}
	one := sum(1) + 2*r
	requireVariance(t, p, sum(5)+25*one, sum(-7)+49*one)
}

// Two keys, with and without an additive mask: every term of the scores and of the context.
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
		variance[1] += r * (s[1] - s[0]) * (s[1] - s[0]) // the subtraction of the maximum, which is s[0]
		w1 := math.Exp(s[1]-s[0]) / (1 + math.Exp(s[1]-s[0]))
		w := [2]float64{1 - w1, w1}
		out := w[0]*values[0] + w[1]*values[1]
		want := sum(w[0]*values[0], w[1]*values[1]) + out*out*(sum(w[0], w[1])+2*r) // the sum, the denominator, p and its division
		for j := range w {
			want += w[j] * w[j] * (values[j] - out) * (values[j] - out) * variance[j]
		}
		requireVariance(t, p, want)
	}
}

// A layer of one key: the values' noise passes through the softmax unchanged, and each linear map
// adds its own and the addition of its bias.
func TestVarianceOfALayer(t *testing.T) {
	linear := func(weight, bias float64) oracle.Linear {
		return oracle.Linear{Weight: []float64{weight}, Bias: []float64{bias}, In: 1, Out: 1}
	}
	p := &oracle.Problem{Query: row(2), Key: row(3), Value: row(5), Scale: 1, Layer: &oracle.Layer{
		Heads: 1, KVHeads: 1, Query: linear(1, 1), Key: linear(1, 1), Value: linear(0.5, 0.25), Output: linear(-3, 4),
	}}
	const v = 5*0.5 + 0.25
	value := sum(5*0.5) + r*v*v
	context := value + sum(v) + v*v*(sum(1)+2*r)
	const y = -3*v + 4
	requireVariance(t, p, sum(-3*v)+9*context+r*y*y)
}

// The noise of query and key reaches the output through the scores.
func TestVarianceOfQueryAndKeyReachesTheScores(t *testing.T) {
	linear := func(weight float64) oracle.Linear { return oracle.Linear{Weight: []float64{weight}, In: 1, Out: 1} }
	p := &oracle.Problem{
		Query: row(2), Scale: 1,
		Key:   column(0.5, 0.5), // equal scores
		Value: column(1, -1),    // a context of 0
		Layer: &oracle.Layer{Heads: 1, KVHeads: 1, Query: linear(0.75), Key: linear(3), Value: linear(1), Output: linear(1)},
	}
	const q, k = 1.5, 1.5
	score := sum(q*k) + k*k*sum(q) + q*q*sum(k) + 2*r*q*k*q*k + 4*0x1p-48
	value := sum(1.0)
	context := 2*0.25*score + sum(0.5, -0.5) + 2*0.25*value
	requireVariance(t, p, sum(0)+context)
}

// A sum may begin with its bias, which then stands in every partial sum.
func TestVarianceOfABias(t *testing.T) {
	for _, bias := range []float64{4, -4, 0.1} {
		p := &oracle.Problem{Query: row(2, 1), Key: row(3, 1), Value: row(5, -1), Scale: 1, Layer: &oracle.Layer{
			Heads: 1, KVHeads: 1, Query: oracle.Linear{Weight: []float64{1, 1}, In: 2, Out: 1}, Key: oracle.Linear{Weight: []float64{1, 1}, In: 2, Out: 1},
			Value:  oracle.Linear{Weight: []float64{0.5, 2}, Bias: []float64{bias}, In: 2, Out: 1},
			Output: oracle.Linear{Weight: []float64{-3}, In: 1, Out: 1},
		}}
		const s = 5*0.5 - 2
		v := s + bias
		value := sum(5*0.5, -2) + r*v*v + r*math.Max(0, bias*bias+bias*s)
		context := value + sum(v) + v*v*(sum(1)+2*r)
		requireVariance(t, p, sum(-3*v)+9*context)
	}
}
