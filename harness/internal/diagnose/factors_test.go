package diagnose

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/graph"
	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/replay"
)

// told returns what a finding says.
func told(f *finding) string { return strings.Join(f.reasons, "\n") }

// inModule returns a module of the suite.
func inModule(t *testing.T, name string) *replay.Module {
	t.Helper()
	c, err := fixture.Read(fixtures.FS, name)
	require.NoError(t, err)
	g, err := graph.Parse(c.Graph)
	require.NoError(t, err)
	truth := compare.Expected{Shape: c.Output.Shape, Value: c.Truth, Sigma: c.Sigma, Measured: true}
	m, err := replay.NewModule(g, c.Given, truth)
	require.NoError(t, err)
	return m
}

// Errors of rounded factors are told if they go the way of such errors and are about as large.
// Errors of other sizes and directions are not, nor outputs that are off by nothing, or by much.
func TestRoundedFactors(t *testing.T) {
	m := inModule(t, "blocks/llama-mlp")
	truth := m.Truth
	tf32, err := m.RoundingFactors(oracle.TensorFloat32.Round)
	require.NoError(t, err)
	truncated, err := m.RoundingFactors(oracle.TruncatedTensorFloat32.Round)
	require.NoError(t, err)
	rel := compare.Outputs(truth.Shape, tf32, truth).Rel
	require.Greater(t, rel, 1e-4)
	with := func(module *replay.Module, got []float64) *finding {
		return roundedFactors(&input{
			module: module, truth: truth, whole: truth, got: got, output: got,
			comparison: compare.Outputs(truth.Shape, got, truth),
		})
	}
	// The errors, some times as large, with others of the same size beside.
	of := func(errors []float64, size, cosine float64) []float64 {
		got := slices.Clone(truth.Value)
		off := make([]float64, len(got))
		num.AddScaled(1, errors, off)
		num.AddScaled(-1, truth.Value, off)
		beside := make([]float64, len(got))
		for i := range beside {
			beside[i] = math.Sin(float64(i * i)) // of any direction
		}
		beside = orthogonal(beside, off)
		length := math.Sqrt(num.Dot(off, off))
		num.AddScaled(size*cosine, off, got)
		num.AddScaled(size*length*math.Sqrt(1-cosine*cosine), beside, got)
		return got
	}
	f := with(m, tf32)
	require.Contains(t, told(f), "factors rounded to 11 bits")
	require.Contains(t, told(f), "the cosine is 1.00, and the size 1.00 times theirs")
	require.Equal(t, Rounding, f.class)
	require.Contains(t, told(with(m, truncated)), "factors truncated to 11 bits")
	require.Contains(t, told(with(m, of(tf32, 1.5, 0.9))), "the cosine is 0.90, and the size 1.50 times theirs")
	for _, tc := range []struct {
		size, cosine float64
		found        bool
	}{
		{1.95, 1, true}, {2.05, 1, false}, {1 / 1.95, 1, true}, {1 / 2.05, 1, false},
		{1, 0.9, true}, {1, -1, false}, {1, 0.3, false},
	} {
		require.Equal(t, tc.found, with(m, of(tf32, tc.size, tc.cosine)) != nil, tc)
	}
	require.Nil(t, with(nil, tf32), "no graph")
	far := &input{module: &replay.Module{}, comparison: compare.Comparison{Rel: 0.06}}
	require.Nil(t, roundedFactors(far), "no factors are rounded where the errors are of another size")
}

// The gates of rounded factors: the size of the errors, their cosine over so many elements, and the
// ratio of sizes.
func TestGatesOfRoundedFactors(t *testing.T) {
	for rel, want := range map[float64]bool{0.99e-5: false, 1e-5: true, 0.05: true, 0.0501: false} {
		require.Equal(t, want, sizeOfFactors(rel), rel)
	}
	for _, tc := range []struct {
		cosine, size float64
		elements     int
		want         bool
	}{
		{1, 1, 100, true}, {1, 1, 99, false}, {0.5, 1, 400, true}, {0.5, 1, 399, false},
		{0.4, 1, 1000, true}, {0.399, 1, 1000, false}, {-0.9, 1, 1000, false},
		{1, 2, 1000, false}, {1, 1.99, 1000, true}, {1, 0.5, 1000, false}, {1, 0.51, 1000, true},
	} {
		require.Equal(t, tc.want, likeRoundedFactors(tc.cosine, tc.size, tc.elements), tc)
	}
}
