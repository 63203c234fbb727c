package fresh_test

import (
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/fresh"
)

// A case in a folder tells the configuration that it was made from.
func TestConfigOf(t *testing.T) {
	for _, flags := range [][]string{
		{},
		{"--heads=6", "--kv-heads=2", "--queries=1", "--keys=40", "--past=39", "--causal=lower-right"},
		{"--mask=padding", "--precision=bfloat16", "--value-dim=3"},
		{"--mask=additive", "--precision=float64", "--alibi"},
		{"--layer", "--rope=half", "--kv-heads=1", "--keys=30", "--window=4", "--mask=padding"},
		{"--cross", "--keys=9", "--order=sequence-first"},
	} {
		want, err := fresh.Parse(flags)
		require.NoError(t, err, "%v", flags)
		c, err := fresh.Case("mine/one", want)
		require.NoError(t, err, "%v", flags)
		fresh.SetTruth(c)
		dir := t.TempDir()
		require.NoError(t, fixture.Write(dir, c))
		read, err := fixture.Read(os.DirFS(dir), "mine/one")
		require.NoError(t, err, "%v", flags)
		got, ok := fresh.ConfigOf(read)
		require.True(t, ok)
		require.Equal(t, want, got)
		require.Equal(t, fixture.ByOracle, read.Provenance.Source())
	}
	_, ok := fresh.ConfigOf(&fixture.Case{Purpose: "The causal mask."})
	require.False(t, ok)
}

// Scores have a standard deviation near the one that is asked for.
func TestScores(t *testing.T) {
	for _, want := range []float64{0, 0.1, 8} {
		c, err := fresh.Case("mine/one", fresh.Config{
			Batch: 2, Heads: 4, HeadDim: 40, Queries: 30, Keys: 30, Scale: 0.3, Scores: want, Seed: 5,
		})
		require.NoError(t, err)
		q, k, sum := c.Inputs.Query.Data, c.Inputs.Key.Data, 0.0
		for n := range 2 * 4 * 30 {
			dot := 0.0
			for e := range 40 {
				dot += float64(q[n*40+e]) * float64(k[n*40+e])
			}
			sum += 0.3 * dot * 0.3 * dot
		}
		if want == 0 {
			want = 1
		}
		require.InEpsilon(t, want, math.Sqrt(sum/(2*4*30)), 0.2)
	}
}

// Padding differs between batch elements, and element 0 is padded.
func TestLengths(t *testing.T) {
	for seed := range uint64(20) {
		config := fresh.Config{Batch: 5, Heads: 1, HeadDim: 2, Queries: 3, Keys: 6, Mask: "padding", Seed: seed}
		c, err := fresh.Case("mine/one", config)
		require.NoError(t, err)
		lengths := slices.Clone(c.Options.KeyLengths)
		require.Less(t, lengths[0], 6)
		slices.Sort(lengths)
		require.Len(t, slices.Compact(lengths), 5)
		require.Positive(t, lengths[0])
	}
}

func TestCheckRefuses(t *testing.T) {
	for flag, want := range map[string]string{
		"--heads=0":                       "--heads 0: want 1 to",
		"--kv-heads=3":                    "--kv-heads 3: does not divide --heads 4",
		"--causal=upper":                  `--causal "upper": want one of`,
		"--past=7 --keys=7":               "--past 7: want fewer than --keys 7",
		"--causal=top-left --mask=bool":   "causal or has a mask",
		"--rope=half --precision=float16": "only of a function",
		"--layer --value-dim=3":           "only of a function",
		"--rope=half --head-dim=7":        "rope",
		"--colour=3":                      "no field of a case",
		"--heads=many":                    "invalid syntax",
	} {
		_, err := fresh.Parse(strings.Fields(flag))
		require.ErrorContains(t, err, want, flag)
	}
}
