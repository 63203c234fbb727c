package builtin

import (
	"errors"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/check"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/report"
	"github.com/difftest/difftest/harness/internal/subject"
)

// models are the small models of pyref/models and their settings.
var models = map[string]string{
	"llama": `{
		"model_type": "llama", "vocab_size": 31, "hidden_size": 24, "intermediate_size": 40,
		"num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 6,
		"hidden_act": "silu", "rms_norm_eps": 1e-5, "rope_parameters": {"rope_theta": 10000, "rope_type": "default"}
	}`,
	"gemma": `{
		"model_type": "gemma", "vocab_size": 31, "hidden_size": 24, "intermediate_size": 40,
		"num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 6,
		"hidden_act": "gelu_pytorch_tanh", "rms_norm_eps": 1e-6, "rope_parameters": {"rope_theta": 10000},
		"sliding_window": 4, "attn_logit_softcapping": 2, "final_logit_softcapping": 4
	}`,
	"bert": `{
		"model_type": "bert", "vocab_size": 31, "hidden_size": 24, "intermediate_size": 40,
		"num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 16, "type_vocab_size": 2,
		"hidden_act": "gelu", "layer_norm_eps": 1e-3, "num_labels": 31
	}`,
}

// readModel returns the case of a small model with its settings.
func readModel(t *testing.T, name string) *fixture.Case {
	t.Helper()
	c, err := fixture.Read(os.DirFS("../edits/testdata"), "models/"+name)
	require.NoError(t, err)
	c.Settings = []byte(models[name])
	return c
}

// The models compute what PyTorch computes. Their parameters read back under the case's keys.
func TestPyTorch(t *testing.T) {
	for name := range models {
		c := readModel(t, name)
		ran := Subject().Run(t.Context(), c)
		require.NoError(t, ran.Err, name)
		require.True(t, ran.Load.Confirmed, "%s: %v", name, ran.Load)
		r, err := check.Case(t.Context(), Subject(), c)
		require.NoError(t, err)
		require.Equal(t, report.Pass, r.Verdict, name)
		require.Less(t, r.Comparison.MaxZ, 4.0, name)
		require.Less(t, r.Comparison.RMSZ, 0.7, name)
	}
}

// A module that package transformer does not compute is skipped with the reason.
func TestWhatIsNotComputedIsSkipped(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*fixture.Case)
		reason string
	}{
		{"class", func(c *fixture.Case) { c.Module = "torch.nn.modules.rnn.LSTM" },
			"make the module: unsupported operation: the class torch.nn.modules.rnn.LSTM"},
		{"settings", func(c *fixture.Case) { c.Module, c.Settings = "LlamaForCausalLM", nil },
			"make the module: unsupported operation: LlamaForCausalLM without its configuration"},
		{"plain model", func(c *fixture.Case) { c.Settings = []byte(`{"model_type": "t5"}`) },
			`make the module: unsupported operation: pyref.models.decoder.Decoder with the model_type "t5"`},
		{"plain model without settings", func(c *fixture.Case) { c.Settings = nil },
			"make the module: unsupported operation: pyref.models.decoder.Decoder without its configuration"},
		{"option", func(c *fixture.Case) {
			c.Settings = []byte(`{"model_type": "llama", "rope_parameters": {"rope_type": "yarn"}}`)
		}, "make the module: unsupported operation: rope_type yarn"},
		{"argument", func(c *fixture.Case) { c.Given["inputs.position_ids"] = c.Given["inputs.input_ids"] },
			"forward: unsupported operation: the argument position_ids"},
		{"input of another type", func(c *fixture.Case) { c.Given["inputs.x"] = c.Given["constants.cos"] },
			"unsupported operation: inputs.x: dtype float64, want float32"},
		{"parameter of another type", func(c *fixture.Case) {
			c.Given["state_dict.norm.weight"] = c.Given["inputs.input_ids"]
		}, "unsupported operation: state_dict.norm.weight: dtype int64, want float32"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := readModel(t, "llama")
			tc.change(c)
			ran := Subject().Run(t.Context(), c)
			require.ErrorIs(t, ran.Err, errors.ErrUnsupported)
			require.ErrorIs(t, ran.Err, subject.ErrNotOffered)
			require.EqualError(t, ran.Err, tc.reason)
		})
	}
}

// Settings that are wrong, and parameters of other shapes, are errors and no skips.
func TestWrongSettingsAreErrors(t *testing.T) {
	c := readModel(t, "llama")
	c.Settings = []byte(`{"model_type": "llama", "vocab_size": "many"}`)
	ran := Subject().Run(t.Context(), c)
	require.ErrorContains(t, ran.Err, "the configuration of LlamaForCausalLM: json: cannot unmarshal string")
	require.NotErrorIs(t, ran.Err, subject.ErrNotOffered)

	c.Settings = []byte(`{"model_type": "llama", "vocab_size": 31}`)
	require.ErrorContains(t, Subject().Run(t.Context(), c).Err, "config: num hidden layers 0, want at least 1")

	c = readModel(t, "llama")
	c.Given["state_dict.norm.weight"] = c.Given["state_dict.lm_head.weight"]
	require.ErrorContains(t, Subject().Run(t.Context(), c).Err, "size mismatch for model.norm.weight")
}

// A BertModel without a pooler in its state dict is made without one.
func TestPooler(t *testing.T) {
	d := subject.Description{Class: "transformers.models.bert.modeling_bert.BertModel", Settings: []byte(models["bert"])}
	for _, keys := range [][]string{nil, {"pooler.dense.weight"}} {
		d.Keys = keys
		m, err := Model(d)
		require.NoError(t, err)
		_, has := m.(*model).StateDict()["pooler.dense.weight"]
		require.Equal(t, keys != nil, has)
	}
}

// A mask of booleans is a mask, and a mask of four dimensions is not supported.
func TestMasks(t *testing.T) {
	c := readModel(t, "llama")
	m, err := Model(subject.Description{Class: c.Module, Settings: c.Settings})
	require.NoError(t, err)
	dict := m.(*model).StateDict()
	for _, tensor := range dict {
		for i := range tensor.Data {
			tensor.Data[i] = float32(i%7)/10 - 0.2
		}
	}
	_, err = m.LoadStateDict(dict, attention.Strict)
	require.NoError(t, err)
	ids := &subject.Integers{Shape: []int{1, 3}, Data: []int{4, 2, 1}}
	forward := func(a subject.Arguments) *attention.Tensor {
		a.Integers["input_ids"] = ids
		out, err := m.Forward(a)
		require.NoError(t, err)
		return out
	}
	plain := forward(subject.Arguments{Integers: map[string]*subject.Integers{}})
	numbers := forward(subject.Arguments{Integers: map[string]*subject.Integers{
		"attention_mask": {Shape: []int{1, 3}, Data: []int{0, 1, 1}},
	}})
	bools := forward(subject.Arguments{
		Integers: map[string]*subject.Integers{},
		Masks:    map[string]*attention.Mask{"attention_mask": {Shape: []int{1, 3}, Data: []bool{false, true, true}}},
	})
	require.Equal(t, numbers.Data, bools.Data)
	require.NotEqual(t, plain.Data, bools.Data)
	_, err = m.Forward(subject.Arguments{
		Masks: map[string]*attention.Mask{"attention_mask": attention.NewMask(1, 1, 3, 3)},
	})
	require.ErrorIs(t, err, errors.ErrUnsupported)
}
