package attention

// ParamLayout is a layout of the parameters: the names that a state dict has for them, and where each
// projection's rows lie in them.
type ParamLayout int

const (
	// TorchLayout are those of torch.nn.MultiheadAttention: in_proj_weight (query, key and value
	// stacked), in_proj_bias, out_proj.weight, out_proj.bias; and q_proj_weight, k_proj_weight,
	// v_proj_weight in place of in_proj_weight when KDim or VDim differ from EmbedDim.
	TorchLayout ParamLayout = iota
	// TorchSeparateLayout are those of TorchKeys with q_proj_weight, k_proj_weight and v_proj_weight
	// whatever the widths are: use_separate_proj_weight of multi_head_attention_forward.
	TorchSeparateLayout
	// SeedLayout are W_Q, W_K, W_V, W_O, each (out, in) as in torch.nn.Linear, without biases.
	SeedLayout
	// LlamaLayout are q_proj, k_proj, v_proj and o_proj, each with .weight and .bias, as in Hugging
	// Face's Llama, Mistral, Qwen and Gemma.
	LlamaLayout
	// GPT2Layout are c_attn and c_proj, each with .weight and .bias; the weights are (in, out), as
	// GPT-2's Conv1D has them, and c_attn holds query, key and value side by side.
	GPT2Layout
	// NeoXLayout are query_key_value and dense, each with .weight and .bias. The rows of
	// query_key_value are those of one key head after another: its query heads, its key, its
	// value. With as many key heads as heads it is GPT-NeoX's and Bloom's, with fewer Falcon's.
	NeoXLayout
	// FusedLayout are qkv_proj and o_proj, each with .weight and .bias; qkv_proj stacks all query
	// heads, all key heads, all value heads, as in Phi-3.
	FusedLayout
)

// layout is what [ParamLayout] mean.
type layout struct {
	name        string // as errors say it
	withoutBias bool   // it has no names for biases
	oneBias     bool   // there are all biases or none
	plain       bool   // as many key heads as heads, H*E = D
	fused       bool   // query, key and value share a parameter

	parameters func(c Config) []parameter
	placements func(c Config) [4]Placement
}

var layouts = map[ParamLayout]layout{
	TorchLayout:         {name: "of torch.nn.MultiheadAttention", oneBias: true, plain: true, parameters: torchParameters, placements: torchPlacements},
	TorchSeparateLayout: {name: "of torch.nn.MultiheadAttention with separate weights", oneBias: true, plain: true, parameters: torchParameters, placements: torchPlacements},
	SeedLayout:          {name: "W_Q W_K W_V W_O", withoutBias: true, parameters: seedParameters, placements: seedPlacements},
	LlamaLayout:         {name: "q_proj k_proj v_proj o_proj", parameters: llamaParameters, placements: llamaPlacements},
	GPT2Layout:          {name: "c_attn c_proj", plain: true, fused: true, parameters: gpt2Parameters, placements: gpt2Placements},
	NeoXLayout:          {name: "query_key_value dense", fused: true, parameters: fusedParameters("query_key_value", "dense"), placements: neoxPlacements},
	FusedLayout:         {name: "qkv_proj o_proj", fused: true, parameters: fusedParameters("qkv_proj", "o_proj"), placements: fusedPlacements},
}

// String is the layout as errors name it.
func (k ParamLayout) String() string { return "keys " + layouts[k].name }

// parameters gives names and shapes, those of the projections in the order in which PyTorch
// registers them. The widths must be filled in.
func (c Config) parameters() []parameter {
	list := layouts[c.ParamLayout].parameters(c)
	if c.QKNorm != nil {
		list = append(list, parameter{name: "q_norm.weight", shape: []int{c.HeadDim}},
			parameter{name: "k_norm.weight", shape: []int{c.HeadDim}})
	}
	if c.Sinks {
		list = append(list, parameter{name: "sinks", shape: []int{c.NumHeads}})
	}
	if c.Relative > 0 {
		list = append(list, parameter{name: "relative_bias.weight", shape: []int{2*c.Relative + 1, c.NumHeads}})
	}
	for i := range list {
		list[i].name = c.Prefix + list[i].name
	}
	return list
}

// projectionWidths are those of the queries, H*E, and of the keys and values, Hk*E.
func (c Config) projectionWidths() (query, key int) {
	return c.NumHeads * c.HeadDim, c.NumKVHeads * c.HeadDim
}

// named collects parameters; a bias is left out where the configuration says so.
type named struct {
	c    Config
	list []parameter
}

func (n *named) add(name string, shape ...int) {
	n.list = append(n.list, parameter{name: name, shape: shape})
}

func (n *named) bias(name string, shape ...int) {
	if !n.c.WithoutBias {
		n.add(name, shape...)
	}
}

func (n *named) outputBias(name string, shape ...int) {
	if !n.c.WithoutOutputBias {
		n.bias(name, shape...)
	}
}

// packed says whether nn.MultiheadAttention stacks its three input weights.
func (c Config) packed() bool {
	return c.ParamLayout == TorchLayout && c.KDim == c.EmbedDim && c.VDim == c.EmbedDim
}

func torchParameters(c Config) []parameter {
	d, n := c.EmbedDim, named{c: c}
	if c.packed() {
		n.add("in_proj_weight", 3*d, d)
	} else {
		n.add("q_proj_weight", d, d)
		n.add("k_proj_weight", d, c.KDim)
		n.add("v_proj_weight", d, c.VDim)
	}
	n.bias("in_proj_bias", 3*d)
	if c.BiasKV {
		n.add("bias_k", 1, 1, d)
		n.add("bias_v", 1, 1, d)
	}
	n.add("out_proj.weight", d, d)
	n.outputBias("out_proj.bias", d)
	return n.list
}

func seedParameters(c Config) []parameter {
	n := named{c: c}
	query, key := c.projectionWidths()
	n.add("W_Q", query, c.EmbedDim)
	n.add("W_K", key, c.KDim)
	n.add("W_V", key, c.VDim)
	n.add("W_O", c.EmbedDim, query)
	return n.list
}

func llamaParameters(c Config) []parameter {
	n := named{c: c}
	query, key := c.projectionWidths()
	n.add("q_proj.weight", query, c.EmbedDim)
	n.bias("q_proj.bias", query)
	n.add("k_proj.weight", key, c.KDim)
	n.bias("k_proj.bias", key)
	n.add("v_proj.weight", key, c.VDim)
	n.bias("v_proj.bias", key)
	n.add("o_proj.weight", c.EmbedDim, query)
	n.outputBias("o_proj.bias", c.EmbedDim)
	return n.list
}

func gpt2Parameters(c Config) []parameter {
	d, n := c.EmbedDim, named{c: c}
	n.add("c_attn.weight", d, 3*d)
	n.bias("c_attn.bias", 3*d)
	n.add("c_proj.weight", d, d)
	n.outputBias("c_proj.bias", d)
	return n.list
}

func fusedParameters(input, output string) func(Config) []parameter {
	return func(c Config) []parameter {
		n := named{c: c}
		query, key := c.projectionWidths()
		n.add(input+".weight", query+2*key, c.EmbedDim)
		n.bias(input+".bias", query+2*key)
		n.add(output+".weight", c.EmbedDim, query)
		n.outputBias(output+".bias", c.EmbedDim)
		return n.list
	}
}
