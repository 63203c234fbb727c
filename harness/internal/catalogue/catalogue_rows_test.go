package catalogue_test

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// Some rows by themselves are those of the whole result, with every mistake: with noise and without, and with
// what is known of the right computation and without.
func TestMistakesInSomeRows(t *testing.T) {
	for _, name := range []string{
		"mha/causal-left-padding", "mha/cross-kdim", "mha/block-per-head", "decoder/gemma", "decoder/rope-half-left-padding", "decoder/alibi-cache",
		"sdpa/bool-mask-whole", "sdpa/gqa", "samples/sdpa-no-batch-causal",
	} {
		c, err := fixture.Read(fixtures.FS, name)
		require.NoError(t, err)
		p := oracle.FromCase(c)
		shared := p.Cached()
		right := shared.Run()
		width := right.Shape[len(right.Shape)-1]
		rows := []int{len(right.Value)/width - 1, 1, len(right.Value) / width / 2}
		for _, m := range catalogue.Mistakes {
			makers := map[string]*oracle.Problem{"a clone": p.Clone(), "later": shared.Fork()}
			if m.Stage == catalogue.Context {
				makers["after the context"] = shared.ForkAfterContext()
			}
			whole := p.Clone()
			if !m.Plant(whole, rand.New(rand.NewPCG(1, 2))) {
				continue
			}
			want := whole.Run()
			for how, wrong := range makers {
				require.True(t, m.Plant(wrong, rand.New(rand.NewPCG(1, 2))))
				noisy, err := wrong.Rows(t.Context(), rows, oracle.WithNoise)
				require.NoError(t, err)
				plain, err := wrong.Rows(t.Context(), rows, oracle.ValuesAlone)
				require.NoError(t, err)
				require.Nil(t, plain.Variance)
				for i, row := range rows {
					part := oracle.Field{Value: want.Value[row*width:][:width], Variance: want.Variance[row*width:][:width]}
					own := oracle.Field{Value: noisy.Value[i*width:][:width], Variance: noisy.Variance[i*width:][:width]}
					require.Equal(t, bits(part), bits(own), "%s on %s, row %d of %s", m.ID, name, row, how)
					require.Equal(t, bits(oracle.Field{Value: part.Value}), bits(oracle.Field{Value: plain.Value[i*width:][:width]}), "%s on %s without noise, row %d of %s", m.ID, name, row, how)
				}
			}
		}
		require.Equal(t, bits(right), bits(shared.Fork().Run()), "%s was changed", name)
	}
}

// A context that is mixed over the heads, and then merged so that a row has parts of few of them.
func TestMixedHeadsInSomeRows(t *testing.T) {
	c, err := fixture.Read(fixtures.FS, "mha/causal")
	require.NoError(t, err)
	p := oracle.FromCase(c).Clone()
	for _, id := range []string{"heads-averaged", "heads-merge-untransposed"} {
		m, _ := catalogue.ByID(id)
		require.True(t, m.Plant(p, nil))
	}
	whole := p.Run()
	one, err := p.Rows(t.Context(), []int{10}, oracle.ValuesAlone)
	require.NoError(t, err)
	require.Equal(t, whole.Value[10*40:][:40], one.Value)
}
