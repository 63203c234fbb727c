package oracle

import (
	"context"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/num"
)

// A run that ctx interrupts leaves nothing in the cache.
func TestAnInterruptedRunIsForgotten(t *testing.T) {
	x := Array{[]int{1, 3, 2}, []float64{1, 2, 3, 4, 5, 6}}
	identity := Linear{Weight: []float64{1, 0, 0, 1}, In: 2, Out: 2}
	p := (&Problem{Query: x, Key: x, Value: x, Scale: 1, Layer: &Layer{
		Heads: 1, KVHeads: 1, Query: identity, Key: identity, Value: identity, Output: identity,
	}}).Cached()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := p.Rows(ended, nil, WithNoise)
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, p.Clone().Run(), p.Run())
	require.Equal(t, p.Clone().Run(), p.ForkAfterContext().Run())
}

// sine returns numbers of no pattern that matters.
func sine(shift float64, n int) []float64 {
	all := make([]float64, n)
	for i := range all {
		all[i] = math.Sin(float64(i)*1.7 + shift)
	}
	return all
}

// whole is a layer of four heads and two key/value heads, of four features each, that has
// everything from which queries, keys and values are computed.
func whole() *Problem {
	linear := func(shift float64, in, out int) Linear {
		return Linear{Weight: sine(shift, in*out), Bias: sine(shift+1, out), In: in, Out: out}
	}
	norm := func(shift float64) *Norm { return &Norm{Weight: sine(shift, 4), Epsilon: 0.1} }
	rotary := func() *Rotary { return &Rotary{Dim: 4, Base: 100, Factor: 1} }
	array := func(shift float64, shape ...int) Array { return Array{shape, sine(shift, num.Size(shape))} }
	return &Problem{
		Query: array(1, 2, 3, 6), Key: array(2, 2, 3, 6), Value: array(3, 2, 3, 6), Scale: 0.5, Causal: topLeft, Offset: 2,
		Past: &Past{Key: array(4, 2, 2, 2, 4), Value: array(5, 2, 2, 2, 4)},
		Layer: &Layer{
			Heads: 4, KVHeads: 2,
			Query: linear(1, 6, 16), Key: linear(2, 6, 8), Value: linear(3, 6, 8), Output: linear(4, 16, 6),
			QueryNorm: norm(1), KeyNorm: norm(2), ValueNorm: norm(3),
			QueryRotary: rotary(), KeyRotary: rotary(), ValueRotary: rotary(), PastRotary: rotary(),
			LearnedKey: sine(6, 8), LearnedValue: sine(7, 8), ZeroKey: true,
		},
	}
}

// computedAnew reports which of queries, keys and values a problem does not take from its cache.
func computedAnew(t *testing.T, p *Problem) (anew [3]bool) {
	s := &pass{Problem: p, ctx: t.Context()}
	for _, which := range []role{queryRole, keyRole, valueRole} {
		p.cache.projected(s, which, nil, func(rowSet) Field {
			anew[which] = true
			return Field{}
		})
	}
	return anew
}

// otherIndex puts the features of a head behind those of the head before.
func otherIndex(s Sizes, head, t, feature int) int { return (head*s.Length+t)*s.Width + feature }

// A fork takes from the cache the queries, keys and values on which its change has no effect. It
// gives the same as without a cache.
func TestWhatForksTakeFromTheCache(t *testing.T) {
	q, k, v := [3]bool{true}, [3]bool{1: true}, [3]bool{2: true}
	both, all := [3]bool{false, true, true}, [3]bool{true, true, true}
	for name, tc := range map[string]struct {
		change func(p *Problem, l *Layer)
		anew   [3]bool
	}{
		"nothing":          {func(*Problem, *Layer) {}, [3]bool{}},
		"scale and output": {func(p *Problem, l *Layer) { p.Scale, l.Output.Weight = 2, sine(9, 96) }, [3]bool{}},
		"query":            {func(p *Problem, _ *Layer) { p.Query.Value = sine(9, 36) }, q},
		"key":              {func(p *Problem, _ *Layer) { p.Key.Value = sine(9, 36) }, k},
		"value":            {func(p *Problem, _ *Layer) { p.Value.Value = sine(9, 36) }, v},
		"query weight":     {func(_ *Problem, l *Layer) { l.Query.Weight = sine(9, 96) }, q},
		"key bias":         {func(_ *Problem, l *Layer) { l.Key.Bias = sine(9, 8) }, k},
		"no value bias":    {func(_ *Problem, l *Layer) { l.Value.Bias = nil }, v},
		"norm weight":      {func(_ *Problem, l *Layer) { l.QueryNorm.Weight = sine(9, 4) }, q},
		"epsilon":          {func(_ *Problem, l *Layer) { l.KeyNorm.Epsilon = 0.2 }, k},
		"no norm":          {func(_ *Problem, l *Layer) { l.ValueNorm = nil }, v},
		"centered":         {func(_ *Problem, l *Layer) { l.QueryNorm.Centered = true }, q},
		"across heads":     {func(_ *Problem, l *Layer) { l.KeyNorm.AcrossHeads = true }, k},
		"rotary":           {func(_ *Problem, l *Layer) { l.QueryRotary = nil }, q},
		"rotary of keys":   {func(_ *Problem, l *Layer) { l.KeyRotary = &Rotary{Dim: 4, Base: 10, Factor: 1} }, k},
		"rotary of values": {func(_ *Problem, l *Layer) { l.ValueRotary = nil }, v},
		"rotary of cache":  {func(_ *Problem, l *Layer) { l.PastRotary = nil }, k},
		"learned key":      {func(_ *Problem, l *Layer) { l.LearnedKey = sine(9, 8) }, k},
		"learned value":    {func(_ *Problem, l *Layer) { l.LearnedValue = sine(9, 8) }, v},
		"zero key":         {func(_ *Problem, l *Layer) { l.ZeroKey = false }, both},
		"norm last":        {func(_ *Problem, l *Layer) { l.NormLast = true }, all},
		"cached keys": {func(p *Problem, _ *Layer) {
			p.Past = &Past{Array{p.Past.Key.Shape, sine(9, 32)}, p.Past.Value}
		}, k},
		"cached values": {func(p *Problem, _ *Layer) {
			p.Past = &Past{p.Past.Key, Array{p.Past.Value.Shape, sine(9, 32)}}
		}, v},
		"no cached keys": {func(p *Problem, _ *Layer) { p.Past = nil }, both},
		"precision":      {func(p *Problem, _ *Layer) { p.Precision = BFloat16 }, all},
		"split":          {func(_ *Problem, l *Layer) { l.SplitIndex = otherIndex }, all},
	} {
		base := whole().Cached()
		base.Run()
		require.Same(t, base, base.Cached())
		wrong := base.Fork()
		tc.change(wrong, wrong.Layer)
		require.Equal(t, tc.anew, computedAnew(t, wrong), name)
		require.Equal(t, wrong.Clone().Run(), wrong.Run(), name)
		require.Equal(t, whole().Run(), base.Run(), "%s: the fork leaves the cache as it was", name)
	}
}

// Heads of another number are split again from the same products, if nothing but the split stands
// behind the projection.
func TestOtherHeadsFromTheCache(t *testing.T) {
	plain := func() *Problem {
		p := whole()
		p.Past, p.Offset = nil, 0
		p.Layer = &Layer{
			Heads: 4, KVHeads: 4, Query: p.Layer.Query, Output: p.Layer.Output,
			Key:   Linear{Weight: sine(2, 96), In: 6, Out: 16},
			Value: Linear{Weight: sine(3, 96), In: 6, Out: 16},
		}
		return p
	}
	k, both := [3]bool{1: true}, [3]bool{false, true, true}
	for name, tc := range map[string]struct {
		change func(p *Problem, l *Layer)
		anew   [3]bool // of another number of heads
	}{
		"nothing":        {func(*Problem, *Layer) {}, [3]bool{}},
		"norm":           {func(_ *Problem, l *Layer) { l.KeyNorm = &Norm{Weight: sine(1, 8), Epsilon: 1} }, k},
		"rotary":         {func(_ *Problem, l *Layer) { l.KeyRotary = &Rotary{Dim: 4, Base: 100, Factor: 1} }, k},
		"rotary, cached": {func(_ *Problem, l *Layer) { l.PastRotary = &Rotary{Dim: 4, Base: 100, Factor: 1} }, k},
		"learned":        {func(_ *Problem, l *Layer) { l.LearnedKey, l.LearnedValue = sine(1, 16), sine(2, 16) }, both},
		"zeros":          {func(_ *Problem, l *Layer) { l.ZeroKey = true }, both},
		"split":          {func(_ *Problem, l *Layer) { l.SplitIndex = otherIndex }, [3]bool{true, true, true}},
	} {
		p := plain()
		tc.change(p, p.Layer)
		base := p.Cached()
		base.Run()
		wrong := base.Fork()
		wrong.Layer.Heads, wrong.Layer.KVHeads, wrong.Layer.SplitIndex = 2, 2, nil
		require.Equal(t, tc.anew, computedAnew(t, wrong), name)
		require.Equal(t, wrong.Clone().Run(), wrong.Run(), name)
	}
	base := plain().Cached()
	base.Run()
	wrong := base.Fork()
	wrong.Layer.Heads, wrong.Layer.KVHeads, wrong.Layer.Key.Weight = 2, 2, sine(8, 96)
	require.Equal(t, k, computedAnew(t, wrong), "other keys")
	require.Equal(t, wrong.Clone().Run(), wrong.Run())

	unknown := plain().Cached().Fork()
	unknown.Layer.Heads, unknown.Layer.KVHeads = 2, 2
	require.Equal(t, [3]bool{true, true, true}, computedAnew(t, unknown), "nothing is known yet")
	past := plain()
	past.Past, past.Offset = &Past{Array{[]int{2, 4, 2, 4}, sine(4, 64)}, Array{[]int{2, 4, 2, 4}, sine(5, 64)}}, 2
	base = past.Cached()
	base.Run()
	wrong = base.Fork()
	wrong.Layer.Heads = 8
	require.Equal(t, [3]bool{}, computedAnew(t, wrong))
	wrong.Layer.KVHeads = 2
	require.Equal(t, both, computedAnew(t, wrong), "cached keys")
}

// The context is kept for forks that change nothing before it, if the owner computed all of it.
func TestTheCachedContext(t *testing.T) {
	base := whole().Cached()
	_, err := base.Rows(t.Context(), []int{1}, WithNoise)
	require.NoError(t, err)
	require.False(t, base.cache.context.there, "one row")
	base.Fork().Run()
	require.False(t, base.cache.context.there, "a fork")
	base.Run()
	require.True(t, base.cache.context.there)
	kept := base.cache.context.field
	for name, change := range map[string]func(p *Problem){
		"output":    func(p *Problem) { p.Layer.Output.Weight = sine(9, 96) },
		"merge":     func(p *Problem) { p.Layer.MergeIndex = otherIndex },
		"precision": func(p *Problem) { p.Precision = BFloat16 },
	} {
		late := base.ForkAfterContext()
		change(late)
		s := &pass{Problem: late, ctx: t.Context()}
		_, ok := late.cache.contextFor(s)
		require.Equal(t, name != "precision", ok, name)
		require.Equal(t, late.Clone().Run(), late.Run(), name)
		require.Equal(t, late.Clone().Weights(), late.Weights(), name)
		early := base.Fork()
		_, ok = early.cache.contextFor(&pass{Problem: early, ctx: t.Context()})
		require.False(t, ok)
	}
	require.Equal(t, kept, base.cache.context.field)
	shared := base.Fork().Cached()
	require.NotSame(t, base.cache, shared.cache)
	require.Same(t, base.cache.products, shared.cache.products)
	require.Same(t, base.cache, whole().WithCache(base).cache)
	require.Nil(t, base.Uncached().cache)
}

// A field is computed once in each detail. Its values alone serve no noise.
func TestAFieldIsComputedOnce(t *testing.T) {
	var c cachedField
	computed := 0
	get := func(d Detail) Field {
		s := &pass{Problem: &Problem{}, ctx: t.Context(), detail: d}
		return c.get(s, func() Field {
			computed++
			return newField(d, 2)
		})
	}
	for i, want := range []struct {
		detail   Detail
		computed int
	}{{ValuesAlone, 1}, {ValuesAlone, 1}, {WithNoise, 2}, {WithNoise, 2}, {ValuesAlone, 2}} {
		f := get(want.detail)
		require.Equal(t, want.detail == WithNoise, f.noisy(), i)
		require.Equal(t, want.computed, computed, i)
		_, ok := c.known(WithNoise)
		require.Equal(t, computed == 2, ok, i)
	}
}
