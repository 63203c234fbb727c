package judge

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/harnesstest"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/variant"
)

// Masks of every shape that broadcasts mean the same to three implementations that share no
// arithmetic: the attention package, the oracle, and a float32 variant.
func TestMasksBroadcast(t *testing.T) {
	const B, H, L, S, E = 2, 3, 4, 5, 6
	r := rand.New(rand.NewPCG(11, 0))
	tensor := func(shape ...int) *attention.Tensor {
		t := attention.NewTensor(shape...)
		for i := range t.Data {
			t.Data[i] = float32(r.NormFloat64())
		}
		return t
	}
	for _, shape := range [][]int{{}, {S}, {1}, {L, S}, {1, S}, {L, 1}, {H, L, S}, {H, 1, S}, {1, L, S}, {B, H, L, S}, {B, 1, L, S}, {B, 1, 1, S}, {1, H, 1, 1}} {
		for _, kind := range []string{"allow", "bias"} {
			t.Run(fmt.Sprintf("%s %s", kind, attention.FormatShape(shape)), func(t *testing.T) {
				c := &fixture.Case{Op: fixture.SDPA, Inputs: attention.Inputs{Query: tensor(B, H, L, E), Key: tensor(B, H, S, E), Value: tensor(B, H, S, E)}}
				if kind == "allow" {
					c.Options.Allow = attention.NewMask(shape...)
					for i := range c.Options.Allow.Data {
						c.Options.Allow.Data[i] = r.IntN(3) > 0
					}
				} else {
					c.Options.Bias = tensor(shape...)
					c.Options.Bias.Data[0] = float32(math.Inf(-1))
				}
				agree(t, c)
			})
		}
	}
}

// A layer's masks in all combinations, Block among them, which no committed case has.
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
		t.Run(fmt.Sprintf("causal %t, padding %t, block %t", !c.Layer.Bidirectional, c.Inputs.Padding != nil, c.Inputs.Block != nil), func(t *testing.T) {
			agree(t, &c)
		})
	}
}

// agree wants the attention package and a variant within the noise of the oracle.
func agree(t *testing.T, c *fixture.Case) {
	t.Helper()
	problem := oracle.FromCase(c)
	truth := problem.Run().Expected()
	ran := harnesstest.BuiltIn().Run(t.Context(), c)
	require.NoError(t, ran.Err)
	for name, got := range map[string][]float64{"attention": ran.Output.Float64s(), "variant": variant.Variant{}.Run(problem)} {
		if cmp := compare.Outputs(truth.Shape, got, truth); !cmp.OK() {
			t.Errorf("%s: max z %.3g, rms z %.3g, worst %+v", name, cmp.MaxZ, cmp.RMSZ, cmp.Worst)
		}
	}
}
