package attention

import "errors"

// MultiHead is multi-head attention: torch.nn.MultiheadAttention with batch_first=True and no
// dropout (PyTorch 2.15.0), or, with [SeedKeys], four bias-free projections around
// scaled_dot_product_attention. It is causal unless its configuration says otherwise.
//
// Forward may be called from several goroutines at once, but not during LoadStateDict.
type MultiHead struct {
	config                 Config
	parameters             []parameter // in the order PyTorch registers them
	query, key, value, out projection
}

// projection is a view of the parameters of one linear map, y = x weight^T + bias.
type projection struct {
	weight  []float32 // (out, in)
	bias    []float32 // (out) or nil
	in, out int
}

// Inputs are the arguments of [MultiHead.Forward].
type Inputs struct {
	Query *Tensor // (B, L, D)
	Key   *Tensor // (B, S, KDim); the query itself in self-attention
	Value *Tensor // (B, S, VDim); the query itself in self-attention

	Block   *Mask // (L, S), true is ignored: attn_mask. nil blocks nothing.
	Padding *Mask // (B, S), true is ignored: key_padding_mask. nil ignores nothing.
}

// Outputs are the results of [MultiHead.Forward].
type Outputs struct {
	Output *Tensor // (B, L, D)
}

// New makes a layer whose parameters are all zero until [MultiHead.LoadStateDict] fills them.
// It fails on a configuration that [Config.Check] refuses.
func New(c Config) (*MultiHead, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	m := &MultiHead{config: c.withDefaults()}
	m.register()
	return m, nil
}

// Config is the layer's configuration, with the widths of key and value filled in.
func (m *MultiHead) Config() Config { return m.config }

// register allocates the parameters and sets the four projections to look at them.
func (m *MultiHead) register() {
	c := m.config
	m.query, m.key = projection{in: c.EmbedDim, out: c.EmbedDim}, projection{in: c.KDim, out: c.EmbedDim}
	m.value, m.out = projection{in: c.VDim, out: c.EmbedDim}, projection{in: c.EmbedDim, out: c.EmbedDim}
	third := func(packed []float32, i int) []float32 { // part i of a parameter that stacks three
		n := len(packed) / 3
		return packed[i*n : (i+1)*n]
	}
	for _, p := range c.parameters() {
		p.value = NewTensor(p.shape...)
		m.parameters = append(m.parameters, p)
		data := p.value.Data
		switch p.name {
		case "W_Q", "q_proj_weight":
			m.query.weight = data
		case "W_K", "k_proj_weight":
			m.key.weight = data
		case "W_V", "v_proj_weight":
			m.value.weight = data
		case "in_proj_weight":
			m.query.weight, m.key.weight, m.value.weight = third(data, 0), third(data, 1), third(data, 2)
		case "in_proj_bias":
			m.query.bias, m.key.bias, m.value.bias = third(data, 0), third(data, 1), third(data, 2)
		case "W_O", "out_proj.weight":
			m.out.weight = data
		case "out_proj.bias":
			m.out.bias = data
		}
	}
}

// StateDict returns copies of the parameters.
func (m *MultiHead) StateDict() StateDict {
	dict := make(StateDict, len(m.parameters))
	for _, p := range m.parameters {
		dict[p.name] = p.value.Clone()
	}
	return dict
}

// LoadStateDict copies the values of dict into the layer. In a [Strict] load missing and
// unexpected keys are errors; a [Lenient] load returns them instead. A shape that differs is
// an error in both, as in torch.nn.Module.load_state_dict (PyTorch 2.15.0). The error is a
// *[LoadError] and names every problem at once.
//
// A load that fails changes nothing. PyTorch differs: it has overwritten every parameter that
// matched before it raises.
func (m *MultiHead) LoadStateDict(dict StateDict, strictness Strictness) (IncompatibleKeys, error) {
	return load("MultiHead", m.parameters, dict, strictness)
}

// Forward computes the layer. It fails when a shape does not fit the configuration or another
// input, and names every input that is wrong.
func (m *MultiHead) Forward(in Inputs) (Outputs, error) {
	if m.parameters == nil {
		return Outputs{}, errors.New("the layer was not made by New")
	}
	if err := m.config.CheckInputs(in); err != nil {
		return Outputs{}, err
	}

	// 1. project: (B, T, width) -> (B, T, D)
	q := m.query.apply(in.Query)
	k := m.key.apply(in.Key)
	v := m.value.apply(in.Value)

	// 2. split into heads: (B, T, D) -> (B, H, T, E)
	heads := m.config.NumHeads
	q, k, v = splitHeads(q, heads), splitHeads(k, heads), splitHeads(v, heads)

	// 3. attend, each head by itself: (B, H, L, E)
	context, err := SDPA(q, k, v, SDPAOptions{Allow: m.allow(in), EmptyRow: m.config.EmptyRow})
	if err != nil {
		return Outputs{}, err
	}

	// 4. concatenate the heads: (B, L, D)
	merged := mergeHeads(context)

	// 5. project the output: (B, L, D)
	return Outputs{Output: m.out.apply(merged)}, nil
}

// allow merges causality, Block and Padding into one mask of keys that take part,
// (B, 1, L, S), or nil when every key does.
func (m *MultiHead) allow(in Inputs) *Mask {
	if m.config.Bidirectional && in.Block == nil && in.Padding == nil {
		return nil
	}
	batch, queries, keys := in.Query.Shape[0], in.Query.Shape[1], in.Key.Shape[1]
	allow := NewMask(batch, 1, queries, keys)
	for b := range batch {
		for i := range queries {
			row := allow.Data[(b*queries+i)*keys:][:keys]
			for j := range row {
				row[j] = (m.config.Bidirectional || j <= i) &&
					(in.Block == nil || !in.Block.Data[i*keys+j]) &&
					(in.Padding == nil || !in.Padding.Data[b*keys+j])
			}
		}
	}
	return allow
}

// apply computes y = x weight^T + bias over the last dimension: (B, T, in) -> (B, T, out).
func (p projection) apply(x *Tensor) *Tensor {
	y := NewTensor(x.Shape[0], x.Shape[1], p.out)
	parallel(x.Shape[0]*x.Shape[1], func(row int) {
		in, out := x.Data[row*p.in:][:p.in], y.Data[row*p.out:][:p.out]
		for o := range out {
			sum := dot(in, p.weight[o*p.in:][:p.in])
			if p.bias != nil {
				sum += float64(p.bias[o])
			}
			out[o] = float32(sum)
		}
	})
	return y
}

// splitHeads views the last dimension as H heads and moves them forward:
// (B, T, H*E) -> (B, H, T, E). Head h is features h*E..(h+1)*E.
func splitHeads(x *Tensor, heads int) *Tensor {
	batch, length, e := x.Shape[0], x.Shape[1], x.Shape[2]/heads
	y := NewTensor(batch, heads, length, e)
	for b := range batch {
		for h := range heads {
			for t := range length {
				copy(y.Data[((b*heads+h)*length+t)*e:][:e], x.Data[((b*length+t)*heads+h)*e:][:e])
			}
		}
	}
	return y
}

// mergeHeads undoes splitHeads: (B, H, T, E) -> (B, T, H*E).
func mergeHeads(x *Tensor) *Tensor {
	batch, heads, length, e := x.Shape[0], x.Shape[1], x.Shape[2], x.Shape[3]
	y := NewTensor(batch, length, heads*e)
	for b := range batch {
		for h := range heads {
			for t := range length {
				copy(y.Data[((b*length+t)*heads+h)*e:][:e], x.Data[((b*heads+h)*length+t)*e:][:e])
			}
		}
	}
	return y
}
