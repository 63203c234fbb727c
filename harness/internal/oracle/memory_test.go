package oracle

import (
	"math"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"testing"
	"time"

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

// Memory that was given back is borrowed again. A pool may lose some, for example to the collector
// of garbage.
func TestMemoryIsBorrowedAgain(t *testing.T) {
	for _, n := range []int{1, 6, 8, 1000} {
		require.Eventually(t, func() bool {
			memory := make([]float64, n)
			giveBack(memory)
			return &borrow(n)[0] == &memory[0]
		}, time.Minute, time.Microsecond, n)
	}
}

// soil leaves memory of NaN to be borrowed.
func soil() {
	for range 20 {
		for n := 1; n < 512; n *= 2 {
			memory := make([]float64, n)
			for i := range memory {
				memory[i] = math.NaN()
			}
			giveBack(memory)
		}
	}
}

// Rows that are not computed are zero, whatever the borrowed memory held, and so are features that
// no head fills.
func TestOtherRowsStayZero(t *testing.T) {
	p := randomLayer(3, 4)
	s := &pass{Problem: p, ctx: t.Context()}
	x := s.input(p.Query)
	all, second := s.linear(nil, p.Layer.Query, x, nil), rowSet{false, true, false}
	soil()
	y := s.linear(nil, p.Layer.Query, x, second)
	for _, part := range [][2][]float64{{all.Value, y.Value}, {all.Variance, y.Variance}} {
		want := make([]float64, 12)
		copy(want[4:8], part[0][4:8])
		require.Equal(t, want, part[1])
	}
	heads := p.Layer.splitHeads(all, 2, nil)
	soil()
	merged := p.Layer.mergeHeads(heads, second)
	require.Equal(t, y, merged)
	p.Layer.MergeIndex = func(s Sizes, _, t, feature int) int { return s.Concatenated(0, t, feature) }
	soil()
	merged = p.Layer.mergeHeads(heads, nil)
	for i := range merged.Value {
		if i%4 >= 2 {
			require.Zero(t, merged.Value[i])
			require.Zero(t, merged.Variance[i])
		} else {
			require.Equal(t, all.Value[i+2], merged.Value[i], "the last head")
		}
	}
}

// A fork that has a new output projection alone takes new memory for its result, and for nothing
// else of the result's size.
func TestMemoryOfAFork(t *testing.T) {
	if testing.Short() {
		t.Skip("the race detector makes pools lose memory")
	}
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	const length, width, runs = 64, 128, 20
	first := randomLayer(length, width).Cached()
	first.Run()
	weight := first.Layer.Query.Weight
	run := func() {
		wrong := first.ForkAfterContext()
		wrong.Layer.Output.Weight = weight
		_, err := wrong.Rows(t.Context(), nil, ValuesAlone)
		require.NoError(t, err)
	}
	run()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range runs {
		run()
	}
	runtime.ReadMemStats(&after)
	arrays := float64(after.TotalAlloc-before.TotalAlloc) / runs / (8 * length * width)
	require.Less(t, arrays, 1.5)
	require.Greater(t, arrays, 0.9)
}

// randomNumbers returns a function that draws numbers of a normal distribution.
func randomNumbers() func(n int) []float64 {
	r := rand.New(rand.NewPCG(5, 5))
	return func(n int) []float64 {
		all := make([]float64, n)
		for i := range all {
			all[i] = r.NormFloat64()
		}
		return all
	}
}

// randomLayer returns a causal layer with random weights, and its inputs.
func randomLayer(length, width int) *Problem {
	random := randomNumbers()
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
