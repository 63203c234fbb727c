package oracle_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// r is the variance of one rounding of a value near 1, u²/3.
const r = 0x1p-48 / 3

// noisy is a value with its variance. The functions below compute both by formulas of their own.
type noisy struct{ value, variance float64 }

func exact(values ...float64) []noisy {
	out := make([]noisy, len(values))
	for i, v := range values {
		out[i] = noisy{value: v}
	}
	return out
}

// sum returns the rounding of a sum of products: n S²/3 + n Q/6 + Q + S² roundings.
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

// projected returns an input x times one weight for each feature.
func projected(x float64, weights ...float64) []noisy {
	var out []noisy
	for _, w := range weights {
		out = append(out, noisy{x * w, sum(x * w)})
	}
	return out
}

// scored returns scale q.k. Its noise is the rounding of the products and of the scale, and the
// noise of query and key.
func scored(scale float64, q, k []noisy) noisy {
	var products []float64
	var s, carried float64
	for i := range q {
		products = append(products, q[i].value*k[i].value)
		s += q[i].value * k[i].value
		carried += k[i].value*k[i].value*q[i].variance + q[i].value*q[i].value*k[i].variance
	}
	return noisy{scale * s, scale * scale * (sum(products...) + carried + 2*r*s*s)}
}

// added returns the sum of a score and a bias with a variance of its own.
func added(s noisy, b, own float64) noisy {
	v := s.value + b
	return noisy{v, s.variance + own + r*v*v}
}

// weighed returns the weights of scores, and the variance of each score with the softmax's errors:
// the subtraction of the largest score, and (2u)² for exp.
func weighed(scores []noisy) (weights, variance []float64) {
	top, total := math.Inf(-1), 0.0
	for _, s := range scores {
		top = math.Max(top, s.value)
	}
	for _, s := range scores {
		total += math.Exp(s.value - top)
		variance = append(variance, s.variance+r*(s.value-top)*(s.value-top)+4*0x1p-48)
	}
	for _, s := range scores {
		weights = append(weights, math.Exp(s.value-top)/total)
	}
	return weights, variance
}

// attended returns the context of scores and one feature of the values.
func attended(scores, values []noisy) noisy {
	weights, variance := weighed(scores)
	var products []float64
	var out, carried float64
	for j, w := range weights {
		products = append(products, w*values[j].value)
		out += w * values[j].value
	}
	for j, w := range weights {
		off := values[j].value - out
		carried += off*off*moved(w, variance[j]) + w*w*values[j].variance
	}
	return noisy{out, sum(products...) + carried + out*out*(sum(weights...)+2*r)}
}

// moved returns the variance of a weight e^s whose score has the given variance v: the square of
// the weight times ∫ e^2t dt from 0 to v, and at most 1.
func moved(weight, variance float64) float64 {
	return min(1, weight*weight*math.Expm1(2*variance)/2)
}

// linear1 is a projection of one input.
func linear1(weights ...float64) oracle.Linear {
	return oracle.Linear{Weight: weights, In: 1, Out: len(weights)}
}

// first is a projection to the first of n features.
func first(n int) oracle.Linear {
	return oracle.Linear{Weight: append([]float64{1}, make([]float64, n-1)...), In: n, Out: 1}
}

// passedOn returns the variance of a context after the projection first.
func passedOn(context noisy, n int) float64 {
	return sum(append([]float64{context.value}, make([]float64, n-1)...)...) + context.variance
}

// function returns a case of SDPA with one query and two keys of one feature.
func function(precision fixture.DType) *fixture.Case {
	tensor := func(values ...float32) *attention.Tensor {
		return &attention.Tensor{Shape: []int{1, len(values), 1}, Data: values}
	}
	return &fixture.Case{
		Op: fixture.SDPA, Precision: precision, Options: attention.SDPAOptions{Scale: 0.75},
		Inputs: attention.Inputs{Query: tensor(2), Key: tensor(0.5, -1), Value: tensor(3, -2)},
	}
}

func ptr(v float32) *float32 { return &v }
