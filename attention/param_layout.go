package attention

// ParamLayout selects the names of a layer's parameters in its state dict, and their arrangement.
// Weights are (out, in), as in torch.nn.Linear, unless the layout says otherwise.
type ParamLayout int

const (
	// TorchLayout is torch.nn.MultiheadAttention's: in_proj_weight (3*D, D), which stacks query,
	// key and value, in_proj_bias (3*D), out_proj.weight and out_proj.bias. If KDim or VDim
	// differs from EmbedDim, q_proj_weight, k_proj_weight and v_proj_weight replace
	// in_proj_weight.
	TorchLayout ParamLayout = iota
	// TorchSeparateLayout has the names of TorchLayout, but always with q_proj_weight,
	// k_proj_weight and v_proj_weight: use_separate_proj_weight=True in
	// torch.nn.functional.multi_head_attention_forward.
	TorchSeparateLayout
	// SeedLayout is W_Q, W_K, W_V and W_O, without biases: a layer written by hand.
	SeedLayout
	// LlamaLayout is q_proj, k_proj, v_proj and o_proj, each with .weight and .bias, as in Hugging
	// Face's Llama, Mistral, Qwen and Gemma.
	LlamaLayout
	// GPT2Layout is c_attn and c_proj, each with .weight and .bias, as in Hugging Face's GPT-2.
	// The weights are (in, out), as in its Conv1D; c_attn (D, 3*D) holds query, key and value side
	// by side.
	GPT2Layout
	// NeoXLayout is query_key_value and dense, each with .weight and .bias, as in Hugging Face's
	// GPT-NeoX and Bloom, and with fewer key heads in Falcon. The tensor query_key_value holds one
	// key head after another: the rows of its query heads, of its key and of its value.
	NeoXLayout
	// FusedLayout is qkv_proj and o_proj, each with .weight and .bias, as in Hugging Face's Phi-3.
	// The tensor qkv_proj stacks all query heads, all key heads and all value heads.
	FusedLayout
)

// String returns "keys" and the names that tell the layout from others: "keys c_attn c_proj".
func (l ParamLayout) String() string { return "keys " + layouts[l].name }

// layout is the definition of a [ParamLayout].
type layout struct {
	name        string // in errors
	withoutBias bool   // no names for biases
	oneBias     bool   // all biases or none
	plain       bool   // H = Hk and H*E = D
	fused       bool   // query, key and value share a parameter

	parameters func(c Config) []parameter
	placements func(c Config) [4]Placement
}

var layouts = map[ParamLayout]layout{
	TorchLayout: {
		name: "of torch.nn.MultiheadAttention", oneBias: true, plain: true,
		parameters: torchParameters, placements: torchPlacements,
	},
	TorchSeparateLayout: {
		name: "of torch.nn.MultiheadAttention with separate weights", oneBias: true, plain: true,
		parameters: torchParameters, placements: torchPlacements,
	},
	SeedLayout: {
		name: "W_Q W_K W_V W_O", withoutBias: true,
		parameters: seedParameters, placements: seedPlacements,
	},
	LlamaLayout: {
		name:       "q_proj k_proj v_proj o_proj",
		parameters: llamaParameters, placements: llamaPlacements,
	},
	GPT2Layout: {
		name: "c_attn c_proj", plain: true, fused: true,
		parameters: gpt2Parameters, placements: gpt2Placements,
	},
	NeoXLayout: {
		name: "query_key_value dense", fused: true,
		parameters: fusedParameters("query_key_value", "dense"), placements: neoxPlacements,
	},
	FusedLayout: {
		name: "qkv_proj o_proj", fused: true,
		parameters: fusedParameters("qkv_proj", "o_proj"), placements: fusedPlacements,
	},
}

// parameters lists the names and shapes of all parameters. The projections come first, in the
// order in which PyTorch registers them. The widths of c must be filled in.
func (c Config) parameters() []parameter {
	list := layouts[c.ParamLayout].parameters(c)
	if c.QKNorm != nil {
		list = append(list, parameter{name: "q_norm.weight", shape: []int{c.HeadDim}},
			parameter{name: "k_norm.weight", shape: []int{c.HeadDim}})
	}
	if c.Sinks {
		list = append(list, parameter{name: "sinks", shape: []int{c.NumHeads}})
	}
	if c.RelativeBias > 0 {
		shape := []int{2*c.RelativeBias + 1, c.NumHeads}
		list = append(list, parameter{name: "relative_bias.weight", shape: shape})
	}
	for i := range list {
		list[i].name = c.Prefix + list[i].name
	}
	return list
}

// parameterList collects parameters and leaves out biases that the configuration leaves out.
type parameterList struct {
	c    Config
	list []parameter
}

func (p *parameterList) add(name string, shape ...int) {
	p.list = append(p.list, parameter{name: name, shape: shape})
}

func (p *parameterList) bias(name string, shape ...int) {
	if !p.c.WithoutBias {
		p.add(name, shape...)
	}
}

func (p *parameterList) outputBias(name string, shape ...int) {
	if !p.c.WithoutOutputBias {
		p.bias(name, shape...)
	}
}

// packed reports whether in_proj_weight holds the three input projections of an
// nn.MultiheadAttention.
func (c Config) packed() bool {
	return c.ParamLayout == TorchLayout && c.KDim == c.EmbedDim && c.VDim == c.EmbedDim
}

func torchParameters(c Config) []parameter {
	d, p := c.EmbedDim, parameterList{c: c}
	if c.packed() {
		p.add("in_proj_weight", 3*d, d)
	} else {
		p.add("q_proj_weight", d, d)
		p.add("k_proj_weight", d, c.KDim)
		p.add("v_proj_weight", d, c.VDim)
	}
	p.bias("in_proj_bias", 3*d)
	if c.BiasKV {
		p.add("bias_k", 1, 1, d)
		p.add("bias_v", 1, 1, d)
	}
	p.add("out_proj.weight", d, d)
	p.outputBias("out_proj.bias", d)
	return p.list
}

func seedParameters(c Config) []parameter {
	p := parameterList{c: c}
	query, key := c.projectionWidths()
	p.add("W_Q", query, c.EmbedDim)
	p.add("W_K", key, c.KDim)
	p.add("W_V", key, c.VDim)
	p.add("W_O", c.EmbedDim, query)
	return p.list
}

func llamaParameters(c Config) []parameter {
	p := parameterList{c: c}
	query, key := c.projectionWidths()
	p.add("q_proj.weight", query, c.EmbedDim)
	p.bias("q_proj.bias", query)
	p.add("k_proj.weight", key, c.KDim)
	p.bias("k_proj.bias", key)
	p.add("v_proj.weight", key, c.VDim)
	p.bias("v_proj.bias", key)
	p.add("o_proj.weight", c.EmbedDim, query)
	p.outputBias("o_proj.bias", c.EmbedDim)
	return p.list
}

func gpt2Parameters(c Config) []parameter {
	d, p := c.EmbedDim, parameterList{c: c}
	p.add("c_attn.weight", d, 3*d)
	p.bias("c_attn.bias", 3*d)
	p.add("c_proj.weight", d, d)
	p.outputBias("c_proj.bias", d)
	return p.list
}

func fusedParameters(input, output string) func(Config) []parameter {
	return func(c Config) []parameter {
		p := parameterList{c: c}
		query, key := c.projectionWidths()
		p.add(input+".weight", query+2*key, c.EmbedDim)
		p.bias(input+".bias", query+2*key)
		p.add(output+".weight", c.EmbedDim, query)
		p.outputBias(output+".bias", c.EmbedDim)
		return p.list
	}
}
