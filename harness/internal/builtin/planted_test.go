package builtin_test

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/builtin"
	"github.com/difftest/difftest/harness/internal/campaign"
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
		dict["lm_head.weight"] = dict["model.embed_tokens.weight"]
	}},
	{
		model: "llama", id: "gate-up-exchanged", where: "model.layers.1",
		load: exchange("layers.1.mlp.gate_proj", "layers.1.mlp.up_proj"),
	},
	{model: "gemma2", id: "logits-softcap-missing", from: `"final_logit_softcapping": 4.0`, to: final(0)},
	{model: "gemma2", id: "norm-offset-missing", load: shift("norm", -1)},
	{model: "gemma2", id: "norm-offset-twice", load: shift("norm", 1)},
	{model: "gemma2", id: "activation-silu", from: `"gelu_pytorch_tanh"`, to: `"silu"`},
	{model: "gpt2", id: "gelu-erf", from: `"gelu_new"`, to: `"gelu"`},
	{model: "gpt2", id: "positions-missing", load: zero("wpe")},
	{model: "gpt2", id: "norm-bias-missing", load: zeroBiases(".ln_")},
	{model: "gpt2", id: "layers-reversed", load: exchange("h.0.", "h.2.")},
	{model: "bert", id: "gelu-tanh", from: `"gelu"`, to: `"gelu_new"`},
	{model: "bert", id: "positions-missing", load: zero("position_embeddings")},
	{model: "bert", id: "token-types-missing", load: zero("token_type_embeddings")},
	{model: "bert", id: "head-bias-missing", load: zero("classifier.bias")},
	{model: "bert", id: "mlp-bias-missing", load: func(dict attention.StateDict) {
		zero("intermediate.dense.bias")(dict)
		for layer := range 3 {
			zero(fmt.Sprintf("layer.%d.output.dense.bias", layer))(dict)
		}
	}},
	{model: "bert", id: "padding-ignored", given: withoutMask},
	{model: "llama", id: "padding-ignored", given: withoutMask},
	{model: "gemma2", id: "padding-ignored", given: withoutMask},
	{model: "moe-softmax", id: "padding-ignored", given: withoutMask},
	{model: "moe-softmax", id: "norm-offset-added", load: shift("norm", 1)},
	{model: "moe-softmax", id: "activation-relu", from: `"silu"`, to: `"relu"`},
}

func withoutMask(a subject.Arguments) { delete(a.Integers, "attention_mask") }

// final is the setting of the cap of the logits.
func final(limit int) string { return fmt.Sprintf(`"final_logit_softcapping": %d`, limit) }

// zeroBiases sets the biases whose names hold a text to zero.
func zeroBiases(text string) func(attention.StateDict) {
	return func(dict attention.StateDict) {
		for key, t := range dict {
			if strings.Contains(key, text) && strings.HasSuffix(key, ".bias") {
				clear(t.Data)
			}
		}
	}
}

// exchange exchanges the parameters of two names, which hold one text or the other.
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
		m, err := builtin.Model(d)
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
// The plain run asks for every third.
func TestMistakesInPortsAreNamed(t *testing.T) {
	cases, referees := map[string]*fixture.Case{}, map[string]*judge.Referee{}
	for _, name := range families {
		var err error
		cases[name] = readModel(t, name)
		referees[name], err = judge.New(t.Context(), cases[name], oracle.Precision{})
		require.NoError(t, err)
	}
	for n, w := range wrongs {
		if n%3 != 0 && !campaign.Full() {
			continue
		}
		require.Contains(t, string(cases[w.model].Settings), w.from)
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
