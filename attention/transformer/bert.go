package transformer

import (
	"fmt"

	"github.com/difftest/difftest/attention"
)

// BertConfig describes a BertModel, whose output are the last hidden states, or with NumLabels a
// BertForTokenClassification.
type BertConfig struct {
	// VocabSize is V: vocab_size.
	VocabSize int
	// HiddenSize is D: hidden_size.
	HiddenSize int
	// IntermediateSize is I: intermediate_size.
	IntermediateSize int
	// NumHiddenLayers is the number of layers: num_hidden_layers.
	NumHiddenLayers int
	// NumAttentionHeads is the number of heads: num_attention_heads.
	NumAttentionHeads int
	// MaxPositionEmbeddings is the number of learned positions: max_position_embeddings.
	MaxPositionEmbeddings int
	// TypeVocabSize is the number of token types: type_vocab_size.
	TypeVocabSize int
	// HiddenAct is the activation of the MLP: hidden_act.
	HiddenAct Activation
	// LayerNormEps is added to the variances: layer_norm_eps.
	LayerNormEps float64

	// Pooler adds the parameters of the pooler, which the last hidden states do not depend on:
	// add_pooling_layer. Not together with NumLabels.
	Pooler bool
	// NumLabels is the number of logits of each token: num_labels. 0 means a BertModel without a
	// head. The names then begin with "bert." and the head is called classifier.
	NumLabels int
}

// Check implements [Config].
func (c BertConfig) Check() error {
	var r refusals
	for _, width := range []struct {
		name  string
		value int
	}{
		{"vocab size", c.VocabSize},
		{"intermediate size", c.IntermediateSize},
		{"num hidden layers", c.NumHiddenLayers},
		{"max position embeddings", c.MaxPositionEmbeddings},
		{"type vocab size", c.TypeVocabSize},
	} {
		r.width(width.name, width.value)
	}
	r.activation(c.HiddenAct)
	r.epsilon("layer norm eps", c.LayerNormEps)
	r.refuse(c.NumLabels < 0 || c.NumLabels > maxWidth, "num labels %d, want 0 (no head) or a width", c.NumLabels)
	r.refuse(c.Pooler && c.NumLabels > 0, "a pooler and num labels exclude each other")
	r.attention(c.attention())
	return r.err()
}

// attention returns the configuration of the attention in every layer.
func (c BertConfig) attention() attention.Config {
	return attention.Config{
		EmbedDim: c.HiddenSize, NumHeads: c.NumAttentionHeads,
		Bidirectional: true, ParamLayout: attention.LlamaLayout,
	}
}

// bertNames are the names of the linear layers in attention.
var bertNames = linearNames{
	{"q_proj", "self.query"}, {"k_proj", "self.key"}, {"v_proj", "self.value"}, {"o_proj", "output.dense"},
}

func (c BertConfig) build() *Model {
	m := &Model{state: &state{class: "BertModel"}}
	top := scope{state: m.state}
	body := top
	if c.NumLabels > 0 {
		m.class, body = "BertForTokenClassification", top.in("bert")
	}
	m.embeddings = c.embeddings(body.in("embeddings"))
	for i := range c.NumHiddenLayers {
		m.layers = append(m.layers, c.layer(body.in(fmt.Sprintf("encoder.layer.%d", i))))
	}
	if c.Pooler {
		body.in("pooler.dense").linear(c.HiddenSize, c.HiddenSize, withBias)
	}
	if c.NumLabels > 0 {
		m.head = &head{linear: top.in("classifier").linear(c.HiddenSize, c.NumLabels, withBias)}
	}
	return m
}

func (c BertConfig) embeddings(s scope) *embeddings {
	table := func(name string, rows int) *embedding {
		return &embedding{s.in(name).add("weight", rows, c.HiddenSize)}
	}
	return &embeddings{
		scale:     1,
		tokens:    table("word_embeddings", c.VocabSize),
		positions: table("position_embeddings", c.MaxPositionEmbeddings),
		types:     table("token_type_embeddings", c.TypeVocabSize),
		norm:      s.in("LayerNorm").layerNorm(c.HiddenSize, c.LayerNormEps),
	}
}

func (c BertConfig) layer(s scope) *layer {
	l := &layer{attention: &residual[*selfAttention]{}, mlp: &residual[part]{}}
	l.attention.f = s.in("attention").selfAttention(c.attention(), bertNames)
	l.attention.after = s.in("attention.output.LayerNorm").layerNorm(c.HiddenSize, c.LayerNormEps)
	l.mlp.f = &plainMLP{
		up:   s.in("intermediate.dense").linear(c.HiddenSize, c.IntermediateSize, withBias),
		down: s.in("output.dense").linear(c.IntermediateSize, c.HiddenSize, withBias),
		act:  c.HiddenAct,
	}
	l.mlp.after = s.in("output.LayerNorm").layerNorm(c.HiddenSize, c.LayerNormEps)
	return l
}
