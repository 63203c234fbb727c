package oracle_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// Without a batch the first dimension is that of the heads: one of them by itself has its own slope,
// sink and shared key.
func TestOnlyOfHeadsWithoutABatch(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	random := func(shape ...int) *attention.Tensor {
		t := attention.NewTensor(shape...)
		for i := range t.Data {
			t.Data[i] = float32(r.NormFloat64())
		}
		return t
	}
	for name, change := range map[string]func(*fixture.Case){
		"plain":  func(*fixture.Case) {},
		"ALiBi":  func(c *fixture.Case) { c.Options.ALiBi = true },
		"sinks":  func(c *fixture.Case) { c.Options.Sinks = random(4) },
		"bias":   func(c *fixture.Case) { c.Options.Bias = random(4, 3, 5) },
		"shared": func(c *fixture.Case) { c.Inputs.Query = random(1, 3, 6) },
		"grouped": func(c *fixture.Case) {
			c.Options.GroupedQuery, c.Inputs.Key, c.Inputs.Value = true, random(2, 5, 6), random(2, 5, 6)
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := &fixture.Case{Op: fixture.SDPA, Inputs: attention.Inputs{Query: random(4, 3, 6), Key: random(4, 5, 6), Value: random(4, 5, 6)}}
			change(c)
			p := oracle.FromCase(c)
			whole := p.Run()
			require.Equal(t, []int{4, 3, 6}, whole.Shape)
			for h := range 4 {
				part := p.Element(h).Run()
				require.Equal(t, []int{1, 3, 6}, part.Shape)
				require.Equal(t, whole.Value[h*18:][:18], part.Value, "head %d", h)
				require.Equal(t, whole.Variance[h*18:][:18], part.Variance, "head %d", h)
			}
		})
	}
}

// A clone may be changed, each parameter of it, without the problem noticing.
func TestCloneIsDeep(t *testing.T) {
	for n := range uint64(20) {
		p := randomDecoder(rand.New(rand.NewPCG(3, n)))
		before := p.Run()
		q := p.Clone()
		require.Equal(t, before, q.Run())
		for _, values := range q.Parameters() {
			for i := range *values {
				(*values)[i] += 0.5
			}
		}
		if q.Layer.QueryNorm != nil {
			q.Layer.QueryNorm.Epsilon, q.Layer.KeyNorm.Weight = 7, nil
		}
		q.Layer.Heads, q.Layer.Query.Bias = 1, nil
		require.Equal(t, before, p.Run())
	}
}

// Slopes are worked out in time that grows with the number of heads, not with its square.
func TestSlopesOfManyHeads(t *testing.T) {
	const heads = 1<<18 - 1
	x := attention.NewTensor(1, heads, 1, 1)
	p := oracle.FromCase(&fixture.Case{Op: fixture.SDPA, Options: attention.SDPAOptions{ALiBi: true}, Inputs: attention.Inputs{Query: x, Key: x, Value: x}})
	require.Len(t, p.Slopes, heads)
	require.InDeltaSlice(t, attention.ALiBiSlopes(heads), p.Slopes, 1e-9)
}

// Visible counts the keys of each query and a sink; of heads that see different numbers, two or more.
func TestVisible(t *testing.T) {
	x := oracle.Array{Shape: []int{1, 3, 2}, Value: make([]float64, 6)}
	layer := func(change func(p *oracle.Problem)) *oracle.Problem {
		identity := oracle.Linear{Weight: []float64{1, 0, 0, 1}, In: 2, Out: 2}
		p := &oracle.Problem{Query: x, Key: x, Value: x, Scale: 1, Layer: &oracle.Layer{Heads: 2, KVHeads: 2, Query: identity, Key: identity, Value: identity, Output: identity}}
		change(p)
		return p
	}
	past := func(query, key int) bool { return key <= query }
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
		{"causal", func(p *oracle.Problem) { p.Causal = past }, []int{1, 2, 3}},
		{"window", func(p *oracle.Problem) { p.Window = 2 }, []int{2, 3, 2}},
		{"causal window", func(p *oracle.Problem) { p.Causal, p.Window = past, 2 }, []int{1, 2, 2}},
		{"cache", func(p *oracle.Problem) {
			cache := oracle.Array{Shape: []int{1, 2, 2, 1}, Value: make([]float64, 4)}
			p.Causal, p.Past, p.Offset = past, &oracle.Past{Key: cache, Value: cache}, 2
		}, []int{3, 4, 5}},
		{"cache and window", func(p *oracle.Problem) {
			cache := oracle.Array{Shape: []int{1, 2, 2, 1}, Value: make([]float64, 4)}
			p.Causal, p.Past, p.Offset, p.Window = past, &oracle.Past{Key: cache, Value: cache}, 2, 2
		}, []int{2, 2, 2}},
		{"padding", func(p *oracle.Problem) { p.Causal, p.Padding = past, mask([]int{1, 3}, 0) }, []int{0, 1, 2}},
		{"padding and a sink", func(p *oracle.Problem) {
			p.Causal, p.Padding, p.Sinks = past, mask([]int{1, 3}, 0), []float64{1, 2}
		}, []int{0, 2, 3}},
		{"learned key", func(p *oracle.Problem) {
			p.Causal, p.Padding = past, mask([]int{1, 3}, 0)
			p.Layer.LearnedKey, p.Layer.LearnedValue = []float64{1, 2}, []float64{1, 2}
		}, []int{1, 2, 3}},
		{"learned key and zero key", func(p *oracle.Problem) {
			p.Causal, p.Layer.ZeroKey = past, true
			p.Layer.LearnedKey, p.Layer.LearnedValue = []float64{1, 2}, []float64{1, 2}
		}, []int{3, 4, 5}},
		{"block", func(p *oracle.Problem) { p.Block = mask([]int{3, 3}, 0, 1, 2, 5) }, []int{0, 2, 3}},
		{"block of one head", func(p *oracle.Problem) { p.Block = mask([]int{1, 2, 3, 3}, 12, 13, 14) }, []int{3, 3, 3}},
		{"one key of one head", func(p *oracle.Problem) { p.Block = mask([]int{1, 2, 3, 3}, 3, 4, 12, 13, 14) }, []int{3, 2, 3}},
		{"bias", func(p *oracle.Problem) {
			p.Bias = &oracle.Array{Shape: []int{3, 3}, Value: []float64{math.Inf(-1), 1, 2, 3, 4, 5, math.Inf(-1), math.Inf(-1), math.Inf(-1)}}
		}, []int{2, 3, 0}},
	} {
		t.Run(tc.name, func(t *testing.T) { require.Equal(t, tc.want, layer(tc.change).Visible()) })
	}
	require.Equal(t, []int{1, 2, 3, 1, 2, 3}, (&oracle.Problem{
		Query: oracle.Array{Shape: []int{2, 3, 1}, Value: make([]float64, 6)}, Key: oracle.Array{Shape: []int{2, 3, 1}, Value: make([]float64, 6)},
		Value: oracle.Array{Shape: []int{2, 3, 1}, Value: make([]float64, 6)}, Causal: past,
	}).Visible(), "a function has a row for each head")
}

// BatchFirst and InOrder undo one another.
func TestOrders(t *testing.T) {
	a := oracle.Array{Shape: []int{2, 3, 2}, Value: []float64{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}}
	require.Equal(t, a, oracle.BatchFirst(attention.BatchFirst, a))
	swapped := oracle.Array{Shape: []int{3, 2, 2}, Value: []float64{0, 1, 6, 7, 2, 3, 8, 9, 4, 5, 10, 11}}
	require.Equal(t, swapped, oracle.BatchFirst(attention.SequenceFirst, a))
	require.Equal(t, a, oracle.InLayout(attention.SequenceFirst, swapped))
	flat := oracle.Array{Shape: []int{6, 2}, Value: a.Value}
	require.Equal(t, oracle.Array{Shape: []int{1, 6, 2}, Value: a.Value}, oracle.BatchFirst(attention.Unbatched, flat))
	require.Equal(t, flat, oracle.InLayout(attention.Unbatched, oracle.BatchFirst(attention.Unbatched, flat)))
	require.True(t, slices.Equal(a.Value, oracle.InLayout(attention.BatchFirst, a).Value))
}
