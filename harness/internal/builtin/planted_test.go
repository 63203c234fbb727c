package builtin

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/judge"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/report"
	"github.com/difftest/difftest/harness/internal/subject"
)

// wrong is a mistake in a port of a model in Go: in its settings, in the parameters that it loads,
// or in the arguments that it uses.
type wrong struct {
	model, id, where string // where is the module that alone has the mistake, empty if all have it
	from, to         string // in the settings
	load             func(attention.StateDict)
	given            func(subject.Arguments)
}

// wrongs are planted by settings, parameters and arguments, without a look at package edits.
var wrongs = []wrong{
	{model: "llama", id: "activation-relu", from: `"silu"`, to: `"relu"`},
	{model: "llama", id: "gelu-erf", from: `"silu"`, to: `"gelu"`},
	{model: "llama", id: "gate-up-exchanged", load: exchange("mlp.gate_proj", "mlp.up_proj")},
	{model: "llama", id: "norms-exchanged", load: exchange("input_layernorm", "post_attention_layernorm")},
	{model: "llama", id: "norm-offset-added", load: shift("norm", 1)},
	{model: "llama", id: "layers-reversed", load: exchange("layers.0.", "layers.2.")},
	{model: "llama", id: "head-tied", load: func(dict attention.StateDict) {
		dict["lm_head.weight"] = dict["embed_tokens.weight"]
	}},
	{model: "llama", id: "model-padding-ignored", given: func(a subject.Arguments) {
		delete(a.Integers, "attention_mask")
	}},
	{model: "llama", id: "gate-up-exchanged", where: "layers.1", load: exchange("layers.1.mlp.gate_proj", "layers.1.mlp.up_proj")},
	{model: "gemma", id: "logits-softcap-missing", from: `"final_logit_softcapping": 4`, to: `"final_logit_softcapping": 0`},
	{model: "gemma", id: "model-softcap-missing", from: `"attn_logit_softcapping": 2`, to: `"attn_logit_softcapping": 0`},
	{model: "gemma", id: "model-window-missing", from: `"sliding_window": 4`, to: `"sliding_window": 0`},
	{model: "gemma", id: "norm-offset-missing", load: shift("norm", -1)},
	{model: "gemma", id: "norm-offset-twice", load: shift("norm", 1)},
	{model: "gemma", id: "activation-silu", from: `"gelu_pytorch_tanh"`, to: `"silu"`},
	{model: "bert", id: "gelu-tanh", from: `"gelu"`, to: `"gelu_new"`},
	{model: "bert", id: "positions-missing", load: zero("embeddings.position")},
	{model: "bert", id: "token-types-missing", load: zero("embeddings.token_type")},
	{model: "bert", id: "norm-bias-missing", load: zero("norm.bias")},
	{model: "bert", id: "head-bias-missing", load: zero("head.bias")},
	{model: "bert", id: "attention-bias-missing", load: func(dict attention.StateDict) {
		for _, name := range []string{"query.bias", "key.bias", "value.bias", "output.bias"} {
			zero(".attention." + name)(dict)
		}
	}},
}

// exchange exchanges the parameters whose names hold one text with those that hold another.
func exchange(a, b string) func(attention.StateDict) {
	return func(dict attention.StateDict) {
		for key, t := range maps.Clone(dict) {
			if other := strings.Replace(key, a, b, 1); other != key {
				dict[key], dict[other] = dict[other], t
			}
		}
	}
}

// shift adds a number to the weights whose names hold a text.
func shift(text string, by float32) func(attention.StateDict) {
	return func(dict attention.StateDict) {
		for key, t := range dict {
			if strings.Contains(key, text) {
				for i := range t.Data {
					t.Data[i] += by
				}
			}
		}
	}
}

// zero sets the parameters whose names hold a text to zero.
func zero(text string) func(attention.StateDict) {
	return func(dict attention.StateDict) {
		for key, t := range dict {
			if strings.Contains(key, text) {
				clear(t.Data)
			}
		}
	}
}

// subject returns the built-in implementation with the mistake. It does not read parameters back.
func (w wrong) subject() subject.Subject {
	return subject.Subject{Name: w.id, Model: func(d subject.Description) (subject.Model, error) {
		d.Settings = []byte(strings.Replace(string(d.Settings), w.from, w.to, 1))
		m, err := Model(d)
		return port{m, w}, err
	}}
}

// port is a model with a mistake. It has no StateDict.
type port struct {
	model subject.Model
	wrong wrong
}

func (p port) LoadStateDict(dict attention.StateDict, s attention.Strictness) (attention.IncompatibleKeys, error) {
	changed := maps.Clone(dict)
	for key, t := range dict {
		changed[key] = t.Clone()
	}
	if p.wrong.load != nil {
		p.wrong.load(changed)
	}
	return p.model.LoadStateDict(changed, s)
}

func (p port) Forward(a subject.Arguments) (*attention.Tensor, error) {
	if p.wrong.given != nil {
		a.Integers = maps.Clone(a.Integers)
		p.wrong.given(a)
	}
	return p.model.Forward(a)
}

// Each mistake in a port in Go is named, with its module if one alone has it, and nothing else is.
func TestMistakesInPortsAreNamed(t *testing.T) {
	cases, referees := map[string]*fixture.Case{}, map[string]*judge.Referee{}
	for name := range models {
		var err error
		cases[name] = readModel(t, name)
		referees[name], err = judge.New(t.Context(), cases[name], oracle.Precision{})
		require.NoError(t, err)
	}
	for _, w := range wrongs {
		require.Contains(t, models[w.model], w.from)
		ran := w.subject().Run(t.Context(), cases[w.model])
		require.NoError(t, ran.Err)
		r, err := referees[w.model].Judge(t.Context(), ran.Output.Shape, ran.Output.Float64s())
		require.NoError(t, err)
		if !assert.Equal(t, report.Fail, r.Verdict, "%s %s", w.model, w.id) {
			continue
		}
		var named []string
		for _, m := range r.Diagnosis.Matches {
			named = append(named, strings.TrimSpace(fmt.Sprint(m.ID(), " ", m.Where)))
		}
		assert.Equal(t, []string{strings.TrimSpace(w.id + " " + w.where)}, named, "%s: %v", w.model, r.Diagnosis.Reasons)
	}
}
