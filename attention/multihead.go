package attention

import "errors"

// MultiHead is multi-head attention: torch.nn.MultiheadAttention without dropout (PyTorch
// 2.15.0), and the layers that decoders have in its place, with grouped heads, rotary positions,
// a cache, and the parameters under other names. It is causal unless its configuration says
// otherwise.
//
// Forward may be called from several goroutines at once, but not during LoadStateDict.
type MultiHead struct {
	config                 Config
	parameters             []parameter // in the order PyTorch registers them
	query, key, value, out projection  // copies, arranged by [MultiHead.arrange]
}

// projection is one linear map, y = x weight^T + bias.
type projection struct {
	weight  []float32 // (out, in)
	bias    []float32 // (out) or nil
	in, out int
}

// New makes a layer whose parameters are all zero until [MultiHead.LoadStateDict] fills them.
// It fails on a configuration that [Config.Check] refuses.
func New(c Config) (*MultiHead, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	m := &MultiHead{config: c.withDefaults()}
	for _, p := range m.config.parameters() {
		p.value = NewTensor(p.shape...)
		m.parameters = append(m.parameters, p)
	}
	m.arrange()
	return m, nil
}

// Config is the layer's configuration, with all widths filled in.
func (m *MultiHead) Config() Config { return m.config }

// arrange takes the four projections out of the parameters.
func (m *MultiHead) arrange() {
	c := m.config
	query, key := c.projectionWidths()
	widths := [4]struct{ in, out int }{{c.EmbedDim, query}, {c.KDim, key}, {c.VDim, key}, {query, c.EmbedDim}}
	all := [4]*projection{&m.query, &m.key, &m.value, &m.out}
	for i, place := range c.Placements() {
		w := widths[i]
		*all[i] = projection{
			weight: place.weight(m.tensor(place.Weight), w.in, w.out),
			bias:   place.bias(m.tensor(place.Bias), w.out),
			in:     w.in,
			out:    w.out,
		}
	}
}

// parameter returns the tensor of a name without the prefix, nil if the layer has none.
func (m *MultiHead) parameter(name string) *Tensor { return m.tensor(m.config.Prefix + name) }

// tensor returns the tensor of a name with the prefix, nil if the layer has none.
func (m *MultiHead) tensor(name string) *Tensor {
	for _, p := range m.parameters {
		if p.name == name {
			return p.value
		}
	}
	return nil
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
	keys, err := load("MultiHead", m.parameters, dict, strictness)
	if err == nil && m.parameters != nil {
		m.arrange()
	}
	return keys, err
}

// CheckStateDict says what a strict [MultiHead.LoadStateDict] of a layer with this configuration
// would refuse, without making the layer.
func (c Config) CheckStateDict(dict StateDict) error {
	_, err := checkLoad("MultiHead", c.withDefaults().parameters(), dict, Strict)
	return err
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
	c, s := m.config, m.config.sizes(in)

	// 1. project: (B, T, width) -> (B, T, H*E) and (B, T, Hk*E)
	q := m.query.apply(c.InputLayout.batchFirst(in.Query))
	k := m.key.apply(c.InputLayout.batchFirst(in.Key))
	v := m.value.apply(c.InputLayout.batchFirst(in.Value))

	// 2. split into heads: (B, T, Hk*E) -> (B, Hk, T, E)
	q, k, v = splitHeads(q, c.NumHeads), splitHeads(k, c.NumKVHeads), splitHeads(v, c.NumKVHeads)

	// 3. norm and rotate, each head by itself
	m.norm(q, k)
	c.RoPE.rotate(q, s.past)
	c.RoPE.rotate(k, s.past)

	// 4. put the cache before the new keys and values, and learned and zero ones behind
	k = m.extend(in.PastKey, k, "bias_k")
	v = m.extend(in.PastValue, v, "bias_v")

	// 5. attend: (B, H, L, E), weights (B, H, L, S)
	context, weights := m.core(q, k, v, in).attend(q, k, v, c.NeedWeights != NoWeights)

	// 6. concatenate the heads: (B, L, H*E)
	merged := mergeHeads(context)

	// 7. project the output: (B, L, D)
	output := m.out.apply(merged)

	return Outputs{Output: c.InputLayout.restore(output), Weights: c.shown(weights)}, nil
}

func (m *MultiHead) norm(q, k *Tensor) {
	if m.config.QKNorm != nil {
		m.config.QKNorm.apply(q, m.parameter("q_norm.weight").Data)
		m.config.QKNorm.apply(k, m.parameter("k_norm.weight").Data)
	}
}

// extend puts a cache before x (B, Hk, T, E), and behind it the parameter of that name, where the
// layer has it, and zeros, where the layer appends them.
func (m *MultiHead) extend(past, x *Tensor, name string) *Tensor {
	learned := m.parameter(name)
	before, after := 0, m.appended()
	if past != nil {
		before = past.Shape[2]
	}
	if before+after == 0 {
		return x
	}
	length, e := x.Shape[2], x.Shape[3]
	y := NewTensor(x.Shape[0], x.Shape[1], before+length+after, e)
	for n := range x.Shape[0] * x.Shape[1] {
		to := block(y, n)
		if past != nil {
			copy(to, block(past, n))
		}
		copy(to[before*e:], block(x, n))
		if learned != nil {
			copy(to[(before+length)*e:][:e], learned.Data[n%x.Shape[1]*e:])
		}
	}
	return y
}

// appended counts the keys that stand behind all others.
func (m *MultiHead) appended() int {
	n := 0
	for _, on := range []bool{m.config.BiasKV, m.config.ZeroAttn} {
		if on {
			n++
		}
	}
	return n
}

// core sets up the attention of one call.
func (m *MultiHead) core(q, k, v *Tensor, in Inputs) *core {
	c, s := m.config, m.config.sizes(in)
	lead := []int{s.batch, c.NumHeads}
	a := newCore(q, k, v, lead)
	a.causal, a.offset, a.window, a.softcap = !c.Bidirectional, s.past, c.Window, c.Softcap
	a.appended, a.emptyRow = m.appended(), c.EmptyRow
	if c.Scale != 0 {
		a.scale = c.Scale
	}
	if c.ALiBi {
		a.slopes = Slopes(c.NumHeads)
	}
	if c.Sinks {
		a.sinks = m.parameter("sinks").Data
	}
	if c.Relative > 0 {
		a.relative, a.reach = m.parameter("relative_bias.weight").Data, c.Relative
	}
	a.setMasks(c.allow(in, s, a.appended), c.widened(in.Bias, s, a.appended))
	return a
}

// allow merges Block and Padding into one mask of keys that take part, (B, H, L, S), or nil when
// every key does. Appended keys always do.
func (c Config) allow(in Inputs, s sizes, appended int) *Mask {
	if in.Block == nil && in.Padding == nil {
		return nil
	}
	allow := NewMask(s.batch, c.NumHeads, s.queries, s.keys()+appended)
	for row := range s.batch * c.NumHeads * s.queries {
		batch := row / (c.NumHeads * s.queries)
		to := allow.Data[row*(s.keys()+appended):][:s.keys()+appended]
		for j := range to {
			to[j] = j >= s.keys() ||
				(in.Block == nil || !in.Block.Data[row*s.keys()%len(in.Block.Data)+j]) &&
					(in.Padding == nil || !in.Padding.Data[batch*s.keys()+j])
		}
	}
	return allow
}

// widened is an additive mask with zeros for appended keys: (L, S) or (B, H, L, S).
func (c Config) widened(bias *Tensor, s sizes, appended int) *Tensor {
	if bias == nil {
		return nil
	}
	shape := []int{s.queries, s.keys() + appended}
	if len(bias.Shape) == 3 {
		shape = append([]int{s.batch, c.NumHeads}, shape...)
	}
	wide := NewTensor(shape...)
	for row := range len(bias.Data) / s.keys() {
		copy(wide.Data[row*(s.keys()+appended):], bias.Data[row*s.keys():][:s.keys()])
	}
	return wide
}

// shown are the weights as the configuration asks for them.
func (c Config) shown(weights *Tensor) *Tensor {
	if c.NeedWeights == AveragedWeights {
		weights = averageHeads(weights)
	}
	if weights != nil && c.InputLayout == Unbatched {
		weights.Shape = weights.Shape[1:]
	}
	return weights
}

// averageHeads is the mean over the heads, (B, H, L, S) -> (B, L, S).
func averageHeads(w *Tensor) *Tensor {
	heads, size := w.Shape[1], w.Shape[2]*w.Shape[3]
	mean := NewTensor(w.Shape[0], w.Shape[2], w.Shape[3])
	for i := range mean.Data {
		sum := 0.0
		for h := range heads {
			sum += float64(w.Data[(i/size*heads+h)*size+i%size])
		}
		mean.Data[i] = float32(sum / float64(heads))
	}
	return mean
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
