package transformer

import (
	"github.com/difftest/difftest/attention"
)

// MLPConfig describes an MLP. All fields but the biases must be set.
type MLPConfig struct {
	// HiddenSize is D, the width of the input and of the output: hidden_size.
	HiddenSize int
	// IntermediateSize is I: intermediate_size.
	IntermediateSize int
	// HiddenAct is the activation: hidden_act.
	HiddenAct Activation
	// Bias gives every linear layer a bias: mlp_bias.
	Bias bool
}

// NewMLP returns a gated MLP whose parameters are zeros, as LlamaMLP (transformers 5.24.0):
//
//	down_proj(act(gate_proj(x)) * up_proj(x))
//
// GELU as the activation makes it a GeGLU, as in Gemma. The parameters are gate_proj.weight (I, D),
// up_proj.weight (I, D) and down_proj.weight (D, I), and biases if Bias is set. The error lists
// every field that cannot be.
func NewMLP(c MLPConfig) (*Block, error) {
	var r refusals
	c.check(&r)
	if err := r.err(); err != nil {
		return nil, err
	}
	s := &state{class: "MLP"}
	return &Block{state: s, width: c.HiddenSize, part: newGatedMLP(scope{state: s}, c)}, nil
}

func (c MLPConfig) check(r *refusals) {
	r.width("hidden size", c.HiddenSize)
	r.width("intermediate size", c.IntermediateSize)
	r.activation(c.HiddenAct)
}

// gatedMLP is down(act(gate(x)) * up(x)).
type gatedMLP struct {
	gate, up, down *linear
	act            Activation
}

func newGatedMLP(s scope, c MLPConfig) *gatedMLP {
	d, inner, bias := c.HiddenSize, c.IntermediateSize, biases(c.Bias)
	return &gatedMLP{
		gate: s.in("gate_proj").linear(d, inner, bias),
		up:   s.in("up_proj").linear(d, inner, bias),
		down: s.in("down_proj").linear(inner, d, bias),
		act:  c.HiddenAct,
	}
}

// forward computes the MLP: (..., D) -> (..., D).
func (m *gatedMLP) forward(x *attention.Tensor) *attention.Tensor {
	inner := m.act.Apply(m.gate.forward(x)) // (..., D) -> (..., I)
	for i, v := range m.up.forward(x).Data {
		inner.Data[i] *= v
	}
	return m.down.forward(inner) // (..., I) -> (..., D)
}

// plainMLP is down(act(up(x))), as in GPT-2 and BERT.
type plainMLP struct {
	up, down *linear
	act      Activation
}

// forward computes the MLP: (..., D) -> (..., D).
func (m *plainMLP) forward(x *attention.Tensor) *attention.Tensor {
	return m.down.forward(m.act.Apply(m.up.forward(x)))
}
