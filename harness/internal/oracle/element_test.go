package oracle_test

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// Without a batch the elements are heads. Each has its own slope and sink, and its share of a key.
func TestElementOfHeadsWithoutABatch(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	random := func(shape ...int) *attention.Tensor {
		t := attention.NewTensor(shape...)
		for i := range t.Data {
			t.Data[i] = float32(r.NormFloat64())
		}
		return t
	}
	for name, change := range map[string]func(*fixture.Case){
		"plain":  func(*fixture.Case) {},
		"ALiBi":  func(c *fixture.Case) { c.Options.ALiBi = true },
		"sinks":  func(c *fixture.Case) { c.Options.Sinks = random(4) },
		"bias":   func(c *fixture.Case) { c.Options.Bias = random(4, 3, 5) },
		"shared": func(c *fixture.Case) { c.Inputs.Query = random(1, 3, 6) },
		"grouped": func(c *fixture.Case) {
			c.Options.GroupedQuery, c.Inputs.Key, c.Inputs.Value = true, random(2, 5, 6), random(2, 5, 6)
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := &fixture.Case{Op: fixture.SDPA}
			c.Inputs = attention.Inputs{Query: random(4, 3, 6), Key: random(4, 5, 6), Value: random(4, 5, 6)}
			change(c)
			p := oracle.FromCase(c)
			whole := p.Run()
			require.Equal(t, []int{4, 3, 6}, whole.Shape)
			for h := range 4 {
				part := p.Element(h).Run()
				require.Equal(t, []int{1, 3, 6}, part.Shape)
				require.Equal(t, whole.Value[h*18:][:18], part.Value, "head %d", h)
				require.Equal(t, whole.Variance[h*18:][:18], part.Variance, "head %d", h)
			}
		})
	}
}

// The result of one batch element is its part of the whole result.
func TestElementIsPartOfTheWhole(t *testing.T) {
	for _, name := range []string{
		"mha/causal-left-padding", "mha/cross-kdim", "mha/float-mask-causal", "mha/sequence-first",
		"sdpa/bool-mask", "sdpa/float-mask", "sdpa/gqa",
		"seed/causal", "decoder/gemma", "decoder/alibi-cache", "decoder/relative-bias-cache", "decoder/sinks",
	} {
		c, err := fixture.Read(fixtures.FS, name)
		require.NoError(t, err)
		p := oracle.FromCase(c)
		whole := p.Run()
		size := len(whole.Value) / whole.Shape[0]
		for b := range whole.Shape[0] {
			part := p.Element(b).Run()
			require.Equal(t, append([]int{1}, whole.Shape[1:]...), part.Shape)
			require.Equal(t, whole.Value[b*size:][:size], part.Value, "%s, element %d", name, b)
			require.Equal(t, whole.Variance[b*size:][:size], part.Variance, "%s, element %d", name, b)
		}
	}
}
