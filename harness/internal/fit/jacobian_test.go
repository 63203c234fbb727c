package fit

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/oracletest"
)

// tallLayers change [oracletest.Tall] so that each has another part of the scores.
var tallLayers = []struct {
	name   string
	change func(p *oracle.Problem)
}{
	{"plain", func(*oracle.Problem) {}},
	{"causal", func(p *oracle.Problem) { p.Causal = oracletest.Causal }},
	{"rotated", func(p *oracle.Problem) {
		rotary := oracle.Rotary{Dim: 4, Base: 100, Factor: 2}
		p.Layer.QueryRotary, p.Layer.KeyRotary = &rotary, &rotary
	}},
	{"interleaved", func(p *oracle.Problem) {
		rotary := oracle.Rotary{Dim: 6, Base: 100, Factor: 1, Interleaved: true}
		p.Layer.QueryRotary, p.Layer.KeyRotary = &rotary, &rotary
	}},
	{"slopes", func(p *oracle.Problem) { p.Slopes = []float64{0.5, 0.25} }},
	{"sinks", func(p *oracle.Problem) { p.Sinks = []float64{0.5, -1} }},
	{"softcap", func(p *oracle.Problem) { p.Softcap = 5 }},
	{"padded", func(p *oracle.Problem) {
		p.Padding = attention.NewMask(p.Key.Shape[0], p.Key.Shape[1])
		for i := range p.Padding.Data {
			p.Padding.Data[i] = i%5 == 4
		}
	}},
	{"cached", func(p *oracle.Problem) {
		r := rand.New(rand.NewPCG(5, 5))
		past := func() oracle.Array { return oracletest.Normal(r, p.Key.Shape[0], p.Layer.KVHeads, 2, 6) }
		p.Past, p.Offset = &oracle.Past{Key: past(), Value: past()}, 2
	}},
}

// appended gives each head a learned key and a key of zeros, behind the others.
func appended(p *oracle.Problem) {
	r := rand.New(rand.NewPCG(6, 6))
	width := p.Layer.Key.Out
	p.Layer.LearnedKey, p.Layer.LearnedValue = oracletest.Normal(r, width).Value, oracletest.Normal(r, width).Value
	p.Layer.ZeroKey = true
}

// emptyRows gives the first query of each other batch element no key, and a context of zeros.
func emptyRows(p *oracle.Problem) {
	blankRows(p)
	p.EmptyRow = attention.EmptyZero
}

// Least squares needs a jacobian that is the slope of the output, and its true transpose.
func TestJacobian(t *testing.T) {
	list := append(slices.Clone(tallLayers), tallLayers[0], tallLayers[0])
	list[len(tallLayers)].name, list[len(tallLayers)].change = "appended", appended
	list[len(tallLayers)+1].name, list[len(tallLayers)+1].change = "empty", emptyRows
	for _, tc := range list {
		t.Run(tc.name, func(t *testing.T) {
			p := oracletest.Tall(1)
			tc.change(p)
			r := rand.New(rand.NewPCG(8, 8))
			x := newJacobian(p, all(QueryProjection, KeyProjection, ValueProjection, OutputProjection))
			step, out := oracletest.Normal(r, len(x.mask)).Value, oracletest.Normal(r, len(x.t.Output.Value)).Value
			x.restrict(step)
			forward, backward := x.forward(step), x.backward(out)
			size := math.Sqrt(num.Dot(forward, forward) * num.Dot(out, out))
			require.LessOrEqual(t, math.Abs(num.Dot(forward, out)-num.Dot(step, backward)), 1e-9*size)

			const small = 1e-6
			for i := range step {
				step[i] *= small
			}
			ahead := x.moved(step).Trace().Output.Value
			var off, square float64
			for i, d := range forward {
				moved := (ahead[i] - x.t.Output.Value[i]) / small * x.weight[i/x.outs]
				off, square = off+(moved-d)*(moved-d), square+d*d
			}
			require.Less(t, math.Sqrt(off/square), 1e-4)
		})
	}
}

// A row weighs one over the RMS of its noise, which counts as a thousandth of the largest at least.
// A row of no numbers weighs nothing, and its noise is not the largest.
func TestRowWeights(t *testing.T) {
	f := oracle.Field{Shape: []int{4, 2}}
	f.Value = []float64{1, 2, 3, 4, math.NaN(), math.NaN(), 5, 6}
	f.Variance = []float64{1, 7, 0, 0, 1e9, 1e9, 100, 100}
	require.InDeltaSlice(t, []float64{0.5, 100, 0, 0.1}, rowWeights(f), 1e-9)
	clear(f.Variance)
	require.Equal(t, []float64{1, 1, 0, 1}, rowWeights(f), "all weigh alike without noise")
}

// A layer whose right output is zero without any noise names no parameter: an output weight fits,
// and is infinitely larger than the right one.
func TestOutputWithoutNoise(t *testing.T) {
	p, wrong := oracletest.Tall(2), oracletest.Tall(2)
	clear(p.Layer.Output.Weight)
	p.Layer.Output.Bias, wrong.Layer.Output.Bias = nil, nil
	at, seen := localised(p, p.Trace(), oracletest.InFloat32(wrong.Run()))
	require.True(t, seen)
	require.Empty(t, at.named())
	require.Equal(t, "only output weights +Inf times as large would fit", at.tried[0].Refused)
}

// The transpose leaves out what is not free, and is right for a layer with blank rows. The
// distance to an output is in units of its noise, and is zero in a row of no numbers.
func TestTransposeOfFreeParts(t *testing.T) {
	p := oracletest.First(oracletest.Tall(2), 4)
	blankRows(p)
	for _, free := range []freeSet{
		ofHead(KeyProjection, 1), biasOf(QueryProjection), ofHead(ValueProjection, 0), ofHead(OutputProjection, 1),
		all(ValueProjection, OutputProjection),
	} {
		x := newJacobian(p, free)
		step, y := make([]float64, len(x.mask)), make([]float64, len(x.t.Output.Value))
		for at := range step {
			step[at] = math.Sin(float64(at))
		}
		for at := range y {
			y[at] = math.Cos(float64(at))
		}
		back := x.backward(y)
		for at, free := range x.mask {
			if !free {
				require.Zero(t, back[at])
			}
		}
		x.restrict(step)
		forward := x.forward(step)
		for row, weight := range x.weight {
			if weight == 0 {
				require.Equal(t, make([]float64, x.outs), forward[row*x.outs:][:x.outs])
			}
		}
		require.InEpsilon(t, num.Dot(forward, y), num.Dot(step, back), 1e-9)
	}
	x := newJacobian(p, all(OutputProjection))
	got := make([]float64, len(x.t.Output.Value))
	missing := x.missing(got)
	require.Equal(t, make([]float64, x.outs), missing[:x.outs], "the first row has no number")
	for at := x.outs; at < 4*x.outs; at++ {
		require.Equal(t, -x.weight[at/x.outs]*x.t.Output.Value[at], missing[at])
	}
}
