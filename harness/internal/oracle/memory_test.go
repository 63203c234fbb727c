package oracle

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// Memory that was given back is taken again only where it has room enough.
func TestBorrow(t *testing.T) {
	for _, n := range []int{0, 1, 5, 7, 4, 8, 6, 100, 65, 127, 128} {
		memory := borrow(n)
		require.Len(t, memory, n)
		giveBack(memory[:n/2])
	}
}

// randomLayer returns a causal layer with random weights, and its inputs.
func randomLayer(length, width int) *Problem {
	r := rand.New(rand.NewPCG(8, 3))
	random := func(n int) []float64 {
		all := make([]float64, n)
		for i := range all {
			all[i] = r.NormFloat64()
		}
		return all
	}
	linear := func() Linear {
		return Linear{Weight: random(width * width), Bias: random(width), In: width, Out: width}
	}
	x := Array{[]int{1, length, width}, random(length * width)}
	return &Problem{Query: x, Key: x, Value: x, Scale: 0.5, Causal: func(q, k int) bool { return k <= q }, Layer: &Layer{
		Heads: 2, KVHeads: 2, Query: linear(), Key: linear(), Value: linear(), Output: linear(),
	}}
}

// A borrowed weight belongs to its problem alone, and no cached product reads it once it is given
// back.
func TestGiveBack(t *testing.T) {
	first := randomLayer(5, 8).Cached()
	first.Run()
	wrong := first.Fork()
	wrong.Layer.Key.Weight = wrong.BorrowCopy(first.Layer.Key.Weight)
	for i := range wrong.Layer.Key.Weight {
		wrong.Layer.Key.Weight[i]++ // no row has a product yet
	}
	again := wrong.Clone()
	want := wrong.Run()
	require.Empty(t, wrong.Fork().loans)
	require.Empty(t, wrong.Element(0).loans)

	weight := wrong.Layer.Key.Weight
	wrong.GiveBack()
	require.Empty(t, wrong.loans)
	clear(weight) // as the next one who borrows it may
	require.Equal(t, want, again.WithCache(first).Run())
	again = first.Fork()
	again.Layer.Key.Weight = make([]float64, len(weight))
	zero := again.Clone()
	require.Equal(t, zero.Run(), again.Run())
	require.Nil(t, wrong.BorrowCopy(nil))
}

// Forks share one transpose of the output weight, on some rows and on all, with the same bits as
// without a cache. The owner, another weight and the squares of the noise do not use it.
func TestSharedOutput(t *testing.T) {
	first := randomLayer(5, 8).Cached()
	first.Run()
	require.Empty(t, first.cache.output.right.Memory())
	changed := first.Fork()
	changed.Layer.Output.Weight = first.Layer.Query.Weight
	require.Equal(t, changed.Clone().Run(), changed.Run())
	require.Empty(t, first.cache.output.right.Memory())

	early := first.Prefix(0, 3).CachedParts(first)
	reversed := first.Fork()
	reversed.Layer.MergeIndex = func(s Sizes, head, t, feature int) int {
		return s.Concatenated(s.Heads-1-head, t, feature)
	}
	for name, wrong := range map[string]*Problem{
		"scale": first.Fork(), "merged heads": reversed, "early": early.Fork(),
	} {
		wrong.Scale = 2
		for _, rows := range [][]int{nil, {1, 2}} {
			for _, d := range []Detail{WithNoise, ValuesAlone} {
				want, err := wrong.Clone().Rows(t.Context(), rows, d)
				require.NoError(t, err)
				got, err := wrong.Rows(t.Context(), rows, d)
				require.NoError(t, err)
				require.Equal(t, want, got, name)
			}
		}
	}
	require.NotEmpty(t, first.cache.output.right.Memory())
	require.Same(t, first.cache.output, early.cache.output)
	require.Same(t, first.cache.output, first.Fork().Cached().cache.output)
	require.NotSame(t, first.cache.output, first.Clone().Cached().cache.output)
}
