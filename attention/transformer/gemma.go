package transformer

import (
	"math"

	"github.com/difftest/difftest/attention"
)

// GemmaConfig describes a Gemma2ForCausalLM or, without SandwichNorms, a GemmaForCausalLM. Weights
// of norms are stored less 1, and embeddings are multiplied by sqrt(HiddenSize).
type GemmaConfig struct {
	LlamaConfig

	// QueryPreAttnScalar is s in the scale 1/sqrt(s) of the scores: query_pre_attn_scalar. 0 means
	// the width of a head.
	QueryPreAttnScalar float64
	// AttnLogitSoftcapping limits the scores: attn_logit_softcapping. 0 means no limit.
	AttnLogitSoftcapping float64
	// FinalLogitSoftcapping limits the logits: final_logit_softcapping. 0 means no limit.
	FinalLogitSoftcapping float64
	// SandwichNorms adds norms behind attention and behind the MLP, as Gemma 2 does. The norm
	// before the MLP then is pre_feedforward_layernorm, and post_attention_layernorm otherwise.
	SandwichNorms bool
}

// Check implements [Config].
func (c GemmaConfig) Check() error {
	var r refusals
	c.LlamaConfig.check(&r)
	r.width("intermediate size", c.IntermediateSize)
	r.activation(c.HiddenAct)
	for _, number := range []struct {
		name  string
		value float64
	}{
		{"query pre attn scalar", c.QueryPreAttnScalar},
		{"attn logit softcapping", c.AttnLogitSoftcapping},
		{"final logit softcapping", c.FinalLogitSoftcapping},
	} {
		r.epsilon(number.name, number.value)
	}
	return r.err()
}

// attention returns the configuration of the attention in a layer.
func (c GemmaConfig) attention(layer int) attention.Config {
	a := c.LlamaConfig.attention(layer)
	a.Softcap = c.AttnLogitSoftcapping
	if c.QueryPreAttnScalar > 0 {
		a.Scale = 1 / math.Sqrt(c.QueryPreAttnScalar)
	}
	return a
}

func (c GemmaConfig) build() *Model {
	class := "GemmaForCausalLM"
	if c.SandwichNorms {
		class = "Gemma2ForCausalLM"
	}
	return decoder{
		LlamaConfig: c.LlamaConfig, class: class,
		offset: 1, scale: math.Sqrt(float64(c.HiddenSize)),
		softcap: c.FinalLogitSoftcapping, sandwich: c.SandwichNorms,
		attend: c.attention, mlp: c.gatedMLP,
	}.build()
}
