package oracle_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// Visible counts the keys of each query, and a sink. If heads differ, it counts at least two.
func TestVisible(t *testing.T) {
	x := oracle.Array{Shape: []int{1, 3, 2}, Value: make([]float64, 6)}
	layer := func(change func(p *oracle.Problem)) *oracle.Problem {
		identity := oracle.Linear{Weight: []float64{1, 0, 0, 1}, In: 2, Out: 2}
		p := &oracle.Problem{Query: x, Key: x, Value: x, Scale: 1, Layer: &oracle.Layer{
			Heads: 2, KVHeads: 2, Query: identity, Key: identity, Value: identity, Output: identity,
		}}
		change(p)
		return p
	}
	mask := func(shape []int, hidden ...int) *attention.Mask {
		m := attention.NewMask(shape...)
		for _, i := range hidden {
			m.Data[i] = true
		}
		return m
	}
	for _, tc := range []struct {
		name   string
		change func(p *oracle.Problem)
		want   []int
	}{
		{"all", func(*oracle.Problem) {}, []int{3, 3, 3}},
		{"causal", func(p *oracle.Problem) { p.Causal = causal }, []int{1, 2, 3}},
		{"window", func(p *oracle.Problem) { p.Window = 2 }, []int{2, 3, 2}},
		{"causal window", func(p *oracle.Problem) { p.Causal, p.Window = causal, 2 }, []int{1, 2, 2}},
		{"cache", func(p *oracle.Problem) {
			cache := oracle.Array{Shape: []int{1, 2, 2, 1}, Value: make([]float64, 4)}
			p.Causal, p.Past, p.Offset = causal, &oracle.Past{Key: cache, Value: cache}, 2
		}, []int{3, 4, 5}},
		{"cache and window", func(p *oracle.Problem) {
			cache := oracle.Array{Shape: []int{1, 2, 2, 1}, Value: make([]float64, 4)}
			p.Causal, p.Past, p.Offset, p.Window = causal, &oracle.Past{Key: cache, Value: cache}, 2, 2
		}, []int{2, 2, 2}},
		{"padding", func(p *oracle.Problem) { p.Causal, p.Padding = causal, mask([]int{1, 3}, 0) }, []int{0, 1, 2}},
		{"padding and a sink", func(p *oracle.Problem) {
			p.Causal, p.Padding, p.Sinks = causal, mask([]int{1, 3}, 0), []float64{1, 2}
		}, []int{0, 2, 3}},
		{"learned key", func(p *oracle.Problem) {
			p.Causal, p.Padding = causal, mask([]int{1, 3}, 0)
			p.Layer.LearnedKey, p.Layer.LearnedValue = []float64{1, 2}, []float64{1, 2}
		}, []int{1, 2, 3}},
		{"learned key and zero key", func(p *oracle.Problem) {
			p.Causal, p.Layer.ZeroKey = causal, true
			p.Layer.LearnedKey, p.Layer.LearnedValue = []float64{1, 2}, []float64{1, 2}
		}, []int{3, 4, 5}},
		{"block", func(p *oracle.Problem) { p.Block = mask([]int{3, 3}, 0, 1, 2, 5) }, []int{0, 2, 3}},
		{"block of one head", func(p *oracle.Problem) {
			p.Block = mask([]int{1, 2, 3, 3}, 12, 13, 14)
		}, []int{3, 3, 3}},
		{"one key of one head", func(p *oracle.Problem) {
			p.Block = mask([]int{1, 2, 3, 3}, 3, 4, 12, 13, 14)
		}, []int{3, 2, 3}},
		{"bias", func(p *oracle.Problem) {
			hidden := math.Inf(-1)
			p.Bias = &oracle.Array{Shape: []int{3, 3}, Value: []float64{hidden, 1, 2, 3, 4, 5, hidden, hidden, hidden}}
		}, []int{2, 3, 0}},
	} {
		t.Run(tc.name, func(t *testing.T) { require.Equal(t, tc.want, layer(tc.change).Visible()) })
	}
}

// Without a layer every head has rows of its own.
func TestVisibleOfSDPA(t *testing.T) {
	x := oracle.Array{Shape: []int{2, 3, 1}, Value: make([]float64, 6)}
	p := &oracle.Problem{Query: x, Key: x, Value: x, Causal: causal}
	require.Equal(t, []int{1, 2, 3, 1, 2, 3}, p.Visible())
}
