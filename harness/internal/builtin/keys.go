package builtin

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/subject"
)

// keys translates the keys of a state dict to their names in transformers: pairs of a beginning or
// a part of a key, and its translation. nil changes nothing.
type keys [][2]string

// plainModel is a model of pyref/models, in plain PyTorch, that computes what a class of
// transformers computes.
type plainModel struct {
	classes map[string]string // by model_type in the configuration
	keys    keys
}

var plainModels = map[string]plainModel{
	"pyref.models.decoder.Decoder": {
		classes: map[string]string{"llama": "LlamaForCausalLM", "gemma": "GemmaForCausalLM"},
		keys: keys{
			{"^embed_tokens.", "model.embed_tokens."}, {"^layers.", "model.layers."}, {"^norm.", "model.norm."},
		},
	},
	"pyref.models.encoder.Encoder": {
		classes: map[string]string{"bert": "BertForTokenClassification"},
		keys: keys{
			{"^embeddings.word.", "bert.embeddings.word_embeddings."},
			{"^embeddings.position.", "bert.embeddings.position_embeddings."},
			{"^embeddings.token_type.", "bert.embeddings.token_type_embeddings."},
			{"^embeddings.norm.", "bert.embeddings.LayerNorm."},
			{"^layers.", "bert.encoder.layer."},
			{".attention.query.", ".attention.self.query."},
			{".attention.key.", ".attention.self.key."},
			{".attention.value.", ".attention.self.value."},
			{".attention.output.", ".attention.output.dense."},
			{".attention_norm.", ".attention.output.LayerNorm."},
			{".up.", ".intermediate.dense."},
			{".down.", ".output.dense."},
			{".output_norm.", ".output.LayerNorm."},
			{"^head.", "classifier."},
		},
	},
}

// hugging returns the class of transformers that computes what a module computes, and the
// translation of the module's keys.
func hugging(d subject.Description) (string, keys, error) {
	plain, ok := plainModels[d.Class]
	if !ok {
		return d.Class, nil, nil
	}
	if len(d.Settings) == 0 {
		return "", nil, fmt.Errorf("%w: %s without its configuration", errors.ErrUnsupported, d.Class)
	}
	var config struct {
		ModelType string `json:"model_type"`
	}
	if err := json.Unmarshal(d.Settings, &config); err != nil {
		return "", nil, fmt.Errorf("the configuration of %s: %w", d.Class, err)
	}
	class, ok := plain.classes[config.ModelType]
	if !ok {
		return "", nil, fmt.Errorf("%w: %s with the model_type %q", errors.ErrUnsupported, d.Class, config.ModelType)
	}
	return class, plain.keys, nil
}

// translated returns a state dict under the names in transformers.
func (k keys) translated(dict attention.StateDict) attention.StateDict {
	made := make(attention.StateDict, len(dict))
	for key, t := range dict {
		made[k.replaced(key, 0, 1)] = t
	}
	return made
}

// back undoes translated.
func (k keys) back(dict attention.StateDict) attention.StateDict {
	made := make(attention.StateDict, len(dict))
	for key, t := range dict {
		made[k.replaced(key, 1, 0)] = t
	}
	return made
}

// replaced returns a key with the first fitting pair of beginnings and the first fitting pair of
// parts replaced.
func (k keys) replaced(key string, from, to int) string {
	begun := false
	for _, pair := range k {
		if !strings.HasPrefix(pair[0], "^") {
			continue
		}
		pair[0] = pair[0][1:]
		if rest, ok := strings.CutPrefix(key, pair[from]); ok && !begun {
			key, begun = pair[to]+rest, true
		}
	}
	for _, pair := range k {
		if !strings.HasPrefix(pair[0], "^") && strings.Contains(key, pair[from]) {
			return strings.Replace(key, pair[from], pair[to], 1)
		}
	}
	return key
}
