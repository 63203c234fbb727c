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
	// query, key, value and output say where the four projections are found.
	sources func(c Config) [4]source
}

// source says where a projection lies in the state dict.
type source struct {
	weight, bias string
	row          func(i int) int // of the parameters, for output i of the projection; nil: i
	ownWeight    bool            // row is that of the bias alone: the weight has no other rows
	inOut        bool            // the weight is (in, out), so that row means column
}

var layouts = map[ParamLayout]layout{
	TorchLayout:         {name: "of torch.nn.MultiheadAttention", oneBias: true, plain: true, parameters: torchParameters, sources: torchSources},
	TorchSeparateLayout: {name: "of torch.nn.MultiheadAttention with separate weights", oneBias: true, plain: true, parameters: torchParameters, sources: torchSources},
	SeedLayout:          {name: "W_Q W_K W_V W_O", withoutBias: true, parameters: seedParameters, sources: seedSources},
	LlamaLayout:         {name: "q_proj k_proj v_proj o_proj", parameters: llamaParameters, sources: llamaSources},
	GPT2Layout:          {name: "c_attn c_proj", plain: true, fused: true, parameters: gpt2Parameters, sources: gpt2Sources},
	NeoXLayout:          {name: "query_key_value dense", fused: true, parameters: fusedParameters("query_key_value", "dense"), sources: neoxSources},
	FusedLayout:         {name: "qkv_proj o_proj", fused: true, parameters: fusedParameters("qkv_proj", "o_proj"), sources: fusedSources},
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

func torchSources(c Config) [4]source {
	third := func(i int) func(int) int { return after(i * c.EmbedDim) }
	out := source{weight: "out_proj.weight", bias: "out_proj.bias"}
	if c.packed() {
		one := func(i int) source { return source{weight: "in_proj_weight", bias: "in_proj_bias", row: third(i)} }
		return [4]source{one(0), one(1), one(2), out}
	}
	own := func(weight string, i int) source {
		return source{weight: weight, bias: "in_proj_bias", row: third(i), ownWeight: true}
	}
	return [4]source{own("q_proj_weight", 0), own("k_proj_weight", 1), own("v_proj_weight", 2), out}
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

func seedSources(Config) [4]source {
	return [4]source{{weight: "W_Q"}, {weight: "W_K"}, {weight: "W_V"}, {weight: "W_O"}}
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

func llamaSources(Config) [4]source {
	of := func(name string) source { return source{weight: name + ".weight", bias: name + ".bias"} }
	return [4]source{of("q_proj"), of("k_proj"), of("v_proj"), of("o_proj")}
}

func gpt2Parameters(c Config) []parameter {
	d, n := c.EmbedDim, named{c: c}
	n.add("c_attn.weight", d, 3*d)
	n.bias("c_attn.bias", 3*d)
	n.add("c_proj.weight", d, d)
	n.outputBias("c_proj.bias", d)
	return n.list
}

func gpt2Sources(c Config) [4]source {
	part := func(i int) source {
		return source{weight: "c_attn.weight", bias: "c_attn.bias", row: after(i * c.EmbedDim), inOut: true}
	}
	return [4]source{part(0), part(1), part(2), {weight: "c_proj.weight", bias: "c_proj.bias", inOut: true}}
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

func fusedSources(c Config) [4]source {
	query, key := c.projectionWidths()
	part := func(first int) source {
		return source{weight: "qkv_proj.weight", bias: "qkv_proj.bias", row: after(first)}
	}
	return [4]source{part(0), part(query), part(query + key), {weight: "o_proj.weight", bias: "o_proj.bias"}}
}

// neoxSources: the rows of one key head are its query heads, its key and its value, E each.
func neoxSources(c Config) [4]source {
	e, group := c.HeadDim, c.NumHeads/c.NumKVHeads
	place := func(kvHead, member, i int) int { return (kvHead*(group+2)+member)*e + i%e }
	part := func(row func(i int) int) source {
		return source{weight: "query_key_value.weight", bias: "query_key_value.bias", row: row}
	}
	return [4]source{
		part(func(i int) int { return place(i/e/group, i/e%group, i) }),
		part(func(i int) int { return place(i/e, group, i) }),
		part(func(i int) int { return place(i/e, group+1, i) }),
		{weight: "dense.weight", bias: "dense.bias"},
	}
}

// after is the place of each row when another part stands before.
func after(first int) func(int) int {
	return func(i int) int { return first + i }
}
