package diagnose

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/campaign"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/oracletest"
)

// initialValues draws weights and biases in a way of its own.
type initialValues struct {
	title  string // what the diagnosis must say
	weight func(r *rand.Rand, width float64) float64
	bias   func(r *rand.Rand, width float64) float64
}

var (
	unitNormal = initialValues{
		"weights left at N(0,1), never loaded",
		func(r *rand.Rand, _ float64) float64 { return r.NormFloat64() },
		func(r *rand.Rand, _ float64) float64 { return r.NormFloat64() },
	}
	xavier = initialValues{
		"weights left at Xavier-uniform values, never loaded",
		func(r *rand.Rand, width float64) float64 { return (2*r.Float64() - 1) * math.Sqrt(3/width) },
		func(*rand.Rand, float64) float64 { return 0 },
	}
	smallNormal = initialValues{
		"weights left at N(0, 0.02²), never loaded",
		func(r *rand.Rand, _ float64) float64 { return 0.02 * r.NormFloat64() },
		func(*rand.Rand, float64) float64 { return 0 },
	}
	linearDefault = initialValues{
		"weights left at the initial values of nn.Linear, never loaded",
		func(r *rand.Rand, width float64) float64 { return (2*r.Float64() - 1) / math.Sqrt(width) },
		func(r *rand.Rand, width float64) float64 { return (2*r.Float64() - 1) / math.Sqrt(width) },
	}
)

func (v initialValues) layer(r *rand.Rand, width, heads int) *oracle.Layer {
	linear := func() oracle.Linear {
		m := oracle.Linear{In: width, Out: width, Weight: make([]float64, width*width), Bias: make([]float64, width)}
		for i := range m.Weight {
			m.Weight[i] = float64(float32(v.weight(r, float64(width))))
		}
		for i := range m.Bias {
			m.Bias[i] = float64(float32(v.bias(r, float64(width))))
		}
		return m
	}
	return &oracle.Layer{
		Heads: heads, KVHeads: heads, Query: linear(), Key: linear(), Value: linear(), Output: linear(),
	}
}

// selfAttention is causal self-attention on inputs N(0,1), or from [0, 1).
func selfAttention(r *rand.Rand, batch, length, width, heads int, positive bool, v initialValues) *oracle.Problem {
	x := oracletest.Normal(r, batch, length, width)
	if positive {
		for i := range x.Value {
			x.Value[i] = float64(float32(r.Float64()))
		}
	}
	return &oracle.Problem{
		Query: x, Key: x, Value: x, Causal: oracletest.Causal, Scale: 1 / math.Sqrt(float64(width/heads)),
		Layer: v.layer(r, width, heads),
	}
}

// sizes lists batch, length, width and heads of layers. The first layer has 65,536 output elements,
// and mistakes are made on a sample of its rows.
var sizes = [][4]int{{8, 128, 64, 4}, {4, 12, 64, 4}, {2, 40, 32, 2}}

// Weights that were never loaded are wrong weights, whatever their size and the mean of the inputs
// are. The kind of initial values that has the size is named. The plain run draws one layer,
// and the full campaign one right layer of the largest size.
func TestInitialWeightsAreWrongWeights(t *testing.T) {
	campaign.SkipShort(t)
	for n, size := range sizes {
		if !campaign.Full() && n != len(sizes)-1 {
			continue
		}
		for _, positive := range []bool{false, true} {
			for seed, right := range []initialValues{xavier, linearDefault} {
				if seed > 0 && n == 0 || !campaign.Full() && (!positive || seed > 0) {
					continue
				}
				r := rand.New(rand.NewPCG(uint64(seed), uint64(n)))
				p := selfAttention(r, size[0], size[1], size[2], size[3], positive, right)
				truth := p.Run().Expected()
				reference := NewReference(p, truth)
				for _, wrong := range []initialValues{unitNormal, xavier, smallNormal, linearDefault} {
					t.Run(fmt.Sprintln(size, positive, right.title, wrong.title), func(t *testing.T) {
						q := p.Clone()
						q.Layer = wrong.layer(r, size[2], size[3])
						got := oracletest.InFloat32(q.Run())
						d := reference.Diagnose(t.Context(), got, compare.Outputs(truth.Shape, got, truth))
						require.Equal(t, WrongWeights, d.Class, d.Reasons)
						require.Contains(t, strings.Join(d.Reasons, "\n"), "fits "+wrong.title)
						require.Empty(t, d.Matches)
					})
				}
			}
		}
	}
}

// Noise of the size that random weights give is no layer's output: rows are not alike where
// expected rows are.
func TestNoiseIsNotWrongWeights(t *testing.T) {
	campaign.SkipShort(t)
	r := rand.New(rand.NewPCG(77, 1))
	p := selfAttention(r, 3, 16, 32, 4, false, linearDefault)
	truth := p.Run().Expected()
	reference := NewReference(p, truth)
	for _, size := range []float64{1, 3.2, 0.06} { // as linearDefault, xavier and smallNormal
		got := oracletest.Normal(r, truth.Shape...).Value
		for i := range got {
			got[i] *= size * num.RMS(truth.Value)
		}
		d := reference.Diagnose(t.Context(), got, compare.Outputs(truth.Shape, got, truth))
		require.Equal(t, Unclear, d.Class, d.Reasons)
		require.Contains(t, d.Reasons[0], "nothing in common with the expected output")
	}
}

// An output whose elements follow from the expected elements is no other weights'.
func TestFunctionIsNotWrongWeights(t *testing.T) {
	campaign.SkipShort(t)
	r := rand.New(rand.NewPCG(1024, 768))
	p := selfAttention(r, 2, 24, 32, 4, false, linearDefault)
	truth := p.Run().Expected()
	got := make([]float64, len(truth.Value))
	for i, v := range truth.Value {
		got[i] = float64(float32(3*v*v + 0.1*v))
	}
	d := NewReference(p, truth).Diagnose(t.Context(), got, compare.Outputs(truth.Shape, got, truth))
	require.Equal(t, Unclear, d.Class, d.Reasons)
	require.Contains(t, d.Reasons[0], "each element follows from the expected element")
}

// Mistakes that no catalogue has, with right weights, are never called wrong weights.
func TestRightWeightsAreNotWrong(t *testing.T) {
	campaign.SkipShort(t)
	moved := func(a oracle.Array, from func(b, i int) (int, int)) oracle.Array {
		out := oracle.Array{Shape: a.Shape, Value: make([]float64, len(a.Value))}
		for b := range a.Shape[0] {
			for i := range a.Shape[1] {
				c, j := from(b, i)
				width := a.Shape[2]
				copy(out.Value[(b*a.Shape[1]+i)*width:][:width], a.Value[(c*a.Shape[1]+j)*width:][:width])
			}
		}
		return out
	}
	mistakes := map[string]func(p *oracle.Problem, r *rand.Rand){
		"every second key hidden": func(p *oracle.Problem, _ *rand.Rand) {
			p.Causal = func(q, k int) bool { return k <= q && (q-k)%2 == 0 }
		},
		"the farthest keys alone": func(p *oracle.Problem, _ *rand.Rand) {
			p.Causal = func(q, k int) bool { return k <= q/3 }
		},
		"one key for each query": func(p *oracle.Problem, _ *rand.Rand) {
			p.Causal = func(q, k int) bool { return k == (q*7+3)%(q+1) }
		},
		"random scores added": func(p *oracle.Problem, r *rand.Rand) {
			bias := oracletest.Normal(r, 1, 1, p.Query.Shape[1], p.Query.Shape[1])
			p.Bias = &bias
		},
		"a scale of minus four": func(p *oracle.Problem, _ *rand.Rand) { p.Scale *= -4 },
		"values three positions away": func(p *oracle.Problem, _ *rand.Rand) {
			p.Value = moved(p.Value, func(b, i int) (int, int) { return b, (i + 3) % p.Value.Shape[1] })
		},
		"keys of the next batch element": func(p *oracle.Problem, _ *rand.Rand) {
			p.Key = moved(p.Key, func(b, i int) (int, int) { return (b + 1) % p.Key.Shape[0], i })
		},
	}
	for n, size := range sizes {
		if !campaign.Full() && n != len(sizes)-1 {
			continue
		}
		for _, positive := range []bool{false, true} {
			if n == 0 && !positive {
				continue // the largest layers take longest
			}
			r := rand.New(rand.NewPCG(31, uint64(n)))
			p := selfAttention(r, size[0], size[1], size[2], size[3], positive, linearDefault)
			truth := p.Run().Expected()
			reference := NewReference(p, truth)
			for name, change := range mistakes {
				if !campaign.Full() && !(positive && strings.HasPrefix(name, "values")) {
					continue
				}
				t.Run(fmt.Sprintln(size, positive, name), func(t *testing.T) {
					q := p.Clone()
					change(q, r)
					got := oracletest.InFloat32(q.Run())
					d := reference.Diagnose(t.Context(), got, compare.Outputs(truth.Shape, got, truth))
					require.NotEqual(t, WrongWeights, d.Class, d.Reasons)
				})
			}
		}
	}
}
