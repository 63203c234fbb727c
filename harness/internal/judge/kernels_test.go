package judge

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/harnesstest"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/report"
	"github.com/difftest/difftest/harness/internal/subject"
	"github.com/difftest/difftest/harness/internal/variant"
)

// named judges an output of a case in the oracle's order, and returns the names that it gets.
func named(t *testing.T, c *fixture.Case, p *oracle.Problem, got []float64) string {
	t.Helper()
	shape := p.Run().Shape
	out := oracle.FromBatchFirst(c.Layer.InputLayout, oracle.Array{Shape: shape, Value: got})
	r, err := Outputs(t.Context(), c, subject.Float32, &out, nil)
	require.NoError(t, err)
	require.Equal(t, report.Fail, r.Verdict)
	return matchedIDs(r.Diagnosis)
}

// A causal mask that ends with the last key has a name where the case begins at the first key: in
// cross attention, and for a single query.
func TestCausalMaskAtTheOtherCorner(t *testing.T) {
	for _, name := range []string{"mha/cross-causal", "sdpa/causal-rectangular"} {
		c := harnesstest.ReadCase(t, name)
		p := oracle.FromCase(c)
		queries, keys := p.Query.Shape[len(p.Query.Shape)-2], p.Key.Shape[len(p.Key.Shape)-2]
		wrong := p.Clone()
		wrong.Causal = func(query, key int) bool { return key <= query+keys-queries }
		require.Equal(t, "causal-lower-right", named(t, c, p, variant.Correct[0].Run(wrong)), name)
	}
}

// A cache that reads as zero has a name of its own, with padding, a window and ALiBi.
func TestCacheOfZeros(t *testing.T) {
	for _, name := range []string{"decoder/gemma", "decoder/window-cache", "decoder/alibi-cache", "decoder/decode"} {
		c := harnesstest.ReadCase(t, name)
		p := oracle.FromCase(c)
		wrong := p.Clone()
		zeros := oracle.Array{Shape: p.Past.Key.Shape, Value: make([]float64, len(p.Past.Key.Value))}
		wrong.Past = &oracle.Past{Key: zeros, Value: zeros}
		require.Equal(t, "cache-zero", named(t, c, p, variant.Correct[1].Run(wrong)), name)
	}
}

// An online softmax that does not rescale is found with the width of its tiles. Left padding fills
// tiles, too.
func TestOnlineSoftmaxInTilesOfPositions(t *testing.T) {
	for _, tc := range []struct {
		name, id string
		width    int
	}{
		{"mha/causal-left-padding", "online-softmax-not-rescaled", 4},
		{"mha/cross-left-padding", "online-softmax-not-rescaled-8", 8},
		{"decoder/rope-half-left-padding", "online-softmax-not-rescaled", 4},
		{"sdpa/long", "online-softmax-not-rescaled-16", 16},
		{"sdpa/long", "online-softmax-not-rescaled-64", 64},
	} {
		c := harnesstest.ReadCase(t, tc.name)
		p := oracle.FromCase(c)
		wrong := p.Clone()
		wrong.Softmax = notRescaled(tc.width)
		exact := wrong.Run()
		require.Equal(t, tc.id, named(t, c, p, inFloat32(exact.Value)), "%s, tiles of %d", tc.name, tc.width)
	}
}

// notRescaled runs a softmax over tiles of key positions as a kernel does. It rescales the sum of
// the weights when the maximum rises, and forgets the weights themselves.
func notRescaled(width int) func(oracle.Row) (weights, slopes []float64) {
	return func(row oracle.Row) (weights, slopes []float64) {
		highest, total := math.Inf(-1), 0.0
		weights = make([]float64, len(row.Keys))
		for first := 0; first <= row.Keys[len(row.Keys)-1]; first += width {
			before := highest
			for n, key := range row.Keys {
				if first <= key && key < first+width {
					highest = math.Max(highest, row.Scores[n])
				}
			}
			if before > math.Inf(-1) {
				total *= math.Exp(before - highest)
			}
			for n, key := range row.Keys {
				if first <= key && key < first+width {
					weights[n] = math.Exp(row.Scores[n] - highest)
					total += weights[n]
				}
			}
		}
		for n := range weights {
			weights[n] /= total + math.Exp(row.Sink-highest)
		}
		return weights, weights
	}
}

func inFloat32(values []float64) []float64 {
	rounded := make([]float64, len(values))
	for i, v := range values {
		rounded[i] = float64(float32(v))
	}
	return rounded
}

// A cache in int8 is named by its scales, and never taken for fewer bits of the whole computation.
func TestInt8Caches(t *testing.T) {
	c := harnesstest.ReadCase(t, "decoder/cache-left-padding")
	p := oracle.FromCase(c)
	for _, id := range []string{
		"cache-int8", "cache-int8-by-head", "cache-int8-by-tensor", "cache-int8-scale-floored",
		"cache-int8-unscaled", "cache-int8-by-tensor-unscaled", "cache-int8-with-new-keys",
	} {
		wrong, ok := catalogue.Make(p, nil, mistake(t, id))
		require.True(t, ok)
		require.Equal(t, id, named(t, c, p, inFloat32(wrong.Run().Value)))
	}
	for _, lower := range []oracle.Precision{oracle.BFloat16, oracle.Float16, oracle.TensorFloat32} {
		rounded := p.Rounded(lower, oracle.Inputs|oracle.Parameters)
		require.NotContains(t, named(t, c, p, inFloat32(rounded.Run().Value)), "int8", "%v", lower)
	}
}
