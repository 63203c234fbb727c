package oracle_test

import (
	"testing"

	"github.com/difftest/difftest/harness/internal/oracle"
)

// A KV cache is an input: its keys and values have no noise.
func TestVarianceOfCachedKeys(t *testing.T) {
	cache := func(values ...float64) oracle.Array { return oracle.Array{Shape: []int{1, 1, 1, 2}, Value: values} }
	p := &oracle.Problem{
		Query: row(2), Key: row(0.5), Value: row(3), Scale: 0.7, Offset: 1,
		Past: &oracle.Past{Key: cache(0.5, 0.25), Value: cache(-2, 0)},
		Layer: &oracle.Layer{
			Heads: 1, KVHeads: 1,
			Query: linear1(0.5, -1), Key: linear1(1, 0.5), Value: linear1(1, 0), Output: first(2),
		},
	}
	query := projected(2, 0.5, -1)
	scores := []noisy{scored(0.7, query, exact(0.5, 0.25)), scored(0.7, query, projected(0.5, 1, 0.5))}
	requireVariance(t, p, passedOn(attended(scores, []noisy{{value: -2}, projected(3, 1)[0]}), 2))
}

// Learned keys and values, and keys and values of zeros, have no noise either.
func TestVarianceOfAppendedKeys(t *testing.T) {
	p := &oracle.Problem{Query: row(2), Key: row(0.5), Value: row(3), Scale: 0.7, Layer: &oracle.Layer{
		Heads: 1, KVHeads: 1, Query: linear1(0.5, -1), Key: linear1(1, 0.5), Value: linear1(1, 0), Output: first(2),
		LearnedKey: []float64{0.75, 0.25}, LearnedValue: []float64{-2, 0}, ZeroKey: true,
	}}
	query := projected(2, 0.5, -1)
	scores := []noisy{scored(0.7, query, projected(0.5, 1, 0.5)), scored(0.7, query, exact(0.75, 0.25)), {}}
	requireVariance(t, p, passedOn(attended(scores, []noisy{projected(3, 1)[0], {value: -2}, {}}), 2))
}
