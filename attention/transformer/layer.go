package transformer

import (
	"github.com/difftest/difftest/attention"
)

// layer is one layer of a model: attention, and then an MLP or experts, each inside a sum.
type layer struct {
	attention *residual[*selfAttention]
	mlp       *residual[part]
}

// residual is x + f(x) with a norm in up to three places. A nil norm changes nothing.
//
//	after(x + branch(f(before(x))))
//
// Llama and GPT-2 have before alone, Gemma 2 has before and branch, BERT has after alone.
type residual[F any] struct {
	before, branch, after *norm
	f                     F
}

// forward computes the sum, where f computes f: (B, T, D) -> (B, T, D).
func (r *residual[F]) forward(
	x *attention.Tensor, f func(F, *attention.Tensor) *attention.Tensor,
) *attention.Tensor {
	return r.after.forward(added(x, r.branch.forward(f(r.f, r.before.forward(x)))))
}

// selfAttention is an attention layer inside a model. The model holds its parameters, and the layer
// has copies of them.
type selfAttention struct {
	layer  *attention.MultiHead
	own    []string            // the parameters' names in the layer
	values []*attention.Tensor // the parameters in the model
}

// linearNames maps the names of the linear layers in an attention layer to their names in a model,
// in the model's order.
type linearNames [][2]string

// selfAttention adds an attention layer. The configuration must pass its check and have no prefix.
func (s scope) selfAttention(c attention.Config, names linearNames) *selfAttention {
	made, err := attention.New(c)
	if err != nil {
		panic("transformer: " + err.Error()) // Check has asked attention.Config.Check
	}
	a, dict := &selfAttention{layer: made}, made.StateDict()
	for _, name := range names {
		for _, kind := range []string{".weight", ".bias"} {
			if t := dict[name[0]+kind]; t != nil {
				a.own = append(a.own, name[0]+kind)
				a.values = append(a.values, s.add(name[1]+kind, t.Shape...))
			}
		}
	}
	s.state.layers = append(s.state.layers, a)
	return a
}

// arrange gives the layer the values of the model's parameters.
func (a *selfAttention) arrange() {
	dict := attention.StateDict{}
	for i, name := range a.own {
		dict[name] = a.values[i]
	}
	if _, err := a.layer.LoadStateDict(dict, attention.Strict); err != nil {
		panic("transformer: " + err.Error()) // names and shapes are the layer's own
	}
}

// forward computes self-attention: (B, T, D) -> (B, T, D). Padding is nil for none.
func (a *selfAttention) forward(x *attention.Tensor, padding *attention.Mask) *attention.Tensor {
	out, err := a.layer.Forward(attention.Inputs{Query: x, Key: x, Value: x, Padding: padding})
	if err != nil {
		panic("transformer: " + err.Error()) // Forward has checked every shape
	}
	return out.Output
}
