package transformer_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention/transformer"
)

// decoder is the JSON that all decoders with Llama's names share.
const decoder = `"vocab_size": 11, "hidden_size": 12, "intermediate_size": 10, "num_hidden_layers": 2,
	"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 6, "hidden_act": "silu", "rms_norm_eps": 1e-5,
	"sliding_window": null, "rope_parameters": {"rope_theta": 100, "rope_type": "default"}`

// Each class has its configuration, with the fields of the JSON.
func TestParseConfig(t *testing.T) {
	changed := func(change func(*transformer.LlamaConfig)) transformer.LlamaConfig {
		c := smallLlama
		change(&c)
		return c
	}
	moe := func(dense []int, e transformer.ExpertsConfig, change func(*transformer.LlamaConfig)) transformer.MoeConfig {
		return transformer.MoeConfig{LlamaConfig: changed(change), DenseLayers: dense, Experts: e}
	}
	const some = `, "num_local_experts": 4, "num_experts": 4, "n_routed_experts": 4, "num_experts_per_tok": 2,
		"moe_intermediate_size": 5`
	for name, tc := range map[string]struct {
		json string
		want transformer.Config
	}{
		"LlamaForCausalLM": {`{` + decoder + `}`, smallLlama},
		"transformers.models.mistral.modeling_mistral.MistralForCausalLM": {
			`{` + decoder + `, "sliding_window": 3}`,
			changed(func(c *transformer.LlamaConfig) { c.SlidingWindow = 3 }),
		},
		"Qwen2ForCausalLM": {
			`{` + decoder + `, "sliding_window": 3, "layer_types": ["full_attention", "full_attention"]}`,
			changed(func(c *transformer.LlamaConfig) { c.QKVBias = true }),
		},
		"Qwen3ForCausalLM": {
			`{` + decoder + `, "sliding_window": 3, "use_sliding_window": true}`,
			changed(func(c *transformer.LlamaConfig) { c.SlidingWindow, c.QKNorm = 3, true }),
		},
		"GemmaForCausalLM": {`{` + decoder + `}`, transformer.GemmaConfig{LlamaConfig: smallLlama}},
		"Gemma2ForCausalLM": {
			`{` + decoder + `, "hidden_activation": "gelu_pytorch_tanh", "query_pre_attn_scalar": 5,
				"attn_logit_softcapping": 2.0, "final_logit_softcapping": 3.0}`,
			func() transformer.Config {
				c := smallGemma
				c.HiddenAct = transformer.GELUTanh
				return c
			}(),
		},
		"GPT2LMHeadModel": {
			`{"vocab_size": 11, "n_positions": 7, "n_embd": 12, "n_layer": 2, "n_head": 3, "n_inner": null,
				"activation_function": "gelu_new", "layer_norm_epsilon": 1e-5, "tie_word_embeddings": true,
				"scale_attn_weights": true}`, smallGPT2,
		},
		"BertForTokenClassification": {
			`{"vocab_size": 11, "hidden_size": 12, "intermediate_size": 10, "num_hidden_layers": 2,
				"num_attention_heads": 3, "max_position_embeddings": 7, "type_vocab_size": 2, "hidden_act": "gelu",
				"layer_norm_eps": 1e-5, "id2label": {"0": "A", "1": "B", "2": "C"}}`,
			func() transformer.Config {
				c := smallBert
				c.NumLabels = 3
				return c
			}(),
		},
		"MixtralForCausalLM": {
			`{` + decoder + some + `}`,
			moe(nil, transformer.ExpertsConfig{
				MoeIntermediateSize: 10, NumExperts: 4, NumExpertsPerTok: 2, NormTopKProb: true,
			}, func(*transformer.LlamaConfig) {}),
		},
		"Qwen2MoeForCausalLM": {
			`{` + decoder + some + `, "shared_expert_intermediate_size": 8, "mlp_only_layers": [1]}`,
			moe([]int{1}, transformer.ExpertsConfig{
				MoeIntermediateSize: 5, NumExperts: 4, NumExpertsPerTok: 2, SharedIntermediateSize: 8, SharedGate: true,
			}, func(c *transformer.LlamaConfig) { c.QKVBias = true }),
		},
		"Qwen3MoeForCausalLM": {
			`{` + decoder + some + `, "decoder_sparse_step": 2, "norm_topk_prob": true}`,
			moe([]int{0}, transformer.ExpertsConfig{
				MoeIntermediateSize: 5, NumExperts: 4, NumExpertsPerTok: 2, NormTopKProb: true,
			}, func(c *transformer.LlamaConfig) { c.QKNorm = true }),
		},
		"Glm4MoeForCausalLM": {
			`{` + decoder + some + `, "n_group": 2, "topk_group": 1, "n_shared_experts": 2, "first_k_dense_replace": 1,
				"routed_scaling_factor": 1.5, "attention_bias": true, "use_qk_norm": true,
				"rope_parameters": {"rope_theta": 100, "partial_rotary_factor": 0.7}}`,
			moe([]int{0}, transformer.ExpertsConfig{
				MoeIntermediateSize: 5, NumExperts: 4, NumExpertsPerTok: 2, Scoring: transformer.SigmoidScores,
				RoutedScalingFactor: 1.5, NGroup: 2, TopKGroup: 1, SharedIntermediateSize: 10,
			}, func(c *transformer.LlamaConfig) { c.QKVBias, c.QKNorm, c.PartialRotaryFactor = true, true, 0.7 }),
		},
	} {
		got, err := transformer.ParseConfig(name, []byte(tc.json))
		require.NoError(t, err, name)
		require.Equal(t, tc.want, got, name)
		require.NoError(t, got.Check(), name)
	}
	got, err := transformer.ParseConfig("BertModel", []byte(`{"add_pooling_layer": null}`))
	require.NoError(t, err)
	require.Equal(t, transformer.BertConfig{Pooler: true}, got)
	got, err = transformer.ParseConfig("BertForTokenClassification", []byte(`{}`))
	require.NoError(t, err)
	require.Equal(t, transformer.BertConfig{NumLabels: 2}, got)
	got, err = transformer.ParseConfig("BertForTokenClassification", []byte(`{"num_labels": 4}`))
	require.NoError(t, err)
	require.Equal(t, transformer.BertConfig{NumLabels: 4}, got)
}

// Options that the package does not have are told, and never ignored.
func TestOptionsThatAreNotSupported(t *testing.T) {
	for _, tc := range []struct{ class, json, want string }{
		{"T5Model", `{}`, "the class T5Model"},
		{"LlamaForCausalLM", ``, "LlamaForCausalLM without its configuration"},
		{"LlamaForCausalLM", `{"rope_parameters": {"rope_type": "llama3"}}`, "rope_type llama3"},
		{"LlamaForCausalLM", `{"rope_scaling": {"rope_type": "linear"}}`, "rope_type linear"},
		{"LlamaForCausalLM", `{"hidden_act": "mish"}`, "the activation mish"},
		{"Gemma2ForCausalLM", `{"use_bidirectional_attention": true}`, "use_bidirectional_attention"},
		{"GPT2LMHeadModel", `{"add_cross_attention": true}`, "add_cross_attention"},
		{"BertModel", `{"is_decoder": true}`, "is_decoder"},
		{"BertModel", `{"position_embedding_type": "relative_key"}`, "position_embedding_type relative_key"},
	} {
		_, err := transformer.ParseConfig(tc.class, []byte(tc.json))
		require.ErrorIs(t, err, errors.ErrUnsupported)
		require.EqualError(t, err, "unsupported operation: "+tc.want)
	}
	_, err := transformer.ParseConfig("LlamaForCausalLM", []byte(`{"vocab_size": `))
	require.ErrorContains(t, err, "the configuration of LlamaForCausalLM: unexpected end of JSON input")
	require.NotErrorIs(t, err, errors.ErrUnsupported)
}

func TestParseBlock(t *testing.T) {
	const experts = `{` + decoder + `, "num_local_experts": 4, "num_experts": 4, "n_routed_experts": 4,
		"num_experts_per_tok": 2, "moe_intermediate_size": 5, "shared_expert_intermediate_size": 3, "n_shared_experts": 2}`
	for class, key := range map[string]string{
		"LlamaMLP": "gate_proj.weight", "Gemma2MLP": "up_proj.weight", "MixtralSparseMoeBlock": "experts.down_proj",
		"Qwen2MoeSparseMoeBlock": "shared_expert_gate.weight", "Qwen3MoeSparseMoeBlock": "gate.weight",
		"Glm4MoeMoE": "shared_experts.up_proj.weight",
	} {
		require.True(t, transformer.IsBlock("transformers.models.some."+class))
		b, err := transformer.ParseBlock(class, []byte(experts))
		require.NoError(t, err, class)
		require.Contains(t, b.StateDict(), key, class)
	}
	require.False(t, transformer.IsBlock("LlamaForCausalLM"))
	_, err := transformer.ParseBlock("LlamaMLP", []byte(`{"hidden_size": 4}`))
	require.ErrorContains(t, err, "config: intermediate size 0")
	_, err = transformer.ParseBlock("Glm4MoeMoE", []byte(`{"n_routed_experts": 4, "n_group": 3}`))
	require.ErrorContains(t, err, "config: n group 3 and topk group 0: want a divisor of num experts 4")
}
