package attention_test

import (
	"maps"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
)

// Recognize finds the layout and the prefix of every layer's state dict.
func TestRecognize(t *testing.T) {
	for _, tc := range []struct {
		name   string
		config attention.Config
	}{
		{"nn.MultiheadAttention", attention.Config{EmbedDim: 4, NumHeads: 2, BiasKV: true}},
		{"nn.MultiheadAttention without biases", attention.Config{EmbedDim: 4, NumHeads: 2, WithoutBias: true}},
		{"separate weights", attention.Config{EmbedDim: 4, NumHeads: 2, ParamLayout: attention.TorchSeparateLayout}},
		{"separate weights of other widths", attention.Config{
			EmbedDim: 4, NumHeads: 2, KDim: 3, VDim: 5, ParamLayout: attention.TorchSeparateLayout,
		}},
		{"seed", attention.Config{EmbedDim: 4, NumHeads: 2, WithoutBias: true, ParamLayout: attention.SeedLayout}},
		{"Llama", attention.Config{
			EmbedDim: 4, NumHeads: 2, NumKVHeads: 1, ParamLayout: attention.LlamaLayout, QKNorm: &attention.QKNorm{},
		}},
		{"GPT-2", attention.Config{EmbedDim: 4, NumHeads: 2, ParamLayout: attention.GPT2Layout}},
		{"NeoX", attention.Config{EmbedDim: 4, NumHeads: 2, ParamLayout: attention.NeoXLayout}},
		{"fused", attention.Config{EmbedDim: 4, NumHeads: 2, WithoutBias: true, ParamLayout: attention.FusedLayout}},
	} {
		for _, prefix := range []string{"", "module.", "_orig_mod.model.layers.0.self_attn."} {
			t.Run(tc.name+" "+prefix, func(t *testing.T) {
				c := tc.config
				c.Prefix = prefix
				dict := newLayer(t, c).StateDict()
				dict[prefix+"rotary_emb.inv_freq"] = attention.NewTensor(1) // not a weight
				r, err := attention.Recognize(dict)
				require.NoError(t, err)
				want := attention.Recognized{ParamLayout: tc.config.ParamLayout, Prefix: prefix}
				require.Equal(t, want, r)
			})
		}
	}
}

func TestRecognizeRefuses(t *testing.T) {
	weights := func(layout attention.ParamLayout, prefix string) attention.StateDict {
		return newLayer(t, attention.Config{
			EmbedDim: 4, NumHeads: 2, WithoutBias: true, ParamLayout: layout, Prefix: prefix,
		}).StateDict()
	}
	llama := func(prefix string) attention.StateDict { return weights(attention.LlamaLayout, prefix) }
	both := func(a, b attention.StateDict) attention.StateDict {
		maps.Copy(a, b)
		return a
	}
	for _, tc := range []struct {
		name string
		dict attention.StateDict
		err  string
	}{
		{"nothing", nil, "no known layout has the keys "},
		{"no attention", attention.StateDict{"up.weight": nil, "down.weight": nil},
			`no known layout has the keys "down.weight", "up.weight"`},
		{"a part of one layout", attention.StateDict{"c_attn.weight": nil},
			`no known layout has the keys "c_attn.weight"`},
		{"a prefix without a dot", llama("old_"), "no known layout has the keys " +
			`"old_k_proj.weight", "old_o_proj.weight", "old_q_proj.weight", "old_v_proj.weight"`},
		{"parts under two prefixes", attention.StateDict{"a.c_attn.weight": nil, "b.c_proj.weight": nil},
			`no known layout has the keys "a.c_attn.weight", "b.c_proj.weight"`},
		{"two layouts", both(llama(""), weights(attention.FusedLayout, "")),
			"ambiguous: 2 layouts fit the state dict\nkeys q_proj k_proj v_proj o_proj\nkeys qkv_proj o_proj"},
		{"two layers of a model", both(llama("layers.1."), llama("layers.0.")),
			"ambiguous: 2 layouts fit the state dict\n" +
				"keys q_proj k_proj v_proj o_proj after \"layers.0.\"\n" +
				"keys q_proj k_proj v_proj o_proj after \"layers.1.\""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, err := attention.Recognize(tc.dict)
			require.EqualError(t, err, tc.err)
			require.Zero(t, r)
		})
	}
}
