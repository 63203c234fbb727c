package transformer

import "slices"

// MoeConfig describes a decoder with experts in place of the MLP: MixtralForCausalLM,
// Qwen2MoeForCausalLM, Qwen3MoeForCausalLM or Glm4MoeForCausalLM.
type MoeConfig struct {
	// LlamaConfig describes everything but the experts. IntermediateSize is the inner width of the
	// layers without experts, and unused if all layers have them.
	LlamaConfig

	// Experts describes the experts of every layer that has them. HiddenSize and HiddenAct in it
	// are LlamaConfig's.
	Experts ExpertsConfig
	// DenseLayers lists the layers with an MLP in place of experts: mlp_only_layers, or the layers
	// below first_k_dense_replace. They count from 0.
	DenseLayers []int
}

// Check implements [Config].
func (c MoeConfig) Check() error {
	var r refusals
	c.LlamaConfig.check(&r)
	if len(c.DenseLayers) > 0 {
		r.width("intermediate size", c.IntermediateSize)
	}
	for _, layer := range c.DenseLayers {
		r.refuse(layer < 0 || layer >= c.NumHiddenLayers, "dense layer %d, want 0 to %d", layer, c.NumHiddenLayers-1)
	}
	c.experts().check(&r)
	return r.err()
}

// experts returns the configuration of the experts in one layer.
func (c MoeConfig) experts() ExpertsConfig {
	e := c.Experts
	e.HiddenSize, e.HiddenAct = c.HiddenSize, c.HiddenAct
	return e
}

func (c MoeConfig) build() *Model {
	return decoder{
		LlamaConfig: c.LlamaConfig, class: "MoeForCausalLM", scale: 1,
		mlp: func(s scope, layer int) part {
			if slices.Contains(c.DenseLayers, layer) {
				return c.gatedMLP(s, layer)
			}
			return newExperts(s, c.experts())
		},
	}.build()
}
