package oracle_test

import (
	"math"
	"math/rand/v2"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// randomLayer draws a layer of self or cross attention, with or without biases, causal mask and
// padding. It is large enough that many roundings count.
func randomLayer(r *rand.Rand) *oracle.Problem {
	heads := 1 + r.IntN(6)
	d := heads * (4 + r.IntN(13))
	if d < 16 {
		d = 16 * heads
	}
	batch, queries := 2+r.IntN(2), 8+r.IntN(25)
	weight := math.Pow(10, -1.7+1.7*r.Float64())        // 0.02 to 1
	scale := []float64{0.1, 0.5, 1, 2, 4, 8}[r.IntN(6)] // of the inputs
	mean := []float64{0, 0, 0, 0.5, 1, 3}[r.IntN(6)]    // of the inputs
	p := &oracle.Problem{Query: tensor(r, scale, mean, batch, queries, d)}
	p.Key, p.Value = p.Query, p.Query
	keys, kdim := queries, d
	if r.IntN(3) == 0 {
		keys, kdim = 8+r.IntN(25), 8+r.IntN(40)
		p.Key, p.Value = tensor(r, scale, mean, batch, keys, kdim), tensor(r, scale, mean, batch, keys, kdim)
	}
	if r.IntN(2) == 0 {
		p.Causal = causal
	}
	if r.IntN(2) == 0 {
		p.Padding = attention.NewMask(batch, keys)
		for b := range batch {
			for j := 1 + r.IntN(keys); j < keys; j++ {
				p.Padding.Data[b*keys+j] = true
			}
		}
	}
	biased := r.IntN(2) == 0
	p.Layer = &oracle.Layer{
		Heads: heads, KVHeads: heads,
		Query:  linear(r, weight, biased, d, d),
		Key:    linear(r, weight, biased, d, kdim),
		Value:  linear(r, weight, biased, d, kdim),
		Output: linear(r, weight, biased, d, d),
	}
	p.Scale = 1 / math.Sqrt(float64(d/heads))
	return p
}

// randomDecoder draws a causal layer with grouped heads and a KV cache. It has each of these
// features half of the time: norms, rotary positions, a window, softcap, ALiBi, sinks, relative
// biases, learned keys, zero keys.
func randomDecoder(r *rand.Rand) *oracle.Problem {
	some := func() bool { return r.IntN(2) == 0 }
	kvHeads, group, width := 1+r.IntN(3), 1+r.IntN(3), 2*(3+r.IntN(10))
	heads, d := kvHeads*group, 16+r.IntN(40)
	batch, queries, past := 2, 4+r.IntN(20), r.IntN(8)
	weight := math.Pow(10, -1.5+1.2*r.Float64()) // 0.03 to 0.5
	p := &oracle.Problem{Query: tensor(r, 1, 0, batch, queries, d), Scale: 1 / math.Sqrt(float64(width))}
	p.Key, p.Value = p.Query, p.Query
	p.Causal = causal
	biased := some()
	p.Layer = &oracle.Layer{
		Heads: heads, KVHeads: kvHeads,
		Query:  linear(r, weight, biased, heads*width, d),
		Key:    linear(r, weight, biased, kvHeads*width, d),
		Value:  linear(r, weight, biased, kvHeads*width, d),
		Output: linear(r, weight, biased, d, heads*width),
	}
	if past > 0 {
		size := math.Sqrt(float64(d)) * weight
		p.Past = &oracle.Past{
			Key:   tensor(r, size, 0, batch, kvHeads, past, width),
			Value: tensor(r, size, 0, batch, kvHeads, past, width),
		}
		p.Offset = past
	}
	if some() {
		p.Layer.QueryNorm = &oracle.Norm{Weight: normals(r, 1, width), Epsilon: 1e-6}
		p.Layer.KeyNorm = &oracle.Norm{Weight: normals(r, 1, width), Epsilon: 1e-6}
	}
	if some() {
		rotary := oracle.Rotary{
			Interleaved: some(), Dim: 2 * (1 + r.IntN(width/2)),
			Base: []float64{100, 10000, 500000}[r.IntN(3)], Factor: []float64{1, 2, 8}[r.IntN(3)], First: past,
		}
		p.Layer.QueryRotary, p.Layer.KeyRotary = &rotary, &rotary
	}
	if some() {
		p.Window = 1 + r.IntN(queries+past)
	}
	if some() {
		p.Softcap = []float64{1, 5, 50}[r.IntN(3)]
	}
	if some() {
		p.Slopes = normals(r, 0.3, heads)
	}
	if some() {
		p.Sinks = normals(r, 1, heads)
	}
	if some() {
		p.Relative = normals(r, 0.5, (2*r.IntN(5)+3)*heads)
	}
	if some() {
		p.Layer.LearnedKey, p.Layer.LearnedValue = normals(r, 1, kvHeads*width), normals(r, 1, kvHeads*width)
	}
	p.Layer.ZeroKey = some()
	return p
}

func causal(query, key int) bool { return key <= query }

// tensor draws N(mean, scale) values that a float32 holds exactly.
func tensor(r *rand.Rand, scale, mean float64, shape ...int) oracle.Array {
	n := 1
	for _, d := range shape {
		n *= d
	}
	a := oracle.Array{Shape: shape, Value: normals(r, scale, n)}
	for i := range a.Value {
		a.Value[i] = float64(float32(a.Value[i] + mean))
	}
	return a
}

func linear(r *rand.Rand, scale float64, biased bool, out, in int) oracle.Linear {
	m := oracle.Linear{Weight: normals(r, scale, out*in), In: in, Out: out}
	if biased {
		m.Bias = normals(r, scale, out)
	}
	return m
}

// normals draws N(0, scale) values that a float32 holds exactly.
func normals(r *rand.Rand, scale float64, n int) []float64 {
	values := make([]float64, n)
	for i := range values {
		values[i] = float64(float32(scale * r.NormFloat64()))
	}
	return values
}
