package causes

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/internal/campaign"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/report"
)

// wholeSuite reads every embedded case.
func wholeSuite(t *testing.T) []*fixture.Case {
	t.Helper()
	names, err := fixture.Names(fixtures.FS)
	require.NoError(t, err)
	var all []*fixture.Case
	for _, name := range names {
		c, err := fixture.Read(fixtures.FS, name)
		require.NoError(t, err)
		all = append(all, c)
	}
	return all
}

// divided returns the cases that have a feature, and the others.
func divided(all []*fixture.Case, has func(*fixture.Case) bool) (with, without []*fixture.Case) {
	for _, c := range all {
		if has(c) {
			with = append(with, c)
		} else {
			without = append(without, c)
		}
	}
	return with, without
}

// A fault in every case with a feature is described by the feature, or by others that exactly the
// same cases have.
func TestEveryFeatureIsFound(t *testing.T) {
	campaign.SkipShort(t)
	all := wholeSuite(t)
	ids, found := map[string]bool{}, 0
	for _, f := range features {
		require.False(t, ids[f.id], f.id)
		ids[f.id] = true
		failures, passes := divided(all, f.has)
		s := shared(report.AllFailures, failures, passes)
		if len(failures) < severalFailures || len(passes) < severalFailures {
			require.Nil(t, s, f.id)
			continue
		}
		require.NotNil(t, s, f.id)
		for _, g := range s.Features {
			require.Zero(t, g.Passes, "%s by %s", f.id, g.ID)
			require.NotContains(t, g.ID, "+", "%s by %s", f.id, g.ID)
		}
		found++
	}
	require.Greater(t, found, 35)
}

// Failures drawn at random share nothing, or a feature by chance, rarely.
func TestRandomFailuresShareNothing(t *testing.T) {
	campaign.SkipShort(t)
	all := wholeSuite(t)
	r := rand.New(rand.NewPCG(12, 5))
	draws, said := 40, 0
	if campaign.Full() {
		draws = 400
	}
	for range draws {
		r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		n := 2 + r.IntN(9)
		if shared(report.AllFailures, all[:n], all[n:]) != nil {
			said++
		}
	}
	require.LessOrEqual(t, said, draws/20)
}

// All features of some cases that together have every one, and their sizes: batch elements, heads,
// queries, keys, head size and the largest input.
func TestFeaturesOfCases(t *testing.T) {
	for _, tc := range []struct {
		name, has string
		sizes     []int
	}{
		{
			"decoder/gemma",
			"window softcap scale grouped-heads causal padding left-padding no-key cache more-keys" +
				" heads-no-power-of-two head-size-no-multiple rope rope-half rope-partial qk-norm" +
				" head-width parameters-llama layer",
			[]int{4, 6, 4, 9, 10, 3},
		},
		{
			"samples/module-bias-add-bias-kv-add-zero-attn-masked",
			"boolean-mask mask-per-head padding more-keys cross own-values no-batch" +
				" heads-no-power-of-two head-size-no-multiple bias-kv zero-attn biases weights" +
				" parameters-torch layer",
			[]int{1, 3, 3, 5, 1, 2},
		},
		{
			"sdpa/float16-mask",
			"float-mask mask-per-head float16 more-keys value-width head-size-no-multiple function",
			[]int{3, 4, 7, 10, 10, 3},
		},
		{
			"sdpa/key-lengths-decode",
			"alibi causal causal-lower-right key-lengths more-keys heads-no-power-of-two" +
				" head-size-no-multiple function",
			[]int{3, 6, 1, 11, 10, 3},
		},
		{
			"decoder/relative-bias-cross",
			"scale more-keys cross heads-no-power-of-two head-size-no-multiple relative-bias" +
				" head-width key-width parameters-llama layer",
			[]int{3, 6, 5, 9, 10, 3},
		},
		{
			"decoder/rope-interleaved",
			"grouped-heads causal heads-no-power-of-two head-size-no-multiple rope rope-interleaved" +
				" rope-partial rope-factor head-width parameters-llama layer",
			[]int{4, 6, 9, 9, 10, 3},
		},
		{
			"layouts/fused-compiled",
			"causal head-size-no-multiple biases prefix parameters-fused layer",
			[]int{3, 4, 9, 9, 10, 3},
		},
		{
			"rotary/bfloat16",
			"bfloat16 function rotation",
			[]int{0, 0, 0, 0, 0, 0},
		},
		{
			"samples/forward-batch-separate-mask",
			"float-mask more-keys cross own-values sequence-first head-size-no-multiple bias-kv biases" +
				" weights parameters-torch-separate layer",
			[]int{2, 2, 3, 6, 2, 3},
		},
		{
			"blocks/aligned-path",
			"module",
			[]int{0, 0, 0, 0, 0, 0},
		},
		{
			"decoder/multi-query",
			"grouped-heads one-kv-head causal heads-no-power-of-two head-size-no-multiple rope" +
				" rope-half head-width parameters-llama layer",
			[]int{4, 6, 9, 9, 10, 3},
		},
		{
			"decoder/sinks",
			"sinks grouped-heads causal heads-no-power-of-two head-size-no-multiple head-width" +
				" parameters-llama layer",
			[]int{4, 6, 9, 9, 10, 3},
		},
		{
			"layouts/gpt",
			"causal head-size-no-multiple biases parameters-gpt2 layer",
			[]int{3, 4, 9, 9, 10, 3},
		},
		{
			"layouts/neox",
			"causal head-size-no-multiple rope rope-half rope-partial biases parameters-neox layer",
			[]int{3, 4, 9, 9, 10, 3},
		},
		{
			"layouts/seed-parallel",
			"causal head-size-no-multiple prefix parameters-seed layer",
			[]int{3, 4, 9, 9, 10, 3},
		},
		{
			"sdpa/first-positions",
			"causal first-positions more-keys head-size-no-multiple function",
			[]int{3, 4, 4, 10, 10, 3},
		},
		{
			"sdpa/float64",
			"causal float64 head-size-no-multiple function",
			[]int{3, 4, 9, 9, 10, 3},
		},
	} {
		c, err := fixture.Read(fixtures.FS, tc.name)
		require.NoError(t, err)
		var has []string
		for _, f := range features {
			if f.has(c) {
				has = append(has, f.id)
			}
		}
		require.Equal(t, tc.has, strings.Join(has, " "), tc.name)
		var counts []int
		for _, s := range sizes {
			counts = append(counts, s.of(c))
		}
		require.Equal(t, tc.sizes, counts, tc.name)
	}
}

// Features at the borders of what counts.
func TestFeaturesAtTheirBorders(t *testing.T) {
	q, long := attention.NewTensor(1, 2, 3, 8), attention.NewTensor(1, 2, 4, 8)
	function := fixture.Case{Op: fixture.SDPA, Inputs: attention.Inputs{Query: q, Key: q, Value: q}}
	has := func(id string, c fixture.Case) bool {
		i := slices.IndexFunc(features, func(f feature) bool { return f.id == id })
		return features[i].has(&c)
	}
	for _, id := range []string{
		"more-keys", "more-queries", "value-width", "no-batch", "grouped-heads", "heads-no-power-of-two",
		"head-size-no-multiple", "window", "softcap", "mask-per-head", "no-key", "rope", "cross",
	} {
		require.False(t, has(id, function), id)
	}
	shorter := function
	shorter.Inputs.Query, shorter.Inputs.Key, shorter.Inputs.Value = long, q, q
	require.True(t, has("more-queries", shorter))
	require.False(t, has("more-keys", shorter))
	narrow := function
	narrow.Inputs.Query = attention.NewTensor(2, 3, 8)
	require.True(t, has("no-batch", narrow))
	require.Equal(t, 1, batchCount(&narrow))
	window := function
	window.Options.Window = 1
	require.True(t, has("window", window))
	for heads, want := range map[int]bool{1: false, 2: true} {
		masked := function
		masked.Options.Bias = attention.NewTensor(heads, 3, 3)
		require.Equal(t, want, has("mask-per-head", masked), heads)
	}
	masked := function
	masked.Options.Bias = attention.NewTensor(3, 3)
	require.False(t, has("mask-per-head", masked))

	flat := fixture.Case{Op: fixture.SDPA}
	flat.Inputs.Query = attention.NewTensor(3, 8)
	flat.Inputs.Key, flat.Inputs.Value = flat.Inputs.Query, flat.Inputs.Query
	heads, kv := headCounts(&flat)
	require.Equal(t, []int{1, 1}, []int{heads, kv})
	require.False(t, has("one-kv-head", flat), "one head is not grouped")
	huge := function
	huge.Inputs.Value = attention.NewTensor(1, 2, 3, 8)
	huge.Inputs.Value.Data[5] = -1e30
	require.Equal(t, math.MaxInt32, largestInput(&huge))
	huge.Inputs.Value.Data[5] = -7.9
	require.Equal(t, 7, largestInput(&huge))
}

// Features of layers at the borders of what counts.
func TestFeaturesOfLayersAtTheirBorders(t *testing.T) {
	q := attention.NewTensor(2, 5, 32)
	of := func(change func(c *fixture.Case)) *fixture.Case {
		c := &fixture.Case{Op: fixture.MultiHead, Inputs: attention.Inputs{Query: q, Key: q, Value: q}}
		c.Layer = attention.Config{EmbedDim: 32, NumHeads: 4, Bidirectional: true, WithoutBias: true}
		change(c)
		return c
	}
	rope := func(r attention.RoPE) func(c *fixture.Case) { return func(c *fixture.Case) { c.Layer.RoPE = &r } }
	has := func(c *fixture.Case) (ids []string) {
		for _, f := range features {
			if f.id != "no-key" && f.has(c) { // which needs parameters
				ids = append(ids, f.id)
			}
		}
		return ids
	}
	plain := []string{"parameters-torch", "function"}
	require.Equal(t, plain, has(of(func(*fixture.Case) {})))
	for _, tc := range []struct {
		change func(c *fixture.Case)
		more   string
	}{
		{rope(attention.RoPE{Style: attention.HalfSplit, Factor: 1}), "rope rope-half"},
		{rope(attention.RoPE{Style: attention.Interleaved, Dim: 8}), "rope rope-interleaved"},
		{rope(attention.RoPE{Style: attention.Interleaved, Dim: 6}), "rope rope-interleaved rope-partial"},
		{rope(attention.RoPE{Style: attention.HalfSplit, Factor: 1.5}), "rope rope-half rope-factor"},
		{func(c *fixture.Case) { c.Layer.RelativeBias = 1 }, "relative-bias"},
		{func(c *fixture.Case) { c.Layer.Softcap = 0.5 }, "softcap"},
		{func(c *fixture.Case) { c.Layer.Window = 1 }, "window"},
		{func(c *fixture.Case) { c.Layer.Scale = -0.5 }, "scale"},
		{func(c *fixture.Case) { c.Layer.KDim, c.Layer.VDim = 32, 32 }, ""},
		{func(c *fixture.Case) { c.Layer.KDim = 8 }, "key-width"},
		{func(c *fixture.Case) { c.Layer.VDim = 1 }, "key-width"},
		{func(c *fixture.Case) { c.Layer.NumKVHeads = 4 }, ""},
		{func(c *fixture.Case) { c.Layer.NumKVHeads = 2 }, "grouped-heads"},
		{func(c *fixture.Case) { c.Layer.NumKVHeads = 1 }, "grouped-heads one-kv-head"},
		{func(c *fixture.Case) { c.Layer.HeadDim = 8 }, ""},
		{func(c *fixture.Case) { c.Layer.HeadDim = 16 }, "head-width"},
		{func(c *fixture.Case) { c.Layer.HeadDim = 1 }, "head-size-no-multiple head-width"},
		{func(c *fixture.Case) {
			c.Layer.InputLayout = attention.Unbatched
			c.Inputs.Query = attention.NewTensor(5, 32)
		}, "cross no-batch"},
		{func(c *fixture.Case) { c.Layer.ZeroAttn = true }, "more-keys zero-attn"},
		{func(c *fixture.Case) { c.Inputs.Bias = attention.NewTensor(5, 5) }, "float-mask"},
		{func(c *fixture.Case) { c.Inputs.Bias = attention.NewTensor(1, 5, 5) }, "float-mask mask-per-head"},
		{func(c *fixture.Case) { c.Layer.WithoutBias = false }, "biases"},
		{func(c *fixture.Case) { c.Layer.NeedWeights = attention.WeightsPerHead }, "weights"},
		{func(c *fixture.Case) { c.Layer.Prefix = "x" }, "prefix"},
	} {
		got := slices.DeleteFunc(has(of(tc.change)), func(id string) bool { return slices.Contains(plain, id) })
		require.Equal(t, tc.more, strings.Join(got, " "))
	}
	for heads := 1; heads <= 9; heads++ {
		c := of(func(c *fixture.Case) { c.Layer.NumHeads, c.Layer.HeadDim, c.Layer.EmbedDim = heads, 8, 8*heads })
		want := heads != 1 && heads != 2 && heads != 4 && heads != 8
		require.Equal(t, want, slices.Contains(has(c), "heads-no-power-of-two"), heads)
	}
	for _, tc := range []struct {
		blocked []bool
		want    string
	}{
		{[]bool{false, true, true, false, false, true}, "padding"},
		{[]bool{false, true, true, true, false, false}, "padding left-padding"},
		{nil, "padding"},
	} {
		c := of(func(c *fixture.Case) { c.Inputs.Padding = &attention.Mask{Shape: []int{2, 3}, Data: tc.blocked} })
		got := slices.DeleteFunc(has(c), func(id string) bool { return slices.Contains(plain, id) })
		require.Equal(t, tc.want, strings.Join(got, " "))
	}
	module := &fixture.Case{Op: fixture.Module}
	module.Layer.NumHeads, module.Layer.NumKVHeads = 4, 2
	heads, kv := headCounts(module)
	require.Equal(t, []int{0, 0, 0, 0}, []int{heads, kv, headSize(module), keyCount(module)})
}
