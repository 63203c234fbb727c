package transformer

import (
	"fmt"
	"math"

	"github.com/difftest/difftest/attention"
)

// GPT2Config describes a GPT2LMHeadModel.
type GPT2Config struct {
	// VocabSize is V: vocab_size.
	VocabSize int
	// NPositions is the number of learned positions: n_positions.
	NPositions int
	// NEmbd is D: n_embd.
	NEmbd int
	// NLayer is the number of layers: n_layer.
	NLayer int
	// NHead is the number of heads: n_head.
	NHead int
	// NInner is the inner width of the MLP: n_inner. 0 means 4*D.
	NInner int
	// ActivationFunction is the activation of the MLP: activation_function.
	ActivationFunction Activation
	// LayerNormEpsilon is added to the variances: layer_norm_epsilon.
	LayerNormEpsilon float64
	// UnscaledAttention leaves the scores without 1/sqrt(D/H): scale_attn_weights=False.
	UnscaledAttention bool
	// ScaleByInverseLayer divides the scores of layer i by i+1: scale_attn_by_inverse_layer_idx.
	ScaleByInverseLayer bool
	// TieWordEmbeddings makes the table of the tokens the weight of the head: tie_word_embeddings,
	// which GPT-2 sets.
	TieWordEmbeddings bool
}

// Check implements [Config].
func (c GPT2Config) Check() error {
	var r refusals
	r.width("vocab size", c.VocabSize)
	r.width("n positions", c.NPositions)
	r.width("n layer", c.NLayer)
	r.width("n inner", c.inner())
	r.activation(c.ActivationFunction)
	r.epsilon("layer norm epsilon", c.LayerNormEpsilon)
	r.attention(c.attention(0))
	return r.err()
}

func (c GPT2Config) inner() int {
	if c.NInner == 0 {
		return 4 * c.NEmbd
	}
	return c.NInner
}

// attention returns the configuration of the attention in a layer.
func (c GPT2Config) attention(layer int) attention.Config {
	a := attention.Config{EmbedDim: c.NEmbd, NumHeads: c.NHead, ParamLayout: attention.GPT2Layout}
	if c.NHead < 1 || c.NEmbd < 1 {
		return a
	}
	a.Scale = 1 / math.Sqrt(float64(c.NEmbd/c.NHead))
	if c.UnscaledAttention {
		a.Scale = 1
	}
	if c.ScaleByInverseLayer {
		a.Scale /= float64(layer + 1)
	}
	return a
}

// gpt2Names are the names of the linear layers in attention.
var gpt2Names = linearNames{{"c_attn", "c_attn"}, {"c_proj", "c_proj"}}

func (c GPT2Config) build() *Model {
	m := &Model{state: &state{class: "GPT2LMHeadModel"}}
	top := scope{state: m.state}
	body := top.in("transformer")
	table := body.in("wte").add("weight", c.VocabSize, c.NEmbd)
	positions := body.in("wpe").add("weight", c.NPositions, c.NEmbd)
	m.embeddings = &embeddings{tokens: &embedding{table}, scale: 1, positions: &embedding{positions}}
	for i := range c.NLayer {
		m.layers = append(m.layers, c.layer(body.in(fmt.Sprintf("h.%d", i)), i))
	}
	m.norm = body.in("ln_f").layerNorm(c.NEmbd, c.LayerNormEpsilon)
	m.head = &head{linear: top.in("lm_head").tiedHead(c.TieWordEmbeddings, table)}
	return m
}

func (c GPT2Config) layer(s scope, i int) *layer {
	l := &layer{attention: &residual[*selfAttention]{}, mlp: &residual[part]{}}
	l.attention.before = s.in("ln_1").layerNorm(c.NEmbd, c.LayerNormEpsilon)
	l.attention.f = s.in("attn").selfAttention(c.attention(i), gpt2Names)
	l.mlp.before = s.in("ln_2").layerNorm(c.NEmbd, c.LayerNormEpsilon)
	l.mlp.f = &plainMLP{
		up:   s.in("mlp.c_fc").conv1D(c.NEmbd, c.inner()),
		down: s.in("mlp.c_proj").conv1D(c.inner(), c.NEmbd),
		act:  c.ActivationFunction,
	}
	return l
}
