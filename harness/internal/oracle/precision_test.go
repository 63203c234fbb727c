package oracle_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// Half precision stores scores, weights and the result in fewer bits, and adds in float32.
func TestVarianceOfHalfPrecision(t *testing.T) {
	const half16, halfB16, least16 = 0x1p-22 / 3, 0x1p-16 / 3, 0x1p-50 / 3
	for precision, stored := range map[fixture.DType]float64{fixture.Float16: half16, fixture.BFloat16: halfB16} {
		for _, sink := range []*float32{nil, ptr(1.25)} {
			c := function(precision)
			scores := []noisy{scored(0.75, exact(2), exact(0.5)), scored(0.75, exact(2), exact(-1))}
			values := exact(3, -2)
			if sink != nil {
				c.Options.Sinks = &attention.Tensor{Shape: []int{1}, Data: []float32{*sink}}
				scores, values = append(scores, noisy{value: float64(*sink)}), append(values, noisy{})
			}
			for i := range scores {
				scores[i].variance += stored * scores[i].value * scores[i].value
			}
			weights, variance := weighed(scores)
			var out, squares, want, ww float64
			for j, w := range weights {
				out += w * values[j].value
				squares += w * values[j].value * w * values[j].value
			}
			for j, w := range weights {
				want += (values[j].value - out) * (values[j].value - out) * moved(w, variance[j])
			}
			for _, w := range weights[:2] {
				ww += w * w
			}
			// The sum; the denominator, p and its division; storing the weights and the result.
			want += r * (2*out*out/3 + 2*squares/6 + squares + out*out)
			want += out * out * (r*(2./3+2*ww/6+ww+1) + 2*r)
			want += stored*squares + stored*out*out
			if precision == fixture.Float16 { // a weight may be so small that it has fewer digits
				want += least16 * (3*3 + 2*2)
			}
			requireVariance(t, oracle.FromCase(c), want)
		}
	}
}

// Float16 has no finer steps than 2⁻²⁴, so results near zero have errors of their own.
func TestFloat16NearZero(t *testing.T) {
	c := function(fixture.Float16)
	c.Inputs.Value.Data = []float32{0x1p-22 + 0x1p-32, 0x1p-22 + 0x1p-32}
	p := oracle.FromCase(c)
	result := p.Run()
	off := result.Value[0] - oracle.Float16.Round(result.Value[0])
	require.NotZero(t, off)
	require.Less(t, math.Abs(off), 2*math.Sqrt(result.Variance[0]))
	require.Less(t, result.Variance[0], 2*0x1p-50/3)
}

// Inputs of float64, and an additive mask, are rounded to float32 once, before anything else. The
// truth is computed from the inputs as they were.
func TestVarianceOfRoundedInputs(t *testing.T) {
	c := function(fixture.Float64)
	c.Options.Bias = &attention.Tensor{Shape: []int{2}, Data: []float32{0.25, -1.5}}
	c.Unrounded = map[string][]float64{
		"query": {2 + 1e-9}, "key": {0.5, -1 - 1e-9}, "value": {3 + 1e-9, -2}, "bias": {0.25, -1.5 + 1e-9},
	}
	rounded := func(v float64) noisy { return noisy{v, r * v * v} }
	q, k, v, b := c.Unrounded["query"], c.Unrounded["key"], c.Unrounded["value"], c.Unrounded["bias"]
	var scores []noisy
	for j := range k {
		scores = append(scores, added(scored(0.75, []noisy{rounded(q[0])}, []noisy{rounded(k[j])}), b[j], r*b[j]*b[j]))
	}
	want := attended(scores, []noisy{rounded(v[0]), rounded(v[1])})
	p := oracle.FromCase(c)
	requireVariance(t, p, want.variance)
	require.InEpsilon(t, want.value, p.Run().Value[0], 1e-15)
}

// Round agrees with another program's conversion: halfway between two numbers, beside it, and at
// both ends of the range.
func TestRoundsToFloat16(t *testing.T) {
	for pattern := range uint32(1) << 20 {
		for _, low := range []uint32{0, 1, 0x800, 0xfff} {
			v := math.Float32frombits(pattern<<12 | low)
			got, want := oracle.Float16.Round(float64(v)), float64(toFloat16(v))
			if math.Float64bits(got) != math.Float64bits(want) && !(math.IsNaN(got) && math.IsNaN(want)) {
				require.Equal(t, want, got, v)
			}
		}
	}
}
