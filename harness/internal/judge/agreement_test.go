package judge

// These tests compare three implementations that share no arithmetic: the attention package, the
// oracle, and a float32 variant.

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/campaign"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/diagnose"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/harnesstest"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/random"
	"github.com/difftest/difftest/harness/internal/variant"
)

// compared compares the outputs of the attention package and of a variant with the oracle's. For a
// case with attention weights it compares the attention package's weights as well.
func compared(t *testing.T, c *fixture.Case) map[string]compare.Comparison {
	t.Helper()
	problem := oracle.FromCase(c)
	truth := problem.Run().Expected()
	ran := harnesstest.BuiltIn().Run(t.Context(), c)
	require.NoError(t, ran.Err)
	require.Empty(t, ran.Findings)
	all := map[string]compare.Comparison{
		"attention": compare.Outputs(ran.Output.Shape, ran.Output.Float64s(), inLayout(c, truth)),
		"variant":   compare.Outputs(truth.Shape, variant.Variant{}.Run(problem), truth),
	}
	if c.Weights != nil {
		weights := expectedWeights(c, problem.Weights())
		all["weights"] = compare.Outputs(ran.Weights.Shape, ran.Weights.Float64s(), weights)
	}
	return all
}

// Masks of every shape that broadcasts mean the same to all three.
func TestMasksBroadcast(t *testing.T) {
	const B, H, L, S, E = 2, 3, 4, 5, 6
	r := random.Draw{Rand: rand.New(rand.NewPCG(11, 0))}
	for _, shape := range [][]int{
		{}, {S}, {1}, {L, S}, {1, S}, {L, 1}, {H, L, S}, {H, 1, S}, {1, L, S},
		{B, H, L, S}, {B, 1, L, S}, {B, 1, 1, S}, {1, H, 1, 1},
	} {
		for _, kind := range []string{"allow", "bias"} {
			t.Run(fmt.Sprintf("%s %s", kind, attention.FormatShape(shape)), func(t *testing.T) {
				c := &fixture.Case{Op: fixture.SDPA, Inputs: attention.Inputs{
					Query: r.Tensor(B, H, L, E), Key: r.Tensor(B, H, S, E), Value: r.Tensor(B, H, S, E),
				}}
				if kind == "allow" {
					c.Options.Allow = r.Mask(2./3, shape...)
				} else {
					c.Options.Bias = r.Tensor(shape...)
					c.Options.Bias.Data[0] = float32(math.Inf(-1))
				}
				requireWithinNoise(t, c)
			})
		}
	}
}

// A layer's masks mean the same to all three in every combination. No committed case has all of
// them.
func TestLayerMasks(t *testing.T) {
	for choice := range 8 {
		c := *harnesstest.ReadCase(t, "mha/cross-kdim")
		c.Layer.Bidirectional = choice&1 == 0
		if choice&2 == 0 {
			c.Inputs.Padding = nil
		}
		if choice&4 != 0 {
			c.Inputs.Block = attention.NewMask(7, 10)
			for i := range c.Inputs.Block.Data {
				c.Inputs.Block.Data[i] = i*i%7 == 1
			}
		}
		name := fmt.Sprintf("causal %t, padding %t, block %t",
			!c.Layer.Bidirectional, c.Inputs.Padding != nil, c.Inputs.Block != nil)
		t.Run(name, func(t *testing.T) { requireWithinNoise(t, &c) })
	}
}

func requireWithinNoise(t *testing.T, c *fixture.Case) {
	t.Helper()
	for by, cmp := range compared(t, c) {
		if !cmp.OK() {
			t.Errorf("%s: max z %.3g, rms z %.3g, worst %+v", by, cmp.MaxZ, cmp.RMSZ, cmp.Worst)
		}
	}
}

// randomCase draws a layer or, for every third n, a function, or for every seventh a rotation by
// tables. Its options come in all combinations.
func randomCase(seed, n uint64) *fixture.Case {
	r := random.Draw{Rand: rand.New(rand.NewPCG(seed, n))}
	c := r.Layer()
	if n%3 == 0 {
		c = r.Function()
	}
	if n%7 == 0 {
		c = r.Rotary()
	}
	return c
}

// Options in all combinations mean the same to all three, also in combinations that no committed
// case has.
func TestRandomCasesAgree(t *testing.T) {
	for n := range uint64(1500) {
		c := randomCase(20260301, n)
		for by, cmp := range compared(t, c) {
			require.True(t, cmp.MaxZ <= compare.MaxZ && cmp.SameShape(), "case %d: %+v %+v, %s: max z %.3g, worst %+v",
				n, c.Layer, c.Options, by, cmp.MaxZ, cmp.Worst)
		}
		problem := oracle.FromCase(c)
		out := problem.Run()
		require.Len(t, problem.Visible(), len(out.Value)/out.Shape[len(out.Shape)-1], "case %d", n)
	}
}

// On random cases no mistake makes the catalogue panic, and every wrong output gets a class.
func TestRandomCasesAreSeen(t *testing.T) {
	cases := uint64(12)
	if campaign.Full() {
		cases = 40
	}
	for n := range cases {
		problem := oracle.FromCase(randomCase(20260302, n))
		own := problem.Run().Expected()
		reference := diagnose.NewReference(problem, own)
		require.NotEmpty(t, reference.Visibility().Absent)
		wrong := slices.Clone(own.Value)
		for i := range wrong {
			wrong[i] += 0.01 * float64(i%7)
		}
		require.NotEmpty(t, reference.Diagnose(t.Context(), wrong, compare.Outputs(own.Shape, wrong, own)).Class)
	}
}
