package transformer

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ParseConfig returns the configuration of a model from its class in transformers 5.24.0 and its
// configuration as JSON, as in config.json. The class may have its module before it, as in
// "transformers.models.llama.modeling_llama.LlamaForCausalLM".
//
// The error wraps [errors.ErrUnsupported] if the package does not compute the class or an option,
// or if data is empty. Any other error is about the JSON. [New] calls Check, and ParseConfig does
// not.
func ParseConfig(class string, data []byte) (Config, error) {
	return parse(class, data, classes)
}

// ParseBlock makes a block from its class in transformers 5.24.0 and the configuration of its
// model, as [ParseConfig] does for a model. It knows the MLPs and the experts of the models that
// ParseConfig knows.
func ParseBlock(class string, data []byte) (*Block, error) {
	return parse(class, data, blocks)
}

// IsBlock reports whether [ParseBlock] knows a class.
func IsBlock(class string) bool {
	_, known := blocks[nameOf(class)]
	return known
}

// nameOf returns the name of a class without its module.
func nameOf(class string) string { return class[strings.LastIndexByte(class, '.')+1:] }

// parse reads JSON with the reader of a class.
func parse[T any](class string, data []byte, readers map[string]func(huggingFace) (T, error)) (made T, err error) {
	name := nameOf(class)
	read, known := readers[name]
	if !known {
		return made, fmt.Errorf("%w: the class %s", errors.ErrUnsupported, class)
	}
	if len(data) == 0 {
		return made, fmt.Errorf("%w: %s without its configuration", errors.ErrUnsupported, name)
	}
	var h huggingFace
	if err := json.Unmarshal(data, &h); err != nil {
		return made, fmt.Errorf("the configuration of %s: %w", name, err)
	}
	if err := h.check(); err != nil {
		return made, err
	}
	return read(h)
}

// classes maps the name of a class to a function that reads its configuration.
var classes = map[string]func(huggingFace) (Config, error){
	"LlamaForCausalLM":           sure(huggingFace.llama),
	"MistralForCausalLM":         sure(huggingFace.llama),
	"Qwen2ForCausalLM":           sure(huggingFace.qwen2),
	"Qwen3ForCausalLM":           sure(huggingFace.qwen3),
	"GemmaForCausalLM":           sure(huggingFace.gemma),
	"Gemma2ForCausalLM":          sure(huggingFace.gemma2),
	"GPT2LMHeadModel":            sure(huggingFace.gpt2),
	"BertModel":                  sure(huggingFace.bert),
	"BertForTokenClassification": sure(huggingFace.bertForTokenClassification),
	"MixtralForCausalLM":         sure(huggingFace.mixtral),
	"Qwen2MoeForCausalLM":        sure(huggingFace.qwen2Moe),
	"Qwen3MoeForCausalLM":        sure(huggingFace.qwen3Moe),
	"Glm4MoeForCausalLM":         sure(huggingFace.glm4Moe),
}

// blocks maps the name of a class to a function that makes its block.
var blocks = map[string]func(huggingFace) (*Block, error){
	"LlamaMLP":               huggingFace.llamaMLP,
	"MistralMLP":             huggingFace.llamaMLP,
	"Qwen2MLP":               huggingFace.llamaMLP,
	"Qwen3MLP":               huggingFace.llamaMLP,
	"GemmaMLP":               huggingFace.gemmaMLP,
	"Gemma2MLP":              huggingFace.gemmaMLP,
	"MixtralSparseMoeBlock":  func(h huggingFace) (*Block, error) { return NewExperts(h.mixtral().experts()) },
	"Glm4MoeMoE":             func(h huggingFace) (*Block, error) { return NewExperts(h.glm4Moe().experts()) },
	"Qwen2MoeSparseMoeBlock": func(h huggingFace) (*Block, error) { return NewExperts(h.qwen2Moe().experts()) },
	"Qwen3MoeSparseMoeBlock": func(h huggingFace) (*Block, error) { return NewExperts(h.qwen3Moe().experts()) },
}

func (h huggingFace) llamaMLP() (*Block, error) { return NewMLP(h.llama().mlp()) }

func (h huggingFace) gemmaMLP() (*Block, error) { return NewMLP(h.gemma().mlp()) }

// sure makes a reader of one that cannot fail.
func sure[C Config](read func(huggingFace) C) func(huggingFace) (Config, error) {
	return func(h huggingFace) (Config, error) { return read(h), nil }
}

// huggingFace holds the fields that change what a model computes. A field that is null or absent is
// zero.
type huggingFace struct {
	VocabSize             int      `json:"vocab_size"`
	HiddenSize            int      `json:"hidden_size"`
	IntermediateSize      int      `json:"intermediate_size"`
	NumHiddenLayers       int      `json:"num_hidden_layers"`
	NumAttentionHeads     int      `json:"num_attention_heads"`
	NumKeyValueHeads      int      `json:"num_key_value_heads"`
	HeadDim               int      `json:"head_dim"`
	HiddenAct             string   `json:"hidden_act"`
	HiddenActivation      string   `json:"hidden_activation"`
	RMSNormEps            float64  `json:"rms_norm_eps"`
	RopeParameters        *rope    `json:"rope_parameters"`
	RopeTheta             float64  `json:"rope_theta"` // before transformers 5
	RopeScaling           *rope    `json:"rope_scaling"`
	PartialRotaryFactor   float64  `json:"partial_rotary_factor"`
	SlidingWindow         int      `json:"sliding_window"`
	UseSlidingWindow      bool     `json:"use_sliding_window"`
	LayerTypes            []string `json:"layer_types"`
	AttentionBias         bool     `json:"attention_bias"`
	QKVBias               *bool    `json:"qkv_bias"`
	MLPBias               bool     `json:"mlp_bias"`
	UseQKNorm             bool     `json:"use_qk_norm"`
	TieWordEmbeddings     bool     `json:"tie_word_embeddings"`
	QueryPreAttnScalar    float64  `json:"query_pre_attn_scalar"`
	AttnLogitSoftcapping  float64  `json:"attn_logit_softcapping"`
	FinalLogitSoftcapping float64  `json:"final_logit_softcapping"`

	UseBidirectionalAttention bool `json:"use_bidirectional_attention"`

	NPositions             int     `json:"n_positions"`
	NEmbd                  int     `json:"n_embd"`
	NLayer                 int     `json:"n_layer"`
	NHead                  int     `json:"n_head"`
	NInner                 int     `json:"n_inner"`
	ActivationFunction     string  `json:"activation_function"`
	LayerNormEpsilon       float64 `json:"layer_norm_epsilon"`
	ScaleAttnWeights       *bool   `json:"scale_attn_weights"`
	ScaleByInverseLayer    bool    `json:"scale_attn_by_inverse_layer_idx"`
	AddCrossAttention      bool    `json:"add_cross_attention"`
	MaxPositionEmbeddings  int     `json:"max_position_embeddings"`
	TypeVocabSize          int     `json:"type_vocab_size"`
	LayerNormEps           float64 `json:"layer_norm_eps"`
	PositionEmbeddingType  string  `json:"position_embedding_type"`
	IsDecoder              bool    `json:"is_decoder"`
	AddPoolingLayer        *bool   `json:"add_pooling_layer"`
	NumLabels              int     `json:"num_labels"`
	ID2Label               labels  `json:"id2label"`
	NumLocalExperts        int     `json:"num_local_experts"`
	NumExperts             int     `json:"num_experts"`
	NRoutedExperts         int     `json:"n_routed_experts"`
	NumExpertsPerTok       int     `json:"num_experts_per_tok"`
	MoeIntermediateSize    int     `json:"moe_intermediate_size"`
	NormTopKProb           bool    `json:"norm_topk_prob"`
	RoutedScalingFactor    float64 `json:"routed_scaling_factor"`
	NGroup                 int     `json:"n_group"`
	TopKGroup              int     `json:"topk_group"`
	NSharedExperts         int     `json:"n_shared_experts"`
	SharedIntermediateSize int     `json:"shared_expert_intermediate_size"`
	FirstKDenseReplace     int     `json:"first_k_dense_replace"`
	DecoderSparseStep      int     `json:"decoder_sparse_step"`
	MLPOnlyLayers          []int   `json:"mlp_only_layers"`
}

// rope is rope_parameters, and rope_scaling before transformers 5.
type rope struct {
	Theta               float64 `json:"rope_theta"`
	Type                string  `json:"rope_type"`
	PartialRotaryFactor float64 `json:"partial_rotary_factor"`
}

// labels is id2label. Only the number of labels matters.
type labels map[string]any

// check returns an error that wraps ErrUnsupported if an option changes what a model computes and
// the package does not have it.
func (h huggingFace) check() error {
	unsupported := func(option string) error { return fmt.Errorf("%w: %s", errors.ErrUnsupported, option) }
	for _, r := range []*rope{h.RopeParameters, h.RopeScaling} {
		if r != nil && r.Type != "" && r.Type != "default" {
			return unsupported("rope_type " + r.Type)
		}
	}
	switch {
	case h.UseBidirectionalAttention:
		return unsupported("use_bidirectional_attention")
	case h.AddCrossAttention:
		return unsupported("add_cross_attention")
	case h.IsDecoder:
		return unsupported("is_decoder")
	case h.PositionEmbeddingType != "" && h.PositionEmbeddingType != "absolute":
		return unsupported("position_embedding_type " + h.PositionEmbeddingType)
	}
	for _, name := range []string{h.HiddenAct, h.HiddenActivation, h.ActivationFunction} {
		if _, known := activations[Activation(name)]; name != "" && !known {
			return unsupported("the activation " + name)
		}
	}
	return nil
}

func (h huggingFace) llama() LlamaConfig {
	c := LlamaConfig{
		VocabSize: h.VocabSize, HiddenSize: h.HiddenSize, IntermediateSize: h.IntermediateSize,
		NumHiddenLayers: h.NumHiddenLayers, NumAttentionHeads: h.NumAttentionHeads,
		NumKeyValueHeads: h.NumKeyValueHeads, HeadDim: h.HeadDim,
		HiddenAct: Activation(h.HiddenAct), RMSNormEps: h.RMSNormEps,
		RopeTheta: h.RopeTheta, PartialRotaryFactor: h.PartialRotaryFactor,
		SlidingWindow: h.SlidingWindow, LayerTypes: h.LayerTypes,
		AttentionBias: h.AttentionBias, MLPBias: h.MLPBias, TieWordEmbeddings: h.TieWordEmbeddings,
	}
	if r := h.RopeParameters; r != nil {
		c.RopeTheta = r.Theta
		if r.PartialRotaryFactor != 0 {
			c.PartialRotaryFactor = r.PartialRotaryFactor
		}
	}
	return c
}

// qwen returns the configuration of a Qwen, which has a window only if use_sliding_window is set.
func (h huggingFace) qwen() LlamaConfig {
	c := h.llama()
	if !h.UseSlidingWindow {
		c.SlidingWindow, c.LayerTypes = 0, nil
	}
	return c
}

func (h huggingFace) qwen2() LlamaConfig {
	c := h.qwen()
	c.AttentionBias, c.QKVBias = false, true
	return c
}

func (h huggingFace) qwen3() LlamaConfig {
	c := h.qwen()
	c.QKNorm = true
	return c
}

// gemma reads the options of Gemma 2, too. They are absent in the configuration of a first Gemma.
func (h huggingFace) gemma() GemmaConfig {
	c := GemmaConfig{
		LlamaConfig: h.llama(), QueryPreAttnScalar: h.QueryPreAttnScalar,
		AttnLogitSoftcapping: h.AttnLogitSoftcapping, FinalLogitSoftcapping: h.FinalLogitSoftcapping,
	}
	if h.HiddenActivation != "" {
		c.HiddenAct = Activation(h.HiddenActivation)
	}
	return c
}

func (h huggingFace) gemma2() GemmaConfig {
	c := h.gemma()
	c.SandwichNorms = true
	return c
}

func (h huggingFace) gpt2() GPT2Config {
	return GPT2Config{
		VocabSize: h.VocabSize, NPositions: h.NPositions, NEmbd: h.NEmbd, NLayer: h.NLayer, NHead: h.NHead,
		NInner: h.NInner, ActivationFunction: Activation(h.ActivationFunction), LayerNormEpsilon: h.LayerNormEpsilon,
		UnscaledAttention:   h.ScaleAttnWeights != nil && !*h.ScaleAttnWeights,
		ScaleByInverseLayer: h.ScaleByInverseLayer, TieWordEmbeddings: h.TieWordEmbeddings,
	}
}

func (h huggingFace) bert() BertConfig {
	return BertConfig{
		VocabSize: h.VocabSize, HiddenSize: h.HiddenSize, IntermediateSize: h.IntermediateSize,
		NumHiddenLayers: h.NumHiddenLayers, NumAttentionHeads: h.NumAttentionHeads,
		MaxPositionEmbeddings: h.MaxPositionEmbeddings, TypeVocabSize: h.TypeVocabSize,
		HiddenAct: Activation(h.HiddenAct), LayerNormEps: h.LayerNormEps,
		Pooler: h.AddPoolingLayer == nil || *h.AddPoolingLayer,
	}
}

func (h huggingFace) bertForTokenClassification() BertConfig {
	c := h.bert()
	c.Pooler = false
	switch {
	case h.NumLabels > 0:
		c.NumLabels = h.NumLabels
	case len(h.ID2Label) > 0:
		c.NumLabels = len(h.ID2Label)
	default:
		c.NumLabels = 2 // the default of transformers
	}
	return c
}

func (h huggingFace) mixtral() MoeConfig {
	return MoeConfig{LlamaConfig: h.llama(), Experts: ExpertsConfig{
		MoeIntermediateSize: h.IntermediateSize, NumExperts: h.NumLocalExperts,
		NumExpertsPerTok: h.NumExpertsPerTok, NormTopKProb: true,
	}}
}

func (h huggingFace) qwen2Moe() MoeConfig {
	c := MoeConfig{LlamaConfig: h.qwen(), Experts: ExpertsConfig{
		MoeIntermediateSize: h.MoeIntermediateSize, NumExperts: h.NumExperts,
		NumExpertsPerTok: h.NumExpertsPerTok, NormTopKProb: h.NormTopKProb,
		SharedIntermediateSize: h.SharedIntermediateSize, SharedGate: true,
	}}
	c.AttentionBias, c.QKVBias = false, h.QKVBias == nil || *h.QKVBias
	c.DenseLayers = h.denseLayers()
	return c
}

func (h huggingFace) qwen3Moe() MoeConfig {
	c := MoeConfig{LlamaConfig: h.qwen(), Experts: ExpertsConfig{
		MoeIntermediateSize: h.MoeIntermediateSize, NumExperts: max(h.NumExperts, h.NumLocalExperts),
		NumExpertsPerTok: h.NumExpertsPerTok, NormTopKProb: h.NormTopKProb,
	}}
	c.QKNorm, c.DenseLayers = true, h.denseLayers()
	return c
}

// denseLayers returns the layers without experts of a Qwen: the listed ones, and all but every
// decoder_sparse_step-th.
func (h huggingFace) denseLayers() []int {
	var dense []int
	for layer := range min(h.NumHiddenLayers, maxWidth) {
		if slices.Contains(h.MLPOnlyLayers, layer) || (layer+1)%max(1, h.DecoderSparseStep) != 0 {
			dense = append(dense, layer)
		}
	}
	return dense
}

func (h huggingFace) glm4Moe() MoeConfig {
	c := MoeConfig{LlamaConfig: h.llama(), Experts: ExpertsConfig{
		MoeIntermediateSize: h.MoeIntermediateSize, NumExperts: h.NRoutedExperts,
		NumExpertsPerTok: h.NumExpertsPerTok, NormTopKProb: h.NormTopKProb,
		Scoring: SigmoidScores, RoutedScalingFactor: h.RoutedScalingFactor,
		NGroup: h.NGroup, TopKGroup: h.TopKGroup,
		SharedIntermediateSize: h.MoeIntermediateSize * h.NSharedExperts,
	}}
	c.AttentionBias, c.QKVBias, c.QKNorm = false, h.AttentionBias, h.UseQKNorm
	for layer := range min(h.FirstKDenseReplace, h.NumHiddenLayers, maxWidth) {
		c.DenseLayers = append(c.DenseLayers, layer)
	}
	return c
}
