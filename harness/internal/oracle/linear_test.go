package oracle_test

import (
	"math"
	"testing"

	"github.com/difftest/difftest/harness/internal/oracle"
)

// In a layer of one key the noise of the values passes through the softmax unchanged. Each
// projection adds its own noise and the addition of its bias.
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

// A sum may begin with its bias, which is then a part of every partial sum.
func TestVarianceOfABias(t *testing.T) {
	for _, bias := range []float64{4, -4, 0.1} {
		p := &oracle.Problem{Query: row(2, 1), Key: row(3, 1), Value: row(5, -1), Scale: 1, Layer: &oracle.Layer{
			Heads: 1, KVHeads: 1,
			Query:  oracle.Linear{Weight: []float64{1, 1}, In: 2, Out: 1},
			Key:    oracle.Linear{Weight: []float64{1, 1}, In: 2, Out: 1},
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
