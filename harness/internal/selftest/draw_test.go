package selftest

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// Drawn cases are valid, and every mistake can be made on one of them.
func TestDrawnCases(t *testing.T) {
	made := map[string]bool{}
	for n := range 60 {
		c := drawCase(DefaultSeed, n)
		switch c.Op {
		case fixture.SDPA:
			in := c.Inputs
			require.NoError(t, attention.CheckSDPA(in.Query, in.Key, in.Value, c.Options), "case %d", n)
		case fixture.Rotary:
			require.NoError(t, attention.CheckRotaryEmbedding(c.Turned, c.Rotation), "case %d", n)
		default:
			require.NoError(t, c.Layer.CheckStateDict(c.State), "case %d", n)
			require.NoError(t, c.Layer.CheckInputs(c.Inputs), "case %d", n)
		}
		for _, m := range catalogue.Mistakes {
			if !made[m.ID] {
				_, made[m.ID] = catalogue.Make(oracle.FromCase(c), rand.New(rand.NewPCG(1, 1)), m)
			}
		}
	}
	for _, m := range catalogue.Mistakes {
		require.True(t, made[m.ID], m.ID)
	}
}
