// Package subject runs the implementation under test on one case and watches how it behaves:
// whether it panics, changes its inputs, or answers differently the second time.
package subject

import (
	"context"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/fixture"
)

// Runner is an implementation under test, wherever it runs: a [Subject] in this process, or a child
// process in any language.
type Runner interface {
	// About describes the implementation. It does not change while cases run.
	About() About
	// Run runs one case. It ends early when ctx does, with ctx's error. It may be called from as
	// many goroutines as About allows.
	Run(ctx context.Context, c *fixture.Case) Result

	Live
}

// About describes an implementation in reports.
type About struct {
	Name      string
	Precision Precision // declared; the zero value is float32
	Jobs      int       // how many cases it can run at once; 0 is one
}

// Subject is an implementation under test in this process. If SDPA, MHA, RoPE or Model is nil, the
// subject does not offer that operation: its cases are skipped and counted.
type Subject struct {
	Name string

	// SDPA computes scaled_dot_product_attention.
	SDPA func(q, k, v *attention.Tensor, o attention.SDPAOptions) (*attention.Tensor, error)

	// MHA makes a layer. Every case gets a fresh one.
	MHA func(attention.Config) (Module, error)

	// RoPE computes rotary_embedding.
	RoPE func(attention.RotaryInputs, attention.RotaryOptions) (*attention.Tensor, error)

	// Model makes a captured module. Every case gets a fresh one.
	Model func(Description) (Model, error)

	// Precision is the declared arithmetic if it is lower than float32.
	Precision Precision
}

// About describes the subject. It runs one case at a time.
func (s Subject) About() About {
	return About{Name: s.Name, Precision: s.Precision}
}

// Module is a multi-head attention layer. *attention.MultiHead is one.
type Module interface {
	LoadStateDict(attention.StateDict, attention.Strictness) (attention.IncompatibleKeys, error)
	Forward(attention.Inputs) (attention.Outputs, error)
}

// StateDicter is an optional interface of a module. StateDict returns the parameters that the
// module holds, under the names and in the shapes in which it loads them, as
// torch.nn.Module.state_dict does. Every load of such a module is read back. An empty state dict
// says nothing.
type StateDicter interface {
	StateDict() attention.StateDict
}
