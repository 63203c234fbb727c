package probe

import (
	"slices"
	"strings"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/fixture"
)

// A selection picks tensors out of the inputs of a case.
type selection func(c *fixture.Case) []**attention.Tensor

// allInputs selects every tensor that a case computes with, in the order of the arguments.
func allInputs(c *fixture.Case) []**attention.Tensor {
	in := &c.Inputs
	return []**attention.Tensor{
		&in.Query, &in.Key, &in.Value, &in.PastKey, &in.PastValue, &c.Options.PastKey, &c.Options.PastValue,
	}
}

// keysAndValues selects the inputs that other positions look at.
func keysAndValues(c *fixture.Case) []**attention.Tensor {
	return []**attention.Tensor{&c.Inputs.Key, &c.Inputs.Value}
}

func onlyQuery(c *fixture.Case) []**attention.Tensor { return []**attention.Tensor{&c.Inputs.Query} }

// allValues selects the values of a function, cached and new.
func allValues(c *fixture.Case) []**attention.Tensor {
	return []**attention.Tensor{&c.Inputs.Value, &c.Options.PastValue}
}

// withInputs returns a copy of a case with changed inputs. change gets a copy of each selected
// tensor. Inputs that are one tensor, as in self-attention, stay one.
func withInputs(c *fixture.Case, selected selection, change func(*attention.Tensor)) *fixture.Case {
	out := *c
	made := map[*attention.Tensor]*attention.Tensor{}
	for _, t := range selected(&out) {
		if *t != nil && made[*t] == nil {
			made[*t] = (*t).Clone()
			change(made[*t])
		}
	}
	for _, t := range allInputs(&out) {
		if changed, ok := made[*t]; ok && *t != nil {
			*t = changed
		}
	}
	return &out
}

// withState returns a copy of a case with another state dict.
func withState(c *fixture.Case, change func(key string, t *attention.Tensor) *attention.Tensor) *fixture.Case {
	out := *c
	out.State = attention.StateDict{}
	for key, t := range c.State {
		out.State[key] = change(key, t)
	}
	return &out
}

// reverseAndNegate puts the last value first, with the other sign. The largest value and the sum of
// squares stay, so nothing that depends on those alone changes.
func reverseAndNegate(t *attention.Tensor) {
	slices.Reverse(t.Data)
	negate(t.Data)
}

// otherValues returns a parameter with other and larger values. A layer that draws random values of
// the size it is given then gives another output, too.
func otherValues(t *attention.Tensor) *attention.Tensor {
	o := t.Clone()
	reverseAndNegate(o)
	for i := range o.Data {
		o.Data[i] *= 1.5
	}
	return o
}

func double(t *attention.Tensor) {
	for i := range t.Data {
		t.Data[i] *= 2
	}
}

func negate(values []float32) {
	for i := range values {
		values[i] = -values[i]
	}
}

// isOutputProjection reports whether a key of the state dict belongs to the output projection.
func isOutputProjection(l attention.Config, key string) bool {
	name, _, _ := strings.Cut(strings.TrimPrefix(key, l.Prefix), ".")
	return name == map[attention.ParamLayout]string{
		attention.TorchLayout: "out_proj", attention.TorchSeparateLayout: "out_proj",
		attention.SeedLayout: "W_O", attention.LlamaLayout: "o_proj", attention.GPT2Layout: "c_proj",
		attention.NeoXLayout: "dense", attention.FusedLayout: "o_proj",
	}[l.ParamLayout]
}

// mayBeIdle reports whether a right output may not depend on a parameter. A bias of the keys adds
// the same number to all scores of a row, which the softmax takes out again. Rotation, a norm, a
// softcap, sinks or a cache come between.
func mayBeIdle(c *fixture.Case, key string) bool {
	l := c.Layer
	between := l.RoPE != nil || l.QKNorm != nil || l.Softcap > 0 || l.Sinks || c.Inputs.PastKey != nil
	return l.ParamLayout == attention.LlamaLayout && strings.TrimPrefix(key, l.Prefix) == "k_proj.bias" && !between
}
