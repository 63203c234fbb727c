package probe

import (
	"slices"
	"strings"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/fixture"
)

// inputs are the tensors that a case computes with, in the order of the arguments.
func inputs(in *attention.Inputs) []**attention.Tensor {
	return []**attention.Tensor{&in.Query, &in.Key, &in.Value, &in.PastKey, &in.PastValue}
}

// changed is a copy of a case in which some inputs are others: change is given a copy of each of
// those named. Inputs that are one tensor, as in self-attention, stay one.
func changed(c *fixture.Case, which func(in *attention.Inputs) []**attention.Tensor, change func(*attention.Tensor)) *fixture.Case {
	out := *c
	made := map[*attention.Tensor]*attention.Tensor{}
	for _, t := range which(&out.Inputs) {
		if *t != nil && made[*t] == nil {
			made[*t] = (*t).Clone()
			change(made[*t])
		}
	}
	for _, t := range inputs(&out.Inputs) {
		if other, ok := made[*t]; ok && *t != nil {
			*t = other
		}
	}
	return &out
}

// keysAndValues are the inputs that other positions look at.
func keysAndValues(in *attention.Inputs) []**attention.Tensor {
	return []**attention.Tensor{&in.Key, &in.Value}
}

// loaded is a copy of a case with another state dict.
func loaded(c *fixture.Case, change func(key string, t *attention.Tensor) *attention.Tensor) *fixture.Case {
	out := *c
	out.State = attention.StateDict{}
	for key, t := range c.State {
		out.State[key] = change(key, t)
	}
	return &out
}

// turnAround puts the last value first, with the other sign. The size of the values and their
// greatest stay the same, so that nothing that depends on those alone changes.
func turnAround(t *attention.Tensor) {
	slices.Reverse(t.Data)
	negate(t.Data)
}

// other has other values than a parameter, and larger ones: a layer that draws values of the size that
// it is given does not give the same output.
func other(t *attention.Tensor) *attention.Tensor {
	o := t.Clone()
	turnAround(o)
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

// ofTheOutput says whether a parameter belongs to the output projection.
func ofTheOutput(l attention.Config, key string) bool {
	name, _, _ := strings.Cut(strings.TrimPrefix(key, l.Prefix), ".")
	return name == map[attention.ParamLayout]string{
		attention.TorchLayout: "out_proj", attention.TorchSeparateLayout: "out_proj", attention.SeedLayout: "W_O", attention.LlamaLayout: "o_proj",
		attention.GPT2Layout: "c_proj", attention.NeoXLayout: "dense", attention.FusedLayout: "o_proj",
	}[l.ParamLayout]
}

// mayBeIdle says whether a parameter need not change a right output: a bias of the keys adds the
// same to every score of a row, which the softmax takes out again, unless something comes between.
func mayBeIdle(c *fixture.Case, key string) bool {
	l := c.Layer
	between := l.RoPE != nil || l.QKNorm != nil || l.Softcap > 0 || l.Sinks || c.Inputs.PastKey != nil
	return l.ParamLayout == attention.LlamaLayout && strings.TrimPrefix(key, l.Prefix) == "k_proj.bias" && !between
}
