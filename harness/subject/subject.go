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

	// Known lists the cases that fail. A known failure that passes fails.
	Known []Known
}

// Known is a failure that is expected.
type Known struct {
	Cases  string // the case, or a pattern that selects several: "mha/**", "left-padding"
	Cause  string // id of the mistake that it fails with; "" is any
	Reason string
}

// Module is a multi-head attention layer. *attention.MultiHead is one.
type Module interface {
	LoadStateDict(attention.StateDict, attention.Strictness) (attention.IncompatibleKeys, error)
	Forward(attention.Inputs) (attention.Outputs, error)
}
