// Package oracletest makes problems of the oracle for tests.
package oracletest

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// Committed returns the problem of a committed case.
func Committed(t testing.TB, name string) *oracle.Problem {
	t.Helper()
	c, err := fixture.Read(fixtures.FS, name)
	require.NoError(t, err)
	return oracle.FromCase(c)
}

// Normal draws float32 numbers.
func Normal(r *rand.Rand, shape ...int) oracle.Array {
	a := oracle.Array{Shape: shape, Value: make([]float64, num.Size(shape))}
	for i := range a.Value {
		a.Value[i] = float64(float32(r.NormFloat64()))
	}
	return a
}

// Causal hides the keys after a query.
func Causal(query, key int) bool { return key <= query }

// Padded returns causal self-attention of two heads over three positions and two batch elements.
// The first element is padded on the left: its query 0 sees no key, and its query 1 sees one.
func Padded() *oracle.Problem {
	array := func(shift float64, shape ...int) oracle.Array {
		t := attention.NewTensor(shape...)
		for i := range t.Data {
			t.Data[i] = float32(math.Sin(float64(i)*1.7 + shift))
		}
		return oracle.Array{Shape: shape, Value: t.Float64s()}
	}
	linear := func(shift float64) oracle.Linear {
		bias := []float64{0.5, -0.25, 0.125, 1}
		return oracle.Linear{In: 4, Out: 4, Bias: bias, Weight: array(shift, 4, 4).Value}
	}
	x := array(0, 2, 3, 4)
	p := &oracle.Problem{Query: x, Key: x, Value: x, Causal: Causal, Scale: math.Sqrt(0.5)}
	p.Padding = attention.NewMask(2, 3)
	p.Padding.Data[0] = true
	p.Layer = &oracle.Layer{
		Heads: 2, KVHeads: 2, Query: linear(1), Key: linear(2), Value: linear(3), Output: linear(4),
	}
	return p
}

// Wide returns a causal function of two heads over 1024 queries and keys, large enough to be
// sampled.
func Wide() *oracle.Problem {
	r := rand.New(rand.NewPCG(8, 8))
	random := func() oracle.Array { return Normal(r, 1, 2, 1024, 8) }
	return &oracle.Problem{
		Query: random(), Key: random(), Value: random(),
		Causal: Causal, Scale: 0.35, EmptyRow: attention.EmptyZero,
	}
}

// Tall returns a layer of 2 heads of 6 features over 4 positions, with a width of 13. Its 60
// batch elements give many more rows than the layer has unknowns.
func Tall(kvHeads int) *oracle.Problem {
	r := rand.New(rand.NewPCG(4, uint64(kvHeads)))
	const width, e, length, batch = 13, 6, 4, 60
	linear := func(in, out int) oracle.Linear {
		w := Normal(r, out, in).Value
		for i := range w {
			w[i] = float64(float32(w[i] / math.Sqrt(float64(in))))
		}
		return oracle.Linear{In: in, Out: out, Weight: w, Bias: Normal(r, out).Value}
	}
	p := &oracle.Problem{Query: Normal(r, batch, length, width), Scale: 1 / math.Sqrt(e)}
	p.Key = Normal(r, batch, length, width-2)
	p.Value = Normal(r, batch, length, width-3)
	p.Layer = &oracle.Layer{
		Heads: 2, KVHeads: kvHeads,
		Query: linear(width, 2*e), Key: linear(width-2, kvHeads*e),
		Value: linear(width-3, kvHeads*e), Output: linear(2*e, width),
	}
	return p
}

// First keeps the first batch elements of a layer that has no masks and no cache.
func First(p *oracle.Problem, n int) *oracle.Problem {
	for _, a := range []*oracle.Array{&p.Query, &p.Key, &p.Value} {
		a.Value = a.Value[:len(a.Value)/a.Shape[0]*n]
		a.Shape = append([]int{n}, a.Shape[1:]...)
	}
	return p
}

// Long returns a causal layer of 4 heads over 256 positions and two batch elements, large enough to
// be sampled. The first element is padded on the right.
func Long() *oracle.Problem {
	r := rand.New(rand.NewPCG(6, 6))
	const width, length = 96, 256
	linear := func(out int) oracle.Linear {
		w := Normal(r, out, width).Value
		for i := range w {
			w[i] = float64(float32(w[i] / math.Sqrt(width)))
		}
		return oracle.Linear{In: width, Out: out, Weight: w, Bias: Normal(r, out).Value}
	}
	x := Normal(r, 2, length, width)
	p := &oracle.Problem{Query: x, Key: x, Value: x, Causal: Causal, Scale: 1 / math.Sqrt(24)}
	p.Padding = attention.NewMask(2, length)
	for i := range 20 {
		p.Padding.Data[length-1-i] = true
	}
	p.Layer = &oracle.Layer{
		Heads: 4, KVHeads: 4, Query: linear(width), Key: linear(width), Value: linear(width), Output: linear(width),
		QueryRotary: &oracle.Rotary{Dim: 24, Base: 10000, Factor: 1}, KeyRotary: &oracle.Rotary{Dim: 24, Base: 10000, Factor: 1},
	}
	return p
}

// InFloat32 rounds the values of a field to float32, and returns them.
func InFloat32(f oracle.Field) []float64 {
	for i, v := range f.Value {
		f.Value[i] = float64(float32(v))
	}
	return f.Value
}
