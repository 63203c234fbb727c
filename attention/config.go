package attention

import (
	"errors"
	"fmt"
)

// Config says what a [MultiHead] layer computes. The zero value of every option is stated;
// EmbedDim and NumHeads have no default.
type Config struct {
	EmbedDim   int // D, the width of the query and of the output; embed_dim in PyTorch
	NumHeads   int // H
	NumKVHeads int // Hk, divides NumHeads; 0 is NumHeads. Query head h uses key and value head h / (H/Hk)
	HeadDim    int // E, the width of a head; 0 is EmbedDim / NumHeads, which must then be whole
	KDim       int // width of the key input; 0 is EmbedDim
	VDim       int // width of the value input; 0 is EmbedDim

	// Bidirectional lets every query see every key. The zero value is causal: query i sees the
	// whole cache and the keys 0..i (top-left, as is_causal in PyTorch). Most layers that people
	// port are decoders, and a causal mask that is missing by default is a mistake nobody sees.
	Bidirectional bool

	// WithoutBias leaves out all biases, as bias=False. The zero value has them, as in PyTorch.
	WithoutBias bool
	// WithoutOutputBias leaves out that of the output projection alone, as Qwen2 does.
	WithoutOutputBias bool

	Scale        float64 // of the scores; 0 is 1/sqrt(HeadDim)
	Softcap      float64 // c: scores become c tanh(score / c); 0 is none
	Window       int     // a query sees keys at a distance below it; 0 is no limit
	ALiBi        bool    // scores lose a slope of the head times the distance, see [Slopes]
	Sinks        bool    // a learned logit for each head takes part in the softmax, without a value
	RelativeBias int     // R: a learned bias for each distance, clipped at R, and head; 0 is none
	RoPE         *RoPE   // rotary positions of query and key; nil is none
	QKNorm       *QKNorm // a norm of each head's query and key, before RoPE; nil is none
	BiasKV       bool    // one more learned key and value, bias_k and bias_v; add_bias_kv in PyTorch
	ZeroAttn     bool    // one more key and value of zeros; add_zero_attn in PyTorch

	ParamLayout ParamLayout // names of the parameters; the zero value is TorchLayout
	Prefix      string      // stands before every name: "module.", "model.layers.0.self_attn."
	InputLayout InputLayout // of the dimensions of the inputs; the zero value is BatchFirst
	NeedWeights NeedWeights // attention weights to return; the zero value is NoWeights
	EmptyRow    EmptyRow    // what a query that may see no key gives; the zero value is EmptyZero
}

// InputLayout is that of the dimensions of query, key, value and output.
type InputLayout int

const (
	// BatchFirst is (B, T, width): batch_first=True.
	BatchFirst InputLayout = iota
	// SequenceFirst is (T, B, width): PyTorch's default for nn.MultiheadAttention.
	SequenceFirst
	// Unbatched is (T, width). A padding mask has no batch dimension either.
	Unbatched
)

// NeedWeights says which attention weights a layer returns beside its output.
type NeedWeights int

const (
	// NoWeights: none, need_weights=False.
	NoWeights NeedWeights = iota
	// AveragedWeights: their mean over the heads, (B, L, S); need_weights=True.
	AveragedWeights
	// WeightsPerHead: (B, H, L, S); need_weights=True, average_attn_weights=False.
	WeightsPerHead
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
	// LowerRight: query i sees keys 0..i+S-L, so that the last query sees every key;
	// torch.nn.attention.bias.causal_lower_right. A query that would see no key sees none.
	LowerRight
)

// withDefaults fills in every width that is 0. HeadDim stays 0 where NumHeads is.
func (c Config) withDefaults() Config {
	fill := func(field *int, value int) {
		if *field == 0 {
			*field = value
		}
	}
	fill(&c.KDim, c.EmbedDim)
	fill(&c.VDim, c.EmbedDim)
	fill(&c.NumKVHeads, c.NumHeads)
	if c.NumHeads > 0 {
		fill(&c.HeadDim, c.EmbedDim/c.NumHeads)
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
	c.checkWidths(refuse)
	c.checkScores(refuse)
	c.checkKeys(refuse)
	refuse(c.InputLayout < BatchFirst || c.InputLayout > Unbatched, "unknown order %d", c.InputLayout)
	refuse(c.NeedWeights < NoWeights || c.NeedWeights > WeightsPerHead, "unknown weights %d", c.NeedWeights)
	refuse(c.EmptyRow < EmptyZero || c.EmptyRow > EmptyNaN, "unknown empty row %d", c.EmptyRow)
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	for _, p := range c.withDefaults().parameters() {
		_, err := Size(p.shape)
		refuse(err != nil, "%s: %w", p.name, err)
	}
	return errors.Join(errs...)
}

type refusal func(wrong bool, format string, args ...any)

// maxWidth bounds every width and number, so that no product of three of them overflows.
const maxWidth = 1 << 20

func (c Config) checkWidths(refuse refusal) {
	for _, width := range []struct {
		name         string
		value, least int
		otherwise    string
	}{
		{"embed dim", c.EmbedDim, 1, ""},
		{"num heads", c.NumHeads, 1, ""},
		{"num kv heads", c.NumKVHeads, 0, "0 (num heads) or "},
		{"head dim", c.HeadDim, 0, "0 (embed dim / num heads) or "},
		{"kdim", c.KDim, 0, "0 (embed dim) or "},
		{"vdim", c.VDim, 0, "0 (embed dim) or "},
	} {
		refuse(width.value < width.least || width.value > maxWidth, "%s %d, want %sat least 1 and at most %d",
			width.name, width.value, width.otherwise, maxWidth)
	}
	if c.NumHeads <= 0 || c.EmbedDim <= 0 {
		return
	}
	refuse(c.HeadDim == 0 && c.EmbedDim%c.NumHeads != 0,
		"num heads %d does not divide embed dim %d", c.NumHeads, c.EmbedDim)
	refuse(c.NumKVHeads > 0 && c.NumHeads%c.NumKVHeads != 0,
		"num kv heads %d does not divide num heads %d", c.NumKVHeads, c.NumHeads)
}

func (c Config) checkScores(refuse refusal) {
	refuse(!finite(c.Scale), "scale %v is not finite", c.Scale)
	refuse(!finite(c.Softcap) || c.Softcap < 0, "softcap %v, want 0 (none) or a positive number", c.Softcap)
	refuse(c.Window < 0, "window %d, want 0 (none) or at least 1", c.Window)
	refuse(c.RelativeBias < 0 || c.RelativeBias > maxWidth, "relative bias %d, want 0 (none) or a distance up to %d", c.RelativeBias, maxWidth)
	if c.RoPE != nil {
		c.RoPE.check(c.withDefaults().HeadDim, refuse)
	}
	refuse(c.QKNorm != nil && !(finite(c.QKNorm.Epsilon) && c.QKNorm.Epsilon >= 0),
		"qk norm epsilon: want a finite number, 0 or more")
	appended := c.BiasKV || c.ZeroAttn
	positioned := c.RoPE != nil || c.ALiBi || c.RelativeBias > 0 || c.Window > 0
	refuse(appended && positioned, "keys appended by bias kv or zero attn have no position: not together with RoPE, ALiBi, relative bias or a window")
}

// Check, with the parameters' names: what a layout cannot hold is refused.
func (c Config) checkKeys(refuse refusal) {
	l, known := layouts[c.ParamLayout]
	refuse(!known, "unknown keys %d", c.ParamLayout)
	if !known {
		return
	}
	filled := c.withDefaults()
	plain := filled.NumKVHeads == c.NumHeads && (c.HeadDim == 0 || c.HeadDim*c.NumHeads == c.EmbedDim)
	refuse(l.withoutBias && !c.WithoutBias, "the keys %s name no biases: set WithoutBias", l.name)
	refuse(l.plain && !plain, "the keys %s have as many key heads as heads, together as wide as the model", l.name)
	refuse(l.fused && (filled.KDim != c.EmbedDim || filled.VDim != c.EmbedDim),
		"the keys %s hold query, key and value in one parameter: kdim and vdim must be embed dim", l.name)
	refuse(c.BiasKV && c.ParamLayout != TorchLayout && c.ParamLayout != TorchSeparateLayout, "bias kv goes with the keys of torch.nn.MultiheadAttention alone")
	refuse(l.oneBias && c.WithoutOutputBias && !c.WithoutBias, "the keys %s have all biases or none", l.name)
}
