package harness

import (
	"io/fs"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/fixture"
)

// Case is one case of a suite: the inputs of an attention, and PyTorch's results. [ReadCase] makes
// one. Its tensors must not be changed.
type Case struct {
	Name    string // path of the folder: "mha/causal"
	Purpose string // the reason why the case exists, a sentence

	// Config is the layer of a case about multi-head attention; the zero value in other cases.
	Config attention.Config
	// StateDict holds the layer's parameters; nil if there are none.
	StateDict attention.StateDict
	// Options are the arguments of a case about scaled_dot_product_attention; the zero value in
	// other cases.
	Options attention.SDPAOptions
	// Inputs are query, key and value, and a layer's masks and cache.
	Inputs attention.Inputs
	// Rotary and RotaryInputs are the arguments of a case about a rotary embedding; the zero values
	// in other cases.
	Rotary       attention.RotaryOptions
	RotaryInputs attention.RotaryInputs

	// Output is PyTorch's result in the precision of the case.
	Output *attention.Tensor
	// Truth is PyTorch's float64 result, in the shape of Output.
	Truth []float64

	c *fixture.Case
}

// ReadCase reads and validates one case of a suite. The error names every file and field that is
// wrong.
func ReadCase(suite fs.FS, name string) (Case, error) {
	c, err := fixture.Read(suite, name)
	if err != nil {
		return Case{}, err
	}
	return Case{
		Name: c.Name, Purpose: c.Purpose, Config: c.Layer, StateDict: c.State, Options: c.Options,
		Inputs: c.Inputs, Rotary: c.Rotation, RotaryInputs: c.Turned, Output: c.Output, Truth: c.Truth, c: c,
	}, nil
}

// CaseNames returns the names of all cases of a suite, sorted. The error says that the suite holds
// no case, or files that belong to none; the names are returned nevertheless.
func CaseNames(suite fs.FS) ([]string, error) { return fixture.Names(suite) }
