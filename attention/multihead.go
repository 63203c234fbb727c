package attention

import (
	"errors"
	"sync"
)

// MultiHead is a multi-head attention layer: torch.nn.MultiheadAttention without dropout (PyTorch
// 2.15.0), or the attention layer of a decoder such as Llama, as its [Config] selects. The layer is
// causal unless the configuration sets Bidirectional.
//
// Forward may run in several goroutines at once, but not during LoadStateDict. The zero MultiHead
// is not usable: call [New].
type MultiHead struct {
	config     Config
	parameters []parameter // in the order in which PyTorch registers them

	// The projections are copies of the parameters. [MultiHead.arrange] makes them when Forward
	// first needs them.
	query, key, value, out projection
	arranged               *sync.Once
}

// New returns a layer whose parameters are zeros until [MultiHead.LoadStateDict] fills them. The
// error is the one of [Config.Check].
func New(c Config) (*MultiHead, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	m := &MultiHead{config: c.withDefaults(), arranged: new(sync.Once)}
	for _, p := range m.config.parameters() {
		p.value = NewTensor(p.shape...)
		m.parameters = append(m.parameters, p)
	}
	return m, nil
}

// Config returns the layer's configuration, with NumKVHeads, HeadDim, KDim and VDim filled in.
func (m *MultiHead) Config() Config { return m.config }

// Forward computes the layer, as the forward of torch.nn.MultiheadAttention does (PyTorch 2.15.0).
// [Inputs] gives the shapes. Forward does not change the inputs.
//
// The error names every input whose shape does not fit the configuration or another input, as
// [Config.CheckInputs] does.
func (m *MultiHead) Forward(in Inputs) (Outputs, error) {
	if m.parameters == nil {
		return Outputs{}, errors.New("the layer was not made by New")
	}
	if err := m.config.CheckInputs(in); err != nil {
		return Outputs{}, err
	}
	m.arranged.Do(m.arrange)
	c, s := m.config, m.config.sizes(in)

	// 1. Project the inputs. T is S - P, the number of new keys.
	query := m.query.apply(c.InputLayout.toBatchFirst(in.Query)) // (B, L, D)    -> (B, L, H*E)
	key := m.key.apply(c.InputLayout.toBatchFirst(in.Key))       // (B, T, KDim) -> (B, T, Hk*E)
	value := m.value.apply(c.InputLayout.toBatchFirst(in.Value)) // (B, T, VDim) -> (B, T, Hk*E)

	// 2. Split the features into heads.
	q := splitHeads(query, c.NumHeads)   // (B, L, H*E)  -> (B, H, L, E)
	k := splitHeads(key, c.NumKVHeads)   // (B, T, Hk*E) -> (B, Hk, T, E)
	v := splitHeads(value, c.NumKVHeads) // (B, T, Hk*E) -> (B, Hk, T, E)

	// 3. Normalize and rotate each head of q and k, in place.
	m.normalize(q, k)
	c.RoPE.rotate(q, s.cached)
	c.RoPE.rotate(k, s.cached)

	// 4. Put the cache before the new keys and values, and the A appended ones behind.
	k = joinTokens(in.PastKey, k, m.appended("bias_k", s.batch))   // (B, Hk, P+T+A, E)
	v = joinTokens(in.PastValue, v, m.appended("bias_v", s.batch)) // (B, Hk, P+T+A, E)

	// 5. Attend: context (B, H, L, E), weights (B, H, L, S+A) or nil.
	context, weights := m.core(q, k, v, in).run(q, k, v, c.NeedWeights != NoWeights)

	// 6. Merge the heads.
	merged := mergeHeads(context) // (B, H, L, E) -> (B, L, H*E)

	// 7. Project the output.
	output := m.out.apply(merged) // (B, L, H*E) -> (B, L, D)

	return Outputs{Output: c.InputLayout.fromBatchFirst(output), Weights: c.returnedWeights(weights)}, nil
}

// normalize applies QKNorm to q (B, H, L, E) and k (B, Hk, T, E) in place.
func (m *MultiHead) normalize(q, k *Tensor) {
	if m.config.QKNorm != nil {
		m.config.QKNorm.apply(q, m.parameter("q_norm.weight").Data)
		m.config.QKNorm.apply(k, m.parameter("k_norm.weight").Data)
	}
}

// appended returns the A keys or values behind all others, (B, Hk, A, E), nil if A is 0. BiasKV
// appends the learned parameter of this name, (1, 1, D), and ZeroAttn appends zeros.
func (m *MultiHead) appended(learned string, batch int) *Tensor {
	n, heads, e := m.config.appendedKeys(), m.config.NumKVHeads, m.config.HeadDim
	if n == 0 {
		return nil
	}
	x := NewTensor(batch, heads, n, e)
	if p := m.parameter(learned); p != nil {
		for i := range batch * heads {
			copy(matrix(x, i)[:e], p.Data[i%heads*e:])
		}
	}
	return x
}

// core sets up pass 5 of one call.
func (m *MultiHead) core(q, k, v *Tensor, in Inputs) *core {
	c, s := m.config, m.config.sizes(in)
	a := newCore(q, k, v, []int{s.batch, c.NumHeads})
	a.causal, a.offset, a.window, a.softcap = !c.Bidirectional, s.cached, c.Window, c.Softcap
	a.appended, a.emptyRow = c.appendedKeys(), c.EmptyRow
	if c.Scale != 0 {
		a.scale = c.Scale
	}
	if c.ALiBi {
		a.slopes = ALiBiSlopes(c.NumHeads)
	}
	if c.Sinks {
		a.sinks = m.parameter("sinks").Data
	}
	if c.RelativeBias > 0 {
		a.relativeBias, a.reach = m.parameter("relative_bias.weight").Data, c.RelativeBias
	}
	a.setMasks(c.allow(in, s), c.widenedBias(in.Bias, s))
	return a
}

// StateDict returns copies of all parameters, as torch.nn.Module.state_dict does.
func (m *MultiHead) StateDict() StateDict {
	dict := make(StateDict, len(m.parameters))
	for _, p := range m.parameters {
		dict[p.name] = p.value.Clone()
	}
	return dict
}

// LoadStateDict copies the values of dict into the layer, as torch.nn.Module.load_state_dict does
// (PyTorch 2.15.0). A [Strict] load returns an error if keys are missing or unexpected; a [Lenient]
// load returns these keys and loads the others. A tensor of another shape is an error in both.
//
// The error is a *[LoadError], which lists every problem at once, unless the strictness is unknown.
//
// A load that returns an error changes nothing. PyTorch differs: load_state_dict overwrites every
// parameter that matches before it raises.
func (m *MultiHead) LoadStateDict(dict StateDict, strictness Strictness) (IncompatibleKeys, error) {
	keys, err := load("MultiHead", m.parameters, dict, strictness)
	if err == nil {
		m.arranged = new(sync.Once)
	}
	return keys, err
}

// CheckStateDict returns the error of a [Strict] [MultiHead.LoadStateDict] into a layer with this
// configuration, without making the layer. The configuration must pass [Config.Check].
func (c Config) CheckStateDict(dict StateDict) error {
	_, err := checkLoad("MultiHead", c.withDefaults().parameters(), dict, Strict)
	return err
}

// arrange copies the four projections from the parameters.
func (m *MultiHead) arrange() {
	c := m.config
	query, key := c.projectionWidths()
	widths := [4]struct{ in, out int }{{c.EmbedDim, query}, {c.KDim, key}, {c.VDim, key}, {query, c.EmbedDim}}
	projections := [4]*projection{&m.query, &m.key, &m.value, &m.out}
	for i, place := range c.Placements() {
		in, out := widths[i].in, widths[i].out
		weight, bias := place.weight(m.tensor(place.Weight), in, out), place.bias(m.tensor(place.Bias), out)
		projections[i].load(weight, bias, in, out)
	}
}

// parameter returns the parameter of this name without the prefix, nil if the layer has none.
func (m *MultiHead) parameter(name string) *Tensor { return m.tensor(m.config.Prefix + name) }

// tensor returns the parameter of this name with the prefix, nil if the layer has none.
func (m *MultiHead) tensor(name string) *Tensor {
	for _, p := range m.parameters {
		if p.name == name {
			return p.value
		}
	}
	return nil
}
