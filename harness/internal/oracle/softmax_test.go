package oracle_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// A sink is a score without noise that takes part in the softmax. Errors of the other scores move
// weight between it and the values.
func TestVarianceOfSinks(t *testing.T) {
	for _, sink := range []float64{0.4, 2} { // below and above the largest score
		p := &oracle.Problem{Query: row(2), Key: column(0.5, -1), Value: column(3, -2), Scale: 0.7}
		p.Sinks = []float64{sink}
		scores := []noisy{scored(0.7, exact(2), exact(0.5)), scored(0.7, exact(2), exact(-1)), {value: sink}}
		weights, variance := weighed(scores)
		values := []float64{3, -2, 0}
		out := weights[0]*3 - weights[1]*2
		ww := weights[0]*weights[0] + weights[1]*weights[1]
		want := sum(weights[0]*3, -weights[1]*2) + out*out*(r*(2./3+2*ww/6+ww+1)+2*r)
		for j, w := range weights {
			want += w * w * (values[j] - out) * (values[j] - out) * variance[j]
		}
		requireVariance(t, p, want)
	}
}

// With a sink the context of a query that sees no key is zero, whatever EmptyRow says.
func TestSinkOfAnEmptyRow(t *testing.T) {
	p := &oracle.Problem{
		Query: row(2), Key: column(0.5, -1), Value: column(3, -2), Scale: 0.7, Sinks: []float64{1},
		Allow: attention.NewMask(1, 2), EmptyRow: attention.EmptyNaN,
	}
	require.Equal(t, []float64{0}, p.Run().Value)
	require.Equal(t, []float64{0, 0}, p.Weights().Value)
	p.Sinks = nil
	require.True(t, math.IsNaN(p.Run().Value[0]))
	require.True(t, math.IsNaN(p.Weights().Value[0]))
}

// The variance of a weight is p² ((1-p)² Var s + Σ p'² Var s' + rounding of the sum, of p and of
// its division). A masked key has a weight of exactly 0.
func TestVarianceOfWeights(t *testing.T) {
	p := &oracle.Problem{
		Query: row(2), Key: column(0.5, 9, -1, 0.25), Value: column(3, 9, -2, 1), Scale: 0.7,
		Allow: attention.NewMask(1, 4),
	}
	p.Allow.Data = []bool{true, false, true, true}
	var scores []noisy
	for _, k := range []float64{0.5, -1, 0.25} {
		scores = append(scores, scored(0.7, exact(2), exact(k)))
	}
	weights, variance := weighed(scores)
	want := make([]float64, 3)
	for j, w := range weights {
		for other, u := range weights {
			slope := -u
			if other == j {
				slope = 1 - u
			}
			want[j] += w * w * slope * slope * variance[other]
		}
		want[j] += w * w * (sum(weights...) + 2*r)
	}
	got := p.Weights()
	require.Equal(t, []int{1, 1, 4}, got.Shape)
	require.InDeltaSlice(t, []float64{weights[0], 0, weights[1], weights[2]}, got.Value, 1e-15)
	require.Zero(t, got.Variance[1])
	for n, j := range []int{0, 2, 3} {
		require.InEpsilon(t, want[n], got.Variance[j], 1e-12)
	}
}

// The noise of a sink's score moves every weight.
func TestVarianceOfWeightsBesideASink(t *testing.T) {
	p := &oracle.Problem{Query: row(2), Key: column(0.5), Value: column(3), Scale: 0.7, Sinks: []float64{1.75}}
	weights, variance := weighed([]noisy{scored(0.7, exact(2), exact(0.5)), {value: 1.75}})
	w := weights[0]
	want := w * w * ((1-w)*(1-w)*variance[0] + weights[1]*weights[1]*variance[1] + r*(1./3+w*w/6+w*w+1) + 2*r)
	require.InEpsilon(t, want, p.Weights().Variance[0], 1e-12)
}
