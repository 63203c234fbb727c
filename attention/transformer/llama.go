package transformer

import (
	"fmt"

	"github.com/difftest/difftest/attention"
)

// LlamaConfig describes a LlamaForCausalLM and, by its fields, the models that differ little:
//
//	Mistral  SlidingWindow
//	Qwen2    QKVBias
//	Qwen3    QKNorm
type LlamaConfig struct {
	// VocabSize is V: vocab_size.
	VocabSize int
	// HiddenSize is D: hidden_size.
	HiddenSize int
	// IntermediateSize is I: intermediate_size.
	IntermediateSize int
	// NumHiddenLayers is the number of layers: num_hidden_layers.
	NumHiddenLayers int
	// NumAttentionHeads is the number of query heads: num_attention_heads.
	NumAttentionHeads int
	// NumKeyValueHeads is the number of key and value heads: num_key_value_heads. 0 means
	// NumAttentionHeads.
	NumKeyValueHeads int
	// HeadDim is the width of a head: head_dim. 0 means HiddenSize / NumAttentionHeads.
	HeadDim int
	// HiddenAct is the activation of the gate: hidden_act, or hidden_activation in Gemma.
	HiddenAct Activation
	// RMSNormEps is added to the mean squares: rms_norm_eps.
	RMSNormEps float64

	// RopeTheta is the base of the rotary frequencies: rope_theta.
	RopeTheta float64
	// PartialRotaryFactor is the part of each head that rotates: partial_rotary_factor. 0 means 1.
	PartialRotaryFactor float64
	// SlidingWindow hides keys at a distance of SlidingWindow or more: sliding_window. 0 hides
	// none.
	SlidingWindow int
	// LayerTypes tells for each layer whether it has the window: layer_types, of
	// "sliding_attention" and "full_attention". nil means that all layers have it.
	LayerTypes []string

	// AttentionBias gives all four projections of attention a bias: attention_bias.
	AttentionBias bool
	// QKVBias gives query, key and value a bias, and not the output projection: qkv_bias.
	QKVBias bool
	// MLPBias gives the linear layers of the MLP a bias: mlp_bias.
	MLPBias bool
	// QKNorm normalizes every query and key head, as Qwen3 does.
	QKNorm bool
	// TieWordEmbeddings makes the table of the tokens the weight of the head: tie_word_embeddings.
	TieWordEmbeddings bool
}

// Check implements [Config].
func (c LlamaConfig) Check() error {
	var r refusals
	c.check(&r)
	r.width("intermediate size", c.IntermediateSize)
	r.activation(c.HiddenAct)
	return r.err()
}

// check refuses what no decoder can be made of. It leaves out the MLP.
func (c LlamaConfig) check(r *refusals) {
	r.width("vocab size", c.VocabSize)
	r.width("num hidden layers", c.NumHiddenLayers)
	r.epsilon("rms norm eps", c.RMSNormEps)
	r.refuse(c.LayerTypes != nil && len(c.LayerTypes) != c.NumHiddenLayers,
		"%d layer types for %d layers", len(c.LayerTypes), c.NumHiddenLayers)
	for i, kind := range c.LayerTypes {
		r.refuse(kind != sliding && kind != full, "layer type %d is %q, want %q or %q", i, kind, sliding, full)
	}
	part := c.PartialRotaryFactor
	r.refuse(!finite(part) || part < 0 || part > 1, "partial rotary factor %v, want a number from 0 to 1", part)
	r.attention(c.attention(0))
}

const (
	sliding = "sliding_attention"
	full    = "full_attention"
)

// attention returns the configuration of the attention in a layer.
func (c LlamaConfig) attention(layer int) attention.Config {
	a := attention.Config{
		EmbedDim: c.HiddenSize, NumHeads: c.NumAttentionHeads, NumKVHeads: c.NumKeyValueHeads, HeadDim: c.HeadDim,
		ParamLayout:       attention.LlamaLayout,
		WithoutBias:       !c.AttentionBias && !c.QKVBias,
		WithoutOutputBias: !c.AttentionBias,
		RoPE:              &attention.RoPE{Base: c.RopeTheta, Dim: c.rotated()},
	}
	if c.QKNorm {
		a.QKNorm = &attention.QKNorm{Epsilon: c.RMSNormEps}
	}
	if c.LayerTypes == nil || layer < len(c.LayerTypes) && c.LayerTypes[layer] == sliding {
		a.Window = c.SlidingWindow
	}
	return a
}

// rotated returns the number of features of a head that rotate, 0 for all.
func (c LlamaConfig) rotated() int {
	if c.PartialRotaryFactor == 0 || c.NumAttentionHeads < 1 {
		return 0
	}
	width := c.HeadDim
	if width == 0 {
		width = c.HiddenSize / c.NumAttentionHeads
	}
	return int(float64(width) * c.PartialRotaryFactor)
}

func (c LlamaConfig) build() *Model {
	return decoder{LlamaConfig: c, class: "LlamaForCausalLM", scale: 1, mlp: c.gatedMLP}.build()
}

// gatedMLP adds the MLP of a layer.
func (c LlamaConfig) gatedMLP(s scope, _ int) part { return newGatedMLP(s, c.mlp()) }

// mlp returns the configuration of the MLP in every layer.
func (c LlamaConfig) mlp() MLPConfig {
	return MLPConfig{
		HiddenSize: c.HiddenSize, IntermediateSize: c.IntermediateSize, HiddenAct: c.HiddenAct, Bias: c.MLPBias,
	}
}

// decoder is everything in which the decoders with Llama's names differ.
type decoder struct {
	LlamaConfig
	class    string
	offset   float64 // added to the weights of norms
	scale    float64 // of the embeddings
	softcap  float64 // of the logits
	sandwich bool    // a norm behind each branch, too

	attend func(layer int) attention.Config // nil for LlamaConfig's
	mlp    func(s scope, layer int) part
}

// llamaNames are the names of the linear layers, and of the norms of heads, in attention.
var llamaNames = linearNames{
	{"q_proj", "q_proj"}, {"k_proj", "k_proj"}, {"v_proj", "v_proj"}, {"o_proj", "o_proj"},
	{"q_norm", "q_norm"}, {"k_norm", "k_norm"},
}

func (d decoder) build() *Model {
	m := &Model{state: &state{class: d.class}}
	top := scope{state: m.state}
	body := top.in("model")
	table := body.in("embed_tokens").add("weight", d.VocabSize, d.HiddenSize)
	m.embeddings = &embeddings{tokens: &embedding{table}, scale: d.scale}
	for i := range d.NumHiddenLayers {
		m.layers = append(m.layers, d.layer(body.in(fmt.Sprintf("layers.%d", i)), i))
	}
	m.norm = d.rmsNorm(body.in("norm"))
	m.head = &head{linear: top.in("lm_head").tiedHead(d.TieWordEmbeddings, table), softcap: d.softcap}
	return m
}

// layer adds layer i. The norms stand behind the MLP in PyTorch's order.
func (d decoder) layer(s scope, i int) *layer {
	attend := d.attend
	if attend == nil {
		attend = d.attention
	}
	l := &layer{
		attention: &residual[*selfAttention]{f: s.in("self_attn").selfAttention(attend(i), llamaNames)},
		mlp:       &residual[part]{f: d.mlp(s.in("mlp"), i)},
	}
	l.attention.before = d.rmsNorm(s.in("input_layernorm"))
	if !d.sandwich {
		l.mlp.before = d.rmsNorm(s.in("post_attention_layernorm"))
		return l
	}
	l.attention.branch = d.rmsNorm(s.in("post_attention_layernorm"))
	l.mlp.before = d.rmsNorm(s.in("pre_feedforward_layernorm"))
	l.mlp.branch = d.rmsNorm(s.in("post_feedforward_layernorm"))
	return l
}

func (d decoder) rmsNorm(s scope) *norm { return s.rmsNorm(d.HiddenSize, d.RMSNormEps, d.offset) }
