package replay

import (
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/graph"
)

// quarters rounds a number to a multiple of 1/4.
func quarters(x float64) float64 { return math.Round(4*x) / 4 }

// A rounded weight and a rounded input of the linear layer give the output with rounded factors.
func TestRoundedFactors(t *testing.T) {
	m := tiny(t)
	rounded, err := m.RoundingFactors(quarters)
	require.NoError(t, err)
	var want []float64
	x, weight, bias := m.values["x"].Wide().Data, m.values["weight"].Wide().Data, m.values["bias"].Wide().Data
	for i, x0 := range x {
		sum := bias[i%3]
		for j := range 3 {
			sum += quarters(x[i/3*3+j]/2) * quarters(weight[i%3*3+j])
		}
		want = append(want, math.Tanh(sum)+x0)
	}
	require.InDeltaSlice(t, want, rounded, 1e-6)
	require.Greater(t, compare.Residual(want, m.Truth.Value), 0.01)

	sigma, err := m.NoiseOfFactors(quarters)
	require.NoError(t, err)
	require.Len(t, sigma, 12)
	off := inNoise(rounded, m.Truth.Value, sigma)
	require.Greater(t, off, 0.2)
	require.Less(t, off, 3.)

	padded := m.WithPadding(func([]int) []bool { return []bool{false, false, true, false} })
	padded.Truth.Padded = []bool{false, false, true, false}
	blank, err := padded.RoundingFactors(quarters)
	require.NoError(t, err)
	require.Equal(t, rounded[:6], blank[:6])
	require.Equal(t, rounded[9:], blank[9:])
	require.True(t, math.IsNaN(blank[6]) && math.IsNaN(blank[7]) && math.IsNaN(blank[8]))

	m.given = nil
	_, err = m.RoundingFactors(quarters)
	require.ErrorContains(t, err, "missing")
	_, err = m.NoiseOfFactors(quarters)
	require.ErrorContains(t, err, "missing")
}

// A mistake is judged by its own noise, and in a lower precision by the noise of the truth.
func TestNoiseOfAMistake(t *testing.T) {
	fourth := times("fourth", 0.25)
	m := tiny(t, fourth)
	h := m.compute(m.at(fourth, everywhere)[0], m.Truth.Value)
	g := m.edited(h)
	want, err := m.expected(g, h.output)
	require.NoError(t, err)
	sigma, err := graph.NoiseOf(g, m.given, graph.Values[float64]{"sum": h.output})
	require.NoError(t, err)
	require.Equal(t, compare.Expected{
		Shape: []int{4, 3}, Value: h.output.Data, Sigma: sigma["sum"], Measured: true,
	}, want)
	require.NotEqual(t, m.Truth.Sigma, want.Sigma)

	large := tiny(t, fourth)
	large.kept.nudgedOnce.Do(func() {}) // the runs of a large graph are not kept
	want, err = large.expected(g, h.output)
	require.NoError(t, err)
	require.Equal(t, sigma["sum"], want.Sigma)

	wide := slices.Repeat([]float64{0.5}, 12)
	lower := m.InLowerPrecision(wide)
	require.True(t, lower.LowerPrecision())
	require.False(t, m.LowerPrecision())
	require.Equal(t, wide, lower.Truth.Sigma)
	require.NotEqual(t, wide, m.Truth.Sigma)
	lower.Truth.Padded = []bool{true, false, false, false}
	want, err = lower.expected(g, h.output)
	require.NoError(t, err)
	require.Equal(t, wide[3:], want.Sigma[3:])
	require.Equal(t, lower.Truth.Padded, want.Padded)

	none := m.view.Apply(broken("", "bend").Edit, []int{2})
	_, err = m.expected(none, h.output)
	require.ErrorContains(t, err, "in float32")
}

// Two runs of noise rule out an output that is twenty times as far.
func TestNoiseThatIsTooSmall(t *testing.T) {
	fourth := times("fourth", 0.25)
	m := tiny(t, fourth)
	h := m.compute(m.at(fourth, everywhere)[0], m.Truth.Value)
	own := m.noiseOf(m.edited(h), h.output)
	sigma, err := own.jitter.Rough()
	require.NoError(t, err)
	for far, small := range map[float64]bool{0: false, 6: false, 19.9: false, 20.1: true, 1000: true} {
		got := slices.Clone(h.output.Data)
		for i, s := range sigma["sum"] {
			got[i] += far * s
		}
		require.Equal(t, small, own.tooSmall(got), far)
		lower := m.InLowerPrecision(m.Truth.Sigma)
		require.False(t, lower.noiseOf(m.edited(h), h.output).tooSmall(got), "the noise is not measured")
	}
	none := m.view.Apply(broken("", "bend").Edit, []int{2})
	require.False(t, m.noiseOf(none, h.output).tooSmall(m.Truth.Value))
}
