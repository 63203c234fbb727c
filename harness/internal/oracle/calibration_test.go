package oracle_test

import (
	"math"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"

	"github.com/x448/float16"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/variant"
)

// The noise model is calibrated: over random shapes, weights, inputs and masks no correct
// float32 implementation is refused, and the root mean square of z over all of them stays near
// one: a model that allows too much would show as a small one.
func TestCalibration(t *testing.T) {
	const seed = 20260101
	for _, family := range []struct {
		name  string
		cases int
		draw  func(*rand.Rand) *oracle.Problem
	}{
		{"layers", 1000, randomProblem},
		{"decoders", 800, randomDecoder},
	} {
		t.Run(family.name, func(t *testing.T) {
			if testing.Short() {
				family.cases /= 20
			}
			all := calibrate(t, family.cases, func(n int) *oracle.Problem { return family.draw(rand.New(rand.NewPCG(seed, uint64(n)))) })
			t.Logf("%d cases, %d variants, seed %d: largest z %.2f, rms z of a case from %.3f to %.3f, of its noisiest variant from %.3f",
				family.cases, len(variant.Correct), seed, all.maxZ, all.least, all.most, all.noisiest)
			if !(all.least >= 0.12 && all.noisiest >= 0.2 && all.most <= 1.2) {
				t.Errorf("rms z from %.3f to %.3f, want within 0.12 to 1.2; of the noisiest variant %.3f, want at least 0.2", all.least, all.most, all.noisiest)
			}
		})
	}
}

// The noise of a declared lower precision is calibrated in the same way: correct implementations that round
// every value, or every factor, are within it, and come near it.
func TestCalibrationOfLowerPrecisions(t *testing.T) {
	const seed = 20260102
	for name, lower := range map[string]struct {
		precision oracle.Precision
		variant   func(variant.Variant) variant.Variant
	}{
		"float16":        {oracle.Float16, storing(func(x float32) float32 { return float16.Fromfloat32(x).Float32() })},
		"bfloat16":       {oracle.BFloat16, storing(variant.BFloat16)},
		"TensorFloat-32": {oracle.TensorFloat32, multiplying(variant.TensorFloat32)},
	} {
		t.Run(name, func(t *testing.T) {
			cases := 100
			if testing.Short() {
				cases = 15
			}
			all := extremes{least: math.Inf(1)}
			for n := range cases {
				p := randomProblem(rand.New(rand.NewPCG(seed, uint64(n))))
				f := p.In(lower.precision).Run()
				truth := compare.Expected{Shape: f.Shape, Value: f.Value, Sigma: f.Sigma()}
				for _, v := range variant.Correct {
					c := compare.Outputs(truth.Shape, lower.variant(v).Run(p), truth)
					if !c.OK() {
						t.Errorf("case %d, %s: max z %.3g, rms z %.3g: false alarm", n, v.Name, c.MaxZ, c.RMSZ)
					}
					all.maxZ = math.Max(all.maxZ, c.MaxZ)
					all.least, all.most = math.Min(all.least, c.RMSZ), math.Max(all.most, c.RMSZ)
				}
			}
			t.Logf("largest z %.2f, rms z of a case from %.3f to %.3f", all.maxZ, all.least, all.most)
			if !(all.least >= 0.1 && all.most <= 1.5) {
				t.Errorf("rms z from %.3f to %.3f, want within 0.1 to 1.5", all.least, all.most)
			}
		})
	}
}

func storing(round func(float32) float32) func(variant.Variant) variant.Variant {
	return func(v variant.Variant) variant.Variant {
		v.Store = round
		return v
	}
}

// multiplying rounds both factors of every product.
func multiplying(round func(float32) float32) func(variant.Variant) variant.Variant {
	all := func(values []float32) []float32 {
		out := make([]float32, len(values))
		for i, v := range values {
			out[i] = round(v)
		}
		return out
	}
	return func(v variant.Variant) variant.Variant {
		dot := v.Dot
		if dot == nil {
			dot = variant.Sequential
		}
		v.Dot = func(a, b []float32) float32 { return dot(all(a), all(b)) }
		v.BiasFirst = false // a bias is no factor
		return v
	}
}

// extremes are those of rms z over cases and variants, but for the noisiest, which are the least over cases of
// the greatest over variants. A sum that ends with a large bias has far less noise than one that begins with it.
type extremes struct{ maxZ, least, most, noisiest float64 }

// calibrate judges every correct variant of every problem.
func calibrate(t *testing.T, cases int, problem func(n int) *oracle.Problem) extremes {
	t.Helper()
	results := make([]extremes, cases)
	var wg sync.WaitGroup
	workers := runtime.GOMAXPROCS(0)
	for w := range workers {
		wg.Go(func() {
			for n := w; n < cases; n += workers {
				p := problem(n)
				f := p.Run()
				truth := compare.Expected{Shape: f.Shape, Value: f.Value, Sigma: f.Sigma()}
				e := extremes{least: math.Inf(1)}
				for _, v := range variant.Correct {
					c := compare.Outputs(truth.Shape, v.Run(p), truth)
					if !c.OK() {
						t.Errorf("case %d, %s: max z %.3g, rms z %.3g: false alarm", n, v.Name, c.MaxZ, c.RMSZ)
					}
					e.maxZ = math.Max(e.maxZ, c.MaxZ)
					e.least, e.most = math.Min(e.least, c.RMSZ), math.Max(e.most, c.RMSZ)
				}
				e.noisiest = e.most
				results[n] = e
			}
		})
	}
	wg.Wait()
	all := extremes{least: math.Inf(1), noisiest: math.Inf(1)}
	for _, e := range results {
		all.maxZ, all.noisiest = math.Max(all.maxZ, e.maxZ), math.Min(all.noisiest, e.noisiest)
		all.least, all.most = math.Min(all.least, e.least), math.Max(all.most, e.most)
	}
	return all
}

// randomProblem draws a layer, self or cross attention, with or without biases, causal, padded.
// It is never so small that its rms z is that of a few roundings alone.
func randomProblem(r *rand.Rand) *oracle.Problem {
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
		p.Causal = func(query, key int) bool { return key <= query }
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
		Heads: heads, KVHeads: heads, Query: linear(r, weight, biased, d, d), Key: linear(r, weight, biased, d, kdim),
		Value: linear(r, weight, biased, d, kdim), Output: linear(r, weight, biased, d, d),
	}
	p.Scale = 1 / math.Sqrt(float64(d/heads))
	return p
}

// tensor draws values that a float32 holds exactly.
func tensor(r *rand.Rand, scale, mean float64, shape ...int) oracle.Array {
	n := 1
	for _, d := range shape {
		n *= d
	}
	a := oracle.Array{Shape: shape, Value: drawn(r, scale, n)}
	for i := range a.Value {
		a.Value[i] = float64(float32(a.Value[i] + mean))
	}
	return a
}

func linear(r *rand.Rand, scale float64, biased bool, out, in int) oracle.Linear {
	m := oracle.Linear{Weight: drawn(r, scale, out*in), In: in, Out: out}
	if biased {
		m.Bias = drawn(r, scale, out)
	}
	return m
}

// drawn gives values that a float32 holds exactly.
func drawn(r *rand.Rand, scale float64, n int) []float64 {
	values := make([]float64, n)
	for i := range values {
		values[i] = float64(float32(scale * r.NormFloat64()))
	}
	return values
}

// randomDecoder draws a causal layer with grouped heads and a cache, and of norms, rotary positions,
// windows, softcap, slopes, sinks, relative biases, learned and zero keys some.
func randomDecoder(r *rand.Rand) *oracle.Problem {
	some := func() bool { return r.IntN(2) == 0 }
	kvHeads, group, width := 1+r.IntN(3), 1+r.IntN(3), 2*(3+r.IntN(10))
	heads, d := kvHeads*group, 16+r.IntN(40)
	batch, queries, past := 2, 4+r.IntN(20), r.IntN(8)
	weight := math.Pow(10, -1.5+1.2*r.Float64()) // 0.03 to 0.5
	p := &oracle.Problem{Query: tensor(r, 1, 0, batch, queries, d), Scale: 1 / math.Sqrt(float64(width))}
	p.Key, p.Value = p.Query, p.Query
	p.Causal = func(query, key int) bool { return key <= query }
	biased := some()
	p.Layer = &oracle.Layer{
		Heads: heads, KVHeads: kvHeads, Query: linear(r, weight, biased, heads*width, d), Key: linear(r, weight, biased, kvHeads*width, d),
		Value: linear(r, weight, biased, kvHeads*width, d), Output: linear(r, weight, biased, d, heads*width),
	}
	if past > 0 {
		size := math.Sqrt(float64(d)) * weight
		p.Past = &oracle.Past{Key: tensor(r, size, 0, batch, kvHeads, past, width), Value: tensor(r, size, 0, batch, kvHeads, past, width)}
		p.Offset = past
	}
	if some() {
		p.Layer.QueryNorm, p.Layer.KeyNorm = &oracle.Norm{Weight: drawn(r, 1, width), Epsilon: 1e-6}, &oracle.Norm{Weight: drawn(r, 1, width), Epsilon: 1e-6}
	}
	if some() {
		turn := oracle.Rotary{Interleaved: some(), Dim: 2 * (1 + r.IntN(width/2)), Base: []float64{100, 10000, 500000}[r.IntN(3)], Factor: []float64{1, 2, 8}[r.IntN(3)], First: past}
		p.Layer.QueryRotary, p.Layer.KeyRotary = &turn, &turn
	}
	if some() {
		p.Window = 1 + r.IntN(queries+past)
	}
	if some() {
		p.Softcap = []float64{1, 5, 50}[r.IntN(3)]
	}
	if some() {
		p.Slopes = drawn(r, 0.3, heads)
	}
	if some() {
		p.Sinks = drawn(r, 1, heads)
	}
	if some() {
		p.Relative = drawn(r, 0.5, (2*r.IntN(5)+3)*heads)
	}
	if some() {
		p.Layer.LearnedKey, p.Layer.LearnedValue = drawn(r, 1, kvHeads*width), drawn(r, 1, kvHeads*width)
	}
	p.Layer.ZeroKey = some()
	return p
}
