package oracle_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/random"
)

// A softmax that rounds every step to fewer bits is as far from the truth as the noise says. Noise
// that is half or twice as large would not pass.
func TestSoftmaxInAnotherPrecision(t *testing.T) {
	const lead, queries, keys, width = 6, 16, 20, 8
	for name, lower := range map[fixture.DType]oracle.Precision{
		fixture.Float16: oracle.Float16, fixture.BFloat16: oracle.BFloat16,
	} {
		r := random.Draw{Rand: rand.New(rand.NewPCG(7, 0))}
		c := &fixture.Case{Op: fixture.SDPA, SoftmaxPrecision: name, Inputs: attention.Inputs{
			Query: r.Tensor(1, lead, queries, width), Key: r.Tensor(1, lead, keys, width),
			Value: r.Tensor(1, lead, keys, width),
		}}
		in := c.Inputs
		var got []float64
		for row := range lead * queries {
			first := row / queries * keys * width
			scores := make([]float64, keys)
			for j := range scores {
				for e, q := range in.Query.Data[row*width:][:width] {
					scores[j] += float64(q) * float64(in.Key.Data[first+j*width+e]) / math.Sqrt(width)
				}
			}
			got = append(got, mixed(inSteps(scores, lower.Round), in.Value.Float64s()[first:], width)...)
		}
		truth := oracle.FromCase(c).Run().Expected()
		found := compare.Outputs(truth.Shape, got, truth)
		require.Less(t, found.MaxZ, 6., name)
		require.InDelta(t, 0.75, found.RMSZ, 0.25, name)
		plain := *c
		plain.SoftmaxPrecision = fixture.Float64
		exact := oracle.FromCase(&plain).Run().Expected()
		require.Equal(t, exact.Value, truth.Value, "the truth is not rounded")
		require.Greater(t, compare.Outputs(exact.Shape, got, exact).RMSZ, 100.)
	}
}

// inSteps returns the softmax of scores, with every step rounded.
func inSteps(scores []float64, round func(float64) float64) []float64 {
	weights, total := make([]float64, len(scores)), 0.0
	for j, s := range scores {
		weights[j] = round(s)
	}
	top := slices.Max(weights)
	for j, s := range weights {
		weights[j] = round(math.Exp(round(s - top)))
		total += weights[j]
	}
	for j, w := range weights {
		weights[j] = round(w / round(total))
	}
	return weights
}

// mixed returns the sum of values by their weights.
func mixed(weights, values []float64, width int) []float64 {
	context := make([]float64, width)
	for j, w := range weights {
		for e := range context {
			context[e] += w * values[j*width+e]
		}
	}
	return context
}
