// Package subject runs the implementation under test on one case and watches how it behaves:
// whether it panics, changes its inputs, or answers differently the second time.
package subject

import (
	"github.com/difftest/difftest/attention"
)

// Subject is an implementation under test. A nil maker means that it does not offer that
// operation: its cases are skipped and counted.
type Subject struct {
	Name string

	// SDPA is scaled_dot_product_attention.
	SDPA func(q, k, v *attention.Tensor, o attention.SDPAOptions) (*attention.Tensor, error)

	// MHA makes a layer; every case gets a fresh one.
	MHA func(attention.Config) (Module, error)

	// Known lists the cases that fail, each with the reason. A known failure that passes fails.
	Known map[string]string
}

// Module is a multi-head attention layer. *attention.MultiHead is one.
type Module interface {
	LoadStateDict(attention.StateDict, attention.Strictness) (attention.IncompatibleKeys, error)
	Forward(attention.Inputs) (attention.Outputs, error)
}

// StateDicter is a module that says which parameters it holds, under the names and in the shapes in
// which it loads them, as torch.nn.Module.state_dict does. It is optional: where a module is one,
// every load is read back. An empty state dict says nothing.
type StateDicter interface {
	StateDict() attention.StateDict
}
