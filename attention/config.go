package attention

import (
	"errors"
	"fmt"
)

// Config describes a [MultiHead] layer. EmbedDim and NumHeads must be set. The zero value of every
// other field is its default; [Config.Check] refuses what does not fit together.
//
// Comments give the names of the same options in torch.nn.MultiheadAttention (PyTorch 2.15.0), and
// in Hugging Face's configurations where PyTorch has none. Layers that people port set, beside the
// widths:
//
//	nn.MultiheadAttention  Bidirectional, SequenceFirst, AveragedWeights: PyTorch's defaults
//	GPT-2                  GPT2Layout
//	Llama 2                LlamaLayout, WithoutBias, NumKVHeads, RoPE
//	Mistral                LlamaLayout, WithoutBias, NumKVHeads, RoPE, Window
//	Qwen2                  LlamaLayout, WithoutOutputBias, NumKVHeads, RoPE
//	Qwen3                  LlamaLayout, WithoutBias, NumKVHeads, RoPE, QKNorm
//	Gemma 2                LlamaLayout, WithoutBias, NumKVHeads, RoPE, Scale, Softcap, Window
//	GPT-NeoX               NeoXLayout, RoPE with a Dim
//	Bloom                  NeoXLayout, ALiBi
//	Phi-3                  FusedLayout, WithoutBias, NumKVHeads, RoPE
type Config struct {
	// EmbedDim is D, the width of the query input and of the output: embed_dim.
	EmbedDim int
	// NumHeads is H, the number of query heads: num_heads.
	NumHeads int
	// NumKVHeads is Hk, the number of key and value heads, a divisor of NumHeads:
	// num_key_value_heads. Query head h uses key and value head h / (H/Hk), as after repeat_kv.
	// 0 means NumHeads.
	NumKVHeads int
	// HeadDim is E, the width of a head: head_dim. 0 means EmbedDim / NumHeads, without remainder.
	HeadDim int
	// KDim and VDim are the widths of the key and value inputs: kdim, vdim. 0 means EmbedDim.
	KDim, VDim int

	// Bidirectional lets every query see every key. The zero value is causal: query i sees all
	// cached keys and the new keys 0 to i, as under is_causal in PyTorch.
	//
	// PyTorch's default is bidirectional. Most layers that people port are decoders, where a
	// causal mask that is missing by default would go unnoticed.
	Bidirectional bool

	// WithoutBias leaves out all biases: bias=False. The zero value has them, as in PyTorch.
	WithoutBias bool
	// WithoutOutputBias leaves out the bias of the output projection alone, as Qwen2 does.
	WithoutOutputBias bool

	// Scale multiplies the scores. 0 means 1/sqrt(HeadDim).
	Scale float64
	// Softcap is c in c * tanh(score / c), which limits the scores before masks and biases:
	// attn_logit_softcapping, in Gemma 2. 0 means no limit.
	Softcap float64
	// Window hides keys at a distance of Window or more, on either side: sliding_window. 0 hides
	// none.
	Window int
	// ALiBi subtracts the head's slope times the distance from a score: alibi. See [ALiBiSlopes].
	ALiBi bool
	// Sinks adds a learned logit of each head, the parameter sinks (H), to the softmax, as GPT-OSS
	// does. A sink has no value, so that the weights of a query add to less than 1.
	Sinks bool
	// RelativeBias is R, the reach of a learned bias of the scores: the parameter
	// relative_bias.weight (2*R+1, H). Row R + d holds the biases at distance d, and distances
	// beyond R count as R. 0 means no such bias.
	RelativeBias int
	// RoPE rotates queries and keys by their positions. nil means no rotation.
	RoPE *RoPE
	// QKNorm normalizes every query and key head before RoPE. nil means no norm.
	QKNorm *QKNorm
	// BiasKV appends a learned key and value that every query sees, the parameters bias_k and
	// bias_v (1, 1, D): add_bias_kv.
	BiasKV bool
	// ZeroAttn appends a key and value of zeros that every query sees: add_zero_attn.
	ZeroAttn bool

	// ParamLayout selects the names and the arrangement of the parameters. The zero value is
	// TorchLayout.
	ParamLayout ParamLayout
	// Prefix comes before the names of all parameters: "module.", "model.layers.0.self_attn.".
	Prefix string
	// InputLayout selects the order of the dimensions: batch_first. The zero value is BatchFirst.
	InputLayout InputLayout
	// NeedWeights selects the attention weights to return. The zero value is NoWeights.
	NeedWeights NeedWeights
	// EmptyRow selects the result for a query that sees no key. The zero value is EmptyZero.
	EmptyRow EmptyRow
}

// withDefaults fills in every width that is 0. HeadDim stays 0 if NumHeads is not positive.
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

// projectionWidths returns the widths of the projected queries, H*E, and of the projected keys and
// values, Hk*E. The widths must be filled in.
func (c Config) projectionWidths() (query, key int) {
	return c.NumHeads * c.HeadDim, c.NumKVHeads * c.HeadDim
}

// appendedKeys returns the number of keys that BiasKV and ZeroAttn append.
func (c Config) appendedKeys() int {
	n := 0
	if c.BiasKV {
		n++
	}
	if c.ZeroAttn {
		n++
	}
	return n
}

// Check returns every reason why [New] would refuse the configuration, each starting with
// "config: ", or nil. Check allocates no parameters, however wide the layer.
func (c Config) Check() error {
	var errs []error
	refuse := func(wrong bool, format string, args ...any) {
		if wrong {
			errs = append(errs, fmt.Errorf("config: "+format, args...))
		}
	}
	c.checkWidths(refuse)
	c.checkScores(refuse)
	c.checkParamLayout(refuse)
	refuse(c.InputLayout < BatchFirst || c.InputLayout > Unbatched, "unknown input layout %d", c.InputLayout)
	refuse(c.NeedWeights < NoWeights || c.NeedWeights > WeightsPerHead, "unknown need weights %d", c.NeedWeights)
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

// refusal collects an error if wrong holds.
type refusal func(wrong bool, format string, args ...any)

// maxWidth bounds every width and count, so that no product of three of them overflows int.
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
	refuse(c.RelativeBias < 0 || c.RelativeBias > maxWidth,
		"relative bias %d, want 0 (none) or a distance up to %d", c.RelativeBias, maxWidth)
	if c.RoPE != nil {
		c.RoPE.check(c.withDefaults().HeadDim, refuse)
	}
	refuse(c.QKNorm != nil && !(finite(c.QKNorm.Epsilon) && c.QKNorm.Epsilon >= 0),
		"qk norm epsilon: want a finite number, 0 or more")
	positioned := c.RoPE != nil || c.ALiBi || c.RelativeBias > 0 || c.Window > 0
	refuse(c.appendedKeys() > 0 && positioned, "keys appended by bias kv or zero attn have no position: "+
		"not together with RoPE, ALiBi, relative bias or a window")
}

// checkParamLayout refuses what the parameters' layout cannot hold.
func (c Config) checkParamLayout(refuse refusal) {
	l, known := layouts[c.ParamLayout]
	refuse(!known, "unknown param layout %d", c.ParamLayout)
	if !known {
		return
	}
	filled := c.withDefaults()
	plain := filled.NumKVHeads == c.NumHeads && (c.HeadDim == 0 || c.HeadDim*c.NumHeads == c.EmbedDim)
	refuse(l.withoutBias && !c.WithoutBias, "the keys %s name no biases: set WithoutBias", l.name)
	refuse(l.plain && !plain,
		"the keys %s need num kv heads = num heads, and num heads * head dim = embed dim", l.name)
	refuse(l.fused && (filled.KDim != c.EmbedDim || filled.VDim != c.EmbedDim),
		"the keys %s hold query, key and value in one parameter: kdim and vdim must be embed dim", l.name)
	refuse(c.BiasKV && c.ParamLayout != TorchLayout && c.ParamLayout != TorchSeparateLayout,
		"bias kv goes with the keys of torch.nn.MultiheadAttention alone")
	refuse(l.oneBias && c.WithoutOutputBias && !c.WithoutBias, "the keys %s have all biases or none", l.name)
}
