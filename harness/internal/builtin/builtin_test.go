package builtin_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/builtin"
	"github.com/difftest/difftest/harness/internal/check"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/harnesstest"
	"github.com/difftest/difftest/harness/internal/npy"
	"github.com/difftest/difftest/harness/internal/report"
	"github.com/difftest/difftest/harness/internal/subject"
)

// families are the embedded models.
var families = []string{"llama", "gemma2", "gpt2", "bert", "moe-softmax", "moe-sigmoid"}

func readModel(t *testing.T, name string) *fixture.Case {
	t.Helper()
	return harnesstest.ReadCase(t, "models/"+name)
}

// The models compute what PyTorch computes, and read back their parameters.
func TestPyTorch(t *testing.T) {
	for _, name := range append([]string{"gpt2-scaled"}, families...) {
		c := readModel(t, name)
		ran := builtin.Subject().Run(t.Context(), c)
		require.NoError(t, ran.Err, name)
		require.True(t, ran.Load.Confirmed, "%s: %v", name, ran.Load)
		r, err := check.Case(t.Context(), builtin.Subject(), c)
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
		{"settings", func(c *fixture.Case) { c.Settings = nil },
			"make the module: unsupported operation: LlamaForCausalLM without its configuration"},
		{"option", func(c *fixture.Case) {
			c.Settings = []byte(`{"rope_parameters": {"rope_type": "yarn"}}`)
		}, "make the module: unsupported operation: rope_type yarn"},
		{"argument", func(c *fixture.Case) { c.Given["inputs.position_ids"] = c.Given["inputs.input_ids"] },
			"forward: unsupported operation: the argument position_ids"},
		{"input of another type", func(c *fixture.Case) { c.Given["inputs.x"] = float64s(t) },
			"unsupported operation: inputs.x: dtype float64, want float32"},
		{"parameter of another type", func(c *fixture.Case) {
			c.Given["state_dict.model.norm.weight"] = c.Given["inputs.input_ids"]
		}, "unsupported operation: state_dict.model.norm.weight: dtype int64, want float32"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := readModel(t, "llama")
			tc.change(c)
			ran := builtin.Subject().Run(t.Context(), c)
			require.ErrorIs(t, ran.Err, errors.ErrUnsupported)
			require.ErrorIs(t, ran.Err, subject.ErrNotOffered)
			require.EqualError(t, ran.Err, tc.reason)
		})
	}
}

func float64s(t *testing.T) *npy.Array {
	t.Helper()
	a, err := npy.Float64Array([]int{1}, []float64{1})
	require.NoError(t, err)
	return a
}

// Settings that are wrong, and parameters of other shapes, are errors and no skips.
func TestWrongSettingsAreErrors(t *testing.T) {
	c := readModel(t, "llama")
	c.Settings = []byte(`{"vocab_size": "many"}`)
	ran := builtin.Subject().Run(t.Context(), c)
	require.ErrorContains(t, ran.Err, "the configuration of LlamaForCausalLM: json: cannot unmarshal string")
	require.NotErrorIs(t, ran.Err, subject.ErrNotOffered)

	c.Settings = []byte(`{"vocab_size": 31}`)
	require.ErrorContains(t, builtin.Subject().Run(t.Context(), c).Err, "config: num hidden layers 0, want at least 1")

	c = readModel(t, "llama")
	c.Given["state_dict.model.norm.weight"] = c.Given["state_dict.lm_head.weight"]
	require.ErrorContains(t, builtin.Subject().Run(t.Context(), c).Err, "size mismatch for model.norm.weight")
}

// A BertModel without a pooler in its state dict is made without one.
func TestPooler(t *testing.T) {
	d := subject.Description{
		Class: "transformers.models.bert.modeling_bert.BertModel", Settings: readModel(t, "bert").Settings,
	}
	for _, keys := range [][]string{nil, {"pooler.dense.weight"}} {
		d.Keys = keys
		m, err := builtin.Model(d)
		require.NoError(t, err)
		_, has := m.(subject.StateDicter).StateDict()["pooler.dense.weight"]
		require.Equal(t, keys != nil, has)
	}
}

// A mask of booleans is a mask, and a mask of four dimensions is not supported.
func TestMasks(t *testing.T) {
	c := readModel(t, "llama")
	m, err := builtin.Model(subject.Description{Class: c.Module, Settings: c.Settings})
	require.NoError(t, err)
	dict := m.(subject.StateDicter).StateDict()
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
