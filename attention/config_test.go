package attention_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
)

func TestConfigCheck(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(c *attention.Config)
		err    string
	}{
		{"zero value", func(c *attention.Config) { *c = attention.Config{} },
			"config: embed dim 0, want at least 1 and at most 1048576\n" +
				"config: num heads 0, want at least 1 and at most 1048576"},
		{"heads do not divide", func(c *attention.Config) { c.NumHeads = 5 },
			"config: num heads 5 does not divide embed dim 12"},
		{"more heads than features", func(c *attention.Config) { c.NumHeads = 24 },
			"config: num heads 24 does not divide embed dim 12"},
		{"key heads do not divide",
			func(c *attention.Config) { c.NumKVHeads, c.ParamLayout = 3, attention.LlamaLayout },
			"config: num kv heads 3 does not divide num heads 4"},
		{"more key heads than heads",
			func(c *attention.Config) { c.NumKVHeads, c.ParamLayout = 8, attention.LlamaLayout },
			"config: num kv heads 8 does not divide num heads 4"},
		{"negative widths",
			func(c *attention.Config) {
				c.NumKVHeads, c.HeadDim, c.KDim, c.VDim, c.ParamLayout = -1, -2, -3, -4, attention.LlamaLayout
			},
			"config: num kv heads -1, want 0 (num heads) or at least 1 and at most 1048576\n" +
				"config: head dim -2, want 0 (embed dim / num heads) or at least 1 and at most 1048576\n" +
				"config: kdim -3, want 0 (embed dim) or at least 1 and at most 1048576\n" +
				"config: vdim -4, want 0 (embed dim) or at least 1 and at most 1048576"},
		{"a width beyond the limit", func(c *attention.Config) { c.KDim = 1<<20 + 1 },
			"config: kdim 1048577, want 0 (embed dim) or at least 1 and at most 1048576"},
	} {
		requireRefused(t, tc.name, tc.change, tc.err)
	}
}

func TestConfigCheckOfScores(t *testing.T) {
	const (
		appended = "config: keys appended by bias kv or zero attn have no position: " +
			"not together with RoPE, ALiBi, relative bias or a window"
		epsilon = "config: qk norm epsilon: want a finite number, 0 or more"
	)
	for _, tc := range []struct {
		name   string
		change func(c *attention.Config)
		err    string
	}{
		{"scale", func(c *attention.Config) { c.Scale = math.Inf(1) }, "config: scale +Inf is not finite"},
		{"negative softcap", func(c *attention.Config) { c.Softcap = -1 },
			"config: softcap -1, want 0 (none) or a positive number"},
		{"infinite softcap", func(c *attention.Config) { c.Softcap = math.Inf(1) },
			"config: softcap +Inf, want 0 (none) or a positive number"},
		{"window", func(c *attention.Config) { c.Window = -1 },
			"config: window -1, want 0 (none) or at least 1"},
		{"negative relative bias", func(c *attention.Config) { c.RelativeBias = -1 },
			"config: relative bias -1, want 0 (none) or a distance up to 1048576"},
		{"far relative bias", func(c *attention.Config) { c.RelativeBias = 1<<20 + 1 },
			"config: relative bias 1048577, want 0 (none) or a distance up to 1048576"},
		{"negative epsilon", func(c *attention.Config) { c.QKNorm = &attention.QKNorm{Epsilon: -1} }, epsilon},
		{"epsilon NaN", func(c *attention.Config) { c.QKNorm = &attention.QKNorm{Epsilon: math.NaN()} }, epsilon},
		{"learned key and window", func(c *attention.Config) { c.BiasKV, c.Window = true, 2 }, appended},
		{"learned key and RoPE",
			func(c *attention.Config) { c.BiasKV, c.EmbedDim, c.RoPE = true, 16, &attention.RoPE{Base: 1} },
			appended},
		{"zero key and ALiBi", func(c *attention.Config) { c.ZeroAttn, c.ALiBi = true, true }, appended},
		{"zero key and relative bias", func(c *attention.Config) { c.ZeroAttn, c.RelativeBias = true, 1 }, appended},
	} {
		requireRefused(t, tc.name, tc.change, tc.err)
	}
}

func TestConfigCheckOfRoPE(t *testing.T) {
	for _, tc := range []struct {
		name string
		rope attention.RoPE
		err  string
	}{
		{"odd dim", attention.RoPE{Dim: 1, Base: 1},
			"config: rope: dim 1, want an even number up to the head dim 3, or 0 for all of an even one"},
		{"all of an odd head", attention.RoPE{Base: 1},
			"config: rope: dim 0, want an even number up to the head dim 3, or 0 for all of an even one"},
		{"dim beyond the head", attention.RoPE{Dim: 4, Base: 1},
			"config: rope: dim 4, want an even number up to the head dim 3, or 0 for all of an even one"},
		{"negative dim", attention.RoPE{Dim: -2, Base: 1},
			"config: rope: dim -2, want an even number up to the head dim 3, or 0 for all of an even one"},
		{"no base", attention.RoPE{Dim: 2}, "config: rope: base 0, want a positive number"},
		{"infinite base", attention.RoPE{Dim: 2, Base: math.Inf(1)},
			"config: rope: base +Inf, want a positive number"},
		{"negative factor", attention.RoPE{Dim: 2, Base: 1, Factor: -1},
			"config: rope: factor -1, want 0 (1) or a positive number"},
	} {
		requireRefused(t, tc.name, func(c *attention.Config) { c.RoPE = &tc.rope }, tc.err)
	}
}

func TestConfigCheckOfLayouts(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(c *attention.Config)
		err    string
	}{
		{"biases of the seed layout", func(c *attention.Config) { c.ParamLayout = attention.SeedLayout },
			"config: the keys W_Q W_K W_V W_O name no biases: set WithoutBias"},
		{"grouped heads of nn.MultiheadAttention", func(c *attention.Config) { c.NumKVHeads = 2 },
			"config: the keys of torch.nn.MultiheadAttention need num kv heads = num heads, " +
				"and num heads * head dim = embed dim"},
		{"wide heads of GPT-2", func(c *attention.Config) { c.HeadDim, c.ParamLayout = 4, attention.GPT2Layout },
			"config: the keys c_attn c_proj need num kv heads = num heads, and num heads * head dim = embed dim"},
		{"fused keys of another width",
			func(c *attention.Config) { c.KDim, c.ParamLayout = 5, attention.FusedLayout },
			"config: the keys qkv_proj o_proj hold query, key and value in one parameter: " +
				"kdim and vdim must be embed dim"},
		{"fused values of another width",
			func(c *attention.Config) { c.VDim, c.ParamLayout = 5, attention.NeoXLayout },
			"config: the keys query_key_value dense hold query, key and value in one parameter: " +
				"kdim and vdim must be embed dim"},
		{"learned key of another layout",
			func(c *attention.Config) { c.BiasKV, c.ParamLayout = true, attention.LlamaLayout },
			"config: bias kv goes with the keys of torch.nn.MultiheadAttention alone"},
		{"output bias of nn.MultiheadAttention", func(c *attention.Config) { c.WithoutOutputBias = true },
			"config: the keys of torch.nn.MultiheadAttention have all biases or none"},
	} {
		requireRefused(t, tc.name, tc.change, tc.err)
	}
}

func TestConfigCheckOfUnknownChoices(t *testing.T) {
	for n, err := range map[int]string{
		9: "config: rope: unknown style 9\nconfig: unknown param layout 9\nconfig: unknown input layout 9\n" +
			"config: unknown need weights 9\nconfig: unknown empty row 9",
		-1: "config: rope: unknown style -1\nconfig: unknown param layout -1\nconfig: unknown input layout -1\n" +
			"config: unknown need weights -1\nconfig: unknown empty row -1",
	} {
		requireRefused(t, "choices", func(c *attention.Config) {
			c.ParamLayout, c.InputLayout = attention.ParamLayout(n), attention.InputLayout(n)
			c.NeedWeights, c.EmptyRow = attention.NeedWeights(n), attention.EmptyRow(n)
			c.RoPE = &attention.RoPE{Style: attention.RoPEStyle(n), Dim: 2, Base: 1}
		}, err)
	}
}

// requireRefused changes a configuration that Check accepts, and requires the error of Check and
// New.
func requireRefused(t *testing.T, name string, change func(*attention.Config), want string) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		c := attention.Config{EmbedDim: 12, NumHeads: 4}
		require.NoError(t, c.Check())
		change(&c)
		require.EqualError(t, c.Check(), want)
		_, err := attention.New(c)
		require.EqualError(t, err, want)
	})
}

// Check accepts configurations at the limits. The widest would need more memory than there is, if
// Check allocated its parameters.
func TestConfigCheckAccepts(t *testing.T) {
	for _, tc := range []struct {
		name   string
		config attention.Config
	}{
		{"widest", attention.Config{
			EmbedDim: 1 << 20, NumHeads: 1 << 20, HeadDim: 1 << 20, ParamLayout: attention.NeoXLayout,
			RelativeBias: 1 << 20,
		}},
		{"one head of one feature", attention.Config{EmbedDim: 1, NumHeads: 1}},
		{"wide heads of Llama", attention.Config{
			EmbedDim: 5, NumHeads: 4, NumKVHeads: 1, HeadDim: 6, KDim: 3, VDim: 2,
			ParamLayout: attention.LlamaLayout, WithoutOutputBias: true,
		}},
		{"grouped heads of the seed layout", attention.Config{
			EmbedDim: 12, NumHeads: 4, NumKVHeads: 2, ParamLayout: attention.SeedLayout, WithoutBias: true,
		}},
		{"no bias, no output bias", attention.Config{
			EmbedDim: 12, NumHeads: 4, WithoutBias: true, WithoutOutputBias: true,
		}},
		{"rotation of a whole head", attention.Config{
			EmbedDim: 16, NumHeads: 4, RoPE: &attention.RoPE{Dim: 4, Base: 10000, Factor: 8},
		}},
		{"no epsilon", attention.Config{EmbedDim: 12, NumHeads: 4, QKNorm: &attention.QKNorm{}}},
		{"separate weights with appended keys", attention.Config{
			EmbedDim: 12, NumHeads: 4, ParamLayout: attention.TorchSeparateLayout, BiasKV: true, ZeroAttn: true,
		}},
		{"negative scale", attention.Config{EmbedDim: 12, NumHeads: 4, Scale: -1}},
	} {
		t.Run(tc.name, func(t *testing.T) { require.NoError(t, tc.config.Check()) })
	}
}

// New fills in the widths that the comments of the fields promise.
func TestConfigIsFilledIn(t *testing.T) {
	c := newLayer(t, attention.Config{EmbedDim: 12, NumHeads: 4}).Config()
	require.Equal(t, attention.Config{EmbedDim: 12, NumHeads: 4, NumKVHeads: 4, HeadDim: 3, KDim: 12, VDim: 12}, c)
}
