package attention

import (
	"errors"
	"fmt"
	"slices"
)

// Config says what a [MultiHead] layer computes. The zero value of every option is stated;
// EmbedDim and NumHeads have no default.
type Config struct {
	EmbedDim int // D, the width of the query and of the output; embed_dim in PyTorch
	NumHeads int // H, divides EmbedDim
	KDim     int // width of the key input; 0 is EmbedDim
	VDim     int // width of the value input; 0 is EmbedDim

	// Bidirectional lets every query see every key. The zero value is causal: query i sees
	// the keys 0..i (top-left, as is_causal in PyTorch). Most layers that people port are
	// decoders, and a causal mask that is missing by default is a mistake nobody sees.
	Bidirectional bool

	// WithoutBias leaves out all four biases, as bias=False. The zero value has them, as in
	// PyTorch.
	WithoutBias bool

	Keys     Keys     // names of the parameters; the zero value is TorchKeys
	EmptyRow EmptyRow // what a query that may see no key gives; the zero value is EmptyZero
}

// Keys is a set of state dict keys.
type Keys int

const (
	// TorchKeys are those of torch.nn.MultiheadAttention: in_proj_weight (query, key and value
	// stacked), in_proj_bias, out_proj.weight, out_proj.bias; and q_proj_weight, k_proj_weight,
	// v_proj_weight in place of in_proj_weight when KDim or VDim differ from EmbedDim.
	TorchKeys Keys = iota
	// SeedKeys are W_Q, W_K, W_V, W_O, each (out, in) as in torch.nn.Linear, without biases.
	SeedKeys
)

// EmptyRow is what attention gives for a query that may see no key at all.
type EmptyRow int

const (
	// EmptyZero: a context of zeros, so a layer gives its output bias. It is what
	// scaled_dot_product_attention does (PyTorch 2.15.0), and nn.MultiheadAttention where it
	// goes through it: in train mode with need_weights=False.
	EmptyZero EmptyRow = iota
	// EmptyNaN: NaN, as nn.MultiheadAttention in eval mode or with need_weights=True.
	EmptyNaN
)

// Causality says which keys a query may see by position.
type Causality int

const (
	// NotCausal: every key. PyTorch's default for scaled_dot_product_attention.
	NotCausal Causality = iota
	// TopLeft: query i sees keys 0..i, also when there are more keys than queries; is_causal=True.
	TopLeft
)

// withDefaults fills in the key and value widths.
func (c Config) withDefaults() Config {
	if c.KDim == 0 {
		c.KDim = c.EmbedDim
	}
	if c.VDim == 0 {
		c.VDim = c.EmbedDim
	}
	return c
}

// Check reports everything that is wrong with the configuration.
func (c Config) Check() error {
	var errs []error
	refuse := func(wrong bool, format string, args ...any) {
		if wrong {
			errs = append(errs, fmt.Errorf("config: "+format, args...))
		}
	}
	refuse(c.EmbedDim <= 0, "embed dim %d, want at least 1", c.EmbedDim)
	refuse(c.NumHeads <= 0, "num heads %d, want at least 1", c.NumHeads)
	refuse(c.EmbedDim > 0 && c.NumHeads > 0 && c.EmbedDim%c.NumHeads != 0,
		"num heads %d does not divide embed dim %d", c.NumHeads, c.EmbedDim)
	refuse(c.KDim < 0, "kdim %d, want 0 (embed dim) or more", c.KDim)
	refuse(c.VDim < 0, "vdim %d, want 0 (embed dim) or more", c.VDim)
	for _, p := range c.withDefaults().parameters() {
		_, err := Size(p.shape)
		refuse(err != nil, "%s: %w", p.name, err)
	}
	refuse(c.Keys < TorchKeys || c.Keys > SeedKeys, "unknown keys %d", c.Keys)
	refuse(c.Keys == SeedKeys && !c.WithoutBias, "the keys W_Q W_K W_V W_O name no biases: set WithoutBias")
	refuse(c.EmptyRow < EmptyZero || c.EmptyRow > EmptyNaN, "unknown empty row %d", c.EmptyRow)
	return errors.Join(errs...)
}

// parameters gives names and shapes in the order in which PyTorch registers them. The key and
// value widths must be filled in.
func (c Config) parameters() []parameter {
	d := c.EmbedDim
	var list []parameter
	add := func(name string, shape ...int) { list = append(list, parameter{name: name, shape: shape}) }
	switch {
	case c.Keys == SeedKeys:
		add("W_Q", d, d)
		add("W_K", d, c.KDim)
		add("W_V", d, c.VDim)
		add("W_O", d, d)
		return list
	case c.KDim == d && c.VDim == d:
		add("in_proj_weight", 3*d, d)
	default:
		add("q_proj_weight", d, d)
		add("k_proj_weight", d, c.KDim)
		add("v_proj_weight", d, c.VDim)
	}
	if !c.WithoutBias {
		add("in_proj_bias", 3*d)
	}
	add("out_proj.weight", d, d)
	if !c.WithoutBias {
		add("out_proj.bias", d)
	}
	return list
}

// CheckStateDict says what a strict [MultiHead.LoadStateDict] of a layer with this configuration
// would refuse, without making the layer.
func (c Config) CheckStateDict(dict StateDict) error {
	_, err := checkLoad("MultiHead", c.withDefaults().parameters(), dict, Strict)
	return err
}

// CheckInputs says what [MultiHead.Forward] would refuse: every shape that does not fit the
// configuration or another input.
func (c Config) CheckInputs(in Inputs) error {
	c = c.withDefaults()
	var errs []error
	width := func(name string, t *Tensor, want int, letters string) {
		if err := t.Check(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		} else if len(t.Shape) != 3 || t.Shape[2] != want || t.Shape[0] < 1 || t.Shape[1] < 1 {
			errs = append(errs, fmt.Errorf("%s: shape %s, want (%s, %d) with no dimension 0",
				name, FormatShape(t.Shape), letters, want))
		}
	}
	width("query", in.Query, c.EmbedDim, "B, L")
	width("key", in.Key, c.KDim, "B, S")
	width("value", in.Value, c.VDim, "B, S")
	if len(errs) > 0 {
		return errors.Join(errs...)
	}

	batch, queries, keys := in.Query.Shape[0], in.Query.Shape[1], in.Key.Shape[1]
	equal := func(name string, shape, want []int, letters string) {
		if !slices.Equal(shape, want) {
			errs = append(errs, fmt.Errorf("%s: shape %s, want %s %s",
				name, FormatShape(shape), letters, FormatShape(want)))
		}
	}
	equal("key", in.Key.Shape, []int{batch, keys, c.KDim}, "(B, S, kdim)")
	equal("value", in.Value.Shape, []int{batch, keys, c.VDim}, "(B, S, vdim)")
	for _, m := range []struct {
		name    string
		mask    *Mask
		want    []int
		letters string
	}{
		{"block", in.Block, []int{queries, keys}, "(L, S)"},
		{"padding", in.Padding, []int{batch, keys}, "(B, S)"},
	} {
		if m.mask == nil {
			continue
		}
		if err := m.mask.Check(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", m.name, err))
		}
		equal(m.name, m.mask.Shape, m.want, m.letters)
	}
	return errors.Join(errs...)
}
