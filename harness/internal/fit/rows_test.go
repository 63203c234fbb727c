package fit

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/oracletest"
)

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

// The transpose leaves out what is not free, and is right for a layer with blank rows. What an
// output misses is in units of its noise, and nothing misses in a row of no numbers.
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
