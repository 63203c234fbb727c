package attention_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
)

func TestConfigCheck(t *testing.T) {
	const appended = "config: keys appended by bias kv or zero attn have no position: not together with RoPE, ALiBi, relative bias or a window"
	for _, tc := range []struct {
		name   string
		change func(c *attention.Config)
		err    string
	}{
		{"zero value", func(c *attention.Config) { *c = attention.Config{} },
			"config: embed dim 0, want at least 1 and at most 1048576\nconfig: num heads 0, want at least 1 and at most 1048576"},
		{"heads do not divide", func(c *attention.Config) { c.NumHeads = 5 }, "config: num heads 5 does not divide embed dim 12"},
		{"more heads than features", func(c *attention.Config) { c.NumHeads = 24 }, "config: num heads 24 does not divide embed dim 12"},
		{"key heads do not divide", func(c *attention.Config) { c.NumKVHeads, c.ParamLayout = 3, attention.LlamaLayout }, "config: num kv heads 3 does not divide num heads 4"},
		{"more key heads than heads", func(c *attention.Config) { c.NumKVHeads, c.ParamLayout = 8, attention.LlamaLayout }, "config: num kv heads 8 does not divide num heads 4"},
		{"negative widths", func(c *attention.Config) {
			c.NumKVHeads, c.HeadDim, c.KDim, c.VDim, c.ParamLayout = -1, -2, -3, -4, attention.LlamaLayout
		},
			"config: num kv heads -1, want 0 (num heads) or at least 1 and at most 1048576\n" +
				"config: head dim -2, want 0 (embed dim / num heads) or at least 1 and at most 1048576\n" +
				"config: kdim -3, want 0 (embed dim) or at least 1 and at most 1048576\n" +
				"config: vdim -4, want 0 (embed dim) or at least 1 and at most 1048576"},
		{"widths beyond any use", func(c *attention.Config) { c.KDim = 1<<20 + 1 }, "config: kdim 1048577, want 0 (embed dim) or at least 1 and at most 1048576"},

		{"scale", func(c *attention.Config) { c.Scale = math.Inf(1) }, "config: scale +Inf is not finite"},
		{"negative softcap", func(c *attention.Config) { c.Softcap = -1 }, "config: softcap -1, want 0 (none) or a positive number"},
		{"infinite softcap", func(c *attention.Config) { c.Softcap = math.Inf(1) }, "config: softcap +Inf, want 0 (none) or a positive number"},
		{"window", func(c *attention.Config) { c.Window = -1 }, "config: window -1, want 0 (none) or at least 1"},
		{"negative relative bias", func(c *attention.Config) { c.RelativeBias = -1 }, "config: relative bias -1, want 0 (none) or a distance up to 1048576"},
		{"far relative bias", func(c *attention.Config) { c.RelativeBias = 1<<20 + 1 }, "config: relative bias 1048577, want 0 (none) or a distance up to 1048576"},
		{"norm", func(c *attention.Config) { c.QKNorm = &attention.QKNorm{Epsilon: -1} }, "config: qk norm epsilon: want a finite number, 0 or more"},
		{"norm of NaN", func(c *attention.Config) { c.QKNorm = &attention.QKNorm{Epsilon: math.NaN()} }, "config: qk norm epsilon: want a finite number, 0 or more"},
		{"learned key and window", func(c *attention.Config) { c.BiasKV, c.Window = true, 2 }, appended},
		{"learned key and RoPE", func(c *attention.Config) {
			c.BiasKV, c.EmbedDim, c.RoPE = true, 16, &attention.RoPE{Base: 1}
		}, appended},
		{"zero key and ALiBi", func(c *attention.Config) { c.ZeroAttn, c.ALiBi = true, true }, appended},
		{"zero key and relative bias", func(c *attention.Config) { c.ZeroAttn, c.RelativeBias = true, 1 }, appended},

		{"odd rotation", func(c *attention.Config) { c.RoPE = &attention.RoPE{Dim: 1, Base: 1} },
			"config: rope: dim 1, want an even number up to the head dim 3, or 0 for all of an even one"},
		{"rotation of an odd head", func(c *attention.Config) { c.RoPE = &attention.RoPE{Base: 1} },
			"config: rope: dim 0, want an even number up to the head dim 3, or 0 for all of an even one"},
		{"wide rotation", func(c *attention.Config) { c.RoPE = &attention.RoPE{Dim: 4, Base: 1} },
			"config: rope: dim 4, want an even number up to the head dim 3, or 0 for all of an even one"},
		{"negative rotation", func(c *attention.Config) { c.RoPE = &attention.RoPE{Dim: -2, Base: 1} },
			"config: rope: dim -2, want an even number up to the head dim 3, or 0 for all of an even one"},
		{"no base", func(c *attention.Config) { c.RoPE = &attention.RoPE{Dim: 2} }, "config: rope: base 0, want a positive number"},
		{"infinite base", func(c *attention.Config) { c.RoPE = &attention.RoPE{Dim: 2, Base: math.Inf(1)} }, "config: rope: base +Inf, want a positive number"},
		{"negative factor", func(c *attention.Config) { c.RoPE = &attention.RoPE{Dim: 2, Base: 1, Factor: -1} },
			"config: rope: factor -1, want 0 (1) or a positive number"},

		{"seed keys with biases", func(c *attention.Config) { c.ParamLayout = attention.SeedLayout }, "config: the keys W_Q W_K W_V W_O name no biases: set WithoutBias"},
		{"grouped heads of nn.MultiheadAttention", func(c *attention.Config) { c.NumKVHeads = 2 },
			"config: the keys of torch.nn.MultiheadAttention have as many key heads as heads, together as wide as the model"},
		{"wide heads of GPT-2", func(c *attention.Config) { c.HeadDim, c.ParamLayout = 4, attention.GPT2Layout },
			"config: the keys c_attn c_proj have as many key heads as heads, together as wide as the model"},
		{"fused keys of another width", func(c *attention.Config) { c.KDim, c.ParamLayout = 5, attention.FusedLayout },
			"config: the keys qkv_proj o_proj hold query, key and value in one parameter: kdim and vdim must be embed dim"},
		{"fused values of another width", func(c *attention.Config) { c.VDim, c.ParamLayout = 5, attention.NeoXLayout },
			"config: the keys query_key_value dense hold query, key and value in one parameter: kdim and vdim must be embed dim"},
		{"learned key of another layout", func(c *attention.Config) { c.BiasKV, c.ParamLayout = true, attention.LlamaLayout },
			"config: bias kv goes with the keys of torch.nn.MultiheadAttention alone"},
		{"output bias of nn.MultiheadAttention", func(c *attention.Config) { c.WithoutOutputBias = true },
			"config: the keys of torch.nn.MultiheadAttention have all biases or none"},
		{"unknown choices", func(c *attention.Config) {
			c.ParamLayout, c.EmptyRow, c.InputLayout, c.NeedWeights, c.RoPE = 9, 9, 9, 9, &attention.RoPE{Style: 9, Dim: 2, Base: 1}
		}, "config: rope: unknown style 9\nconfig: unknown keys 9\nconfig: unknown order 9\nconfig: unknown weights 9\nconfig: unknown empty row 9"},
		{"negative choices", func(c *attention.Config) {
			c.ParamLayout, c.EmptyRow, c.InputLayout, c.NeedWeights, c.RoPE = -1, -1, -1, -1, &attention.RoPE{Style: -1, Dim: 2, Base: 1}
		}, "config: rope: unknown style -1\nconfig: unknown keys -1\nconfig: unknown order -1\nconfig: unknown weights -1\nconfig: unknown empty row -1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := attention.Config{EmbedDim: 12, NumHeads: 4}
			tc.change(&c)
			require.EqualError(t, c.Check(), tc.err)
			_, err := attention.New(c)
			require.EqualError(t, err, tc.err)
		})
	}
}

// What stands at the edge of what is refused is not refused. Check allocates nothing, however wide
// the layer.
func TestConfigCheckAccepts(t *testing.T) {
	for _, tc := range []struct {
		name   string
		config attention.Config
	}{
		{"widest", attention.Config{EmbedDim: 1 << 20, NumHeads: 1 << 20, HeadDim: 1 << 20, ParamLayout: attention.NeoXLayout, RelativeBias: 1 << 20}},
		{"one head of one feature", attention.Config{EmbedDim: 1, NumHeads: 1}},
		{"wide heads of Llama", attention.Config{EmbedDim: 5, NumHeads: 4, NumKVHeads: 1, HeadDim: 6, KDim: 3, VDim: 2, ParamLayout: attention.LlamaLayout, WithoutOutputBias: true}},
		{"grouped heads of the seed", attention.Config{EmbedDim: 12, NumHeads: 4, NumKVHeads: 2, ParamLayout: attention.SeedLayout, WithoutBias: true}},
		{"no bias, no output bias", attention.Config{EmbedDim: 12, NumHeads: 4, WithoutBias: true, WithoutOutputBias: true}},
		{"rotation of a whole head", attention.Config{EmbedDim: 16, NumHeads: 4, RoPE: &attention.RoPE{Dim: 4, Base: 10000, Factor: 8}}},
		{"no epsilon", attention.Config{EmbedDim: 12, NumHeads: 4, QKNorm: &attention.QKNorm{}}},
		{"separate weights with learned keys", attention.Config{EmbedDim: 12, NumHeads: 4, ParamLayout: attention.TorchSeparateLayout, BiasKV: true, ZeroAttn: true}},
		{"negative scale", attention.Config{EmbedDim: 12, NumHeads: 4, Scale: -1}},
	} {
		t.Run(tc.name, func(t *testing.T) { require.NoError(t, tc.config.Check()) })
	}
}

// The widths that New fills in are those that the fields' comments promise.
func TestConfigIsFilledIn(t *testing.T) {
	c := newLayer(t, attention.Config{EmbedDim: 12, NumHeads: 4}).Config()
	require.Equal(t, attention.Config{EmbedDim: 12, NumHeads: 4, NumKVHeads: 4, HeadDim: 3, KDim: 12, VDim: 12}, c)
}
