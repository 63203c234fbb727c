package subject

import (
	"fmt"
	"maps"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/fixture"
)

// Series runs cases one after the other, once each, and returns their outputs. A layer is made
// once, from the first case's configuration, and loads a state dict where it is not that of the case
// before; a subject that cannot keep a layer may take a fresh one each time. The error is that one
// of the cases has no output.
func (s Subject) Series(cases ...*fixture.Case) (outputs []*attention.Tensor, err error) {
	defer func() {
		if p := recover(); p != nil {
			outputs, err = nil, fmt.Errorf("panic: %v", p)
		}
	}()
	var layer Module
	var loaded attention.StateDict
	for _, c := range cases {
		given := data{Inputs: c.Inputs, Options: c.Options, State: c.State}.clone()
		var out attention.Outputs
		switch {
		case c.Op == fixture.SDPA && s.SDPA != nil:
			out.Output, err = s.SDPA(given.Inputs.Query, given.Inputs.Key, given.Inputs.Value, given.Options)
		case c.Op == fixture.MultiHead && s.MHA != nil:
			if layer == nil {
				layer, err = s.MHA(c.Layer)
			}
			if err == nil && !maps.Equal(loaded, c.State) {
				_, err = layer.LoadStateDict(given.State, attention.Strict)
				loaded = c.State
			}
			if err == nil {
				out, err = layer.Forward(given.Inputs)
			}
		default:
			err = ErrNotOffered
		}
		if err == nil {
			err = out.Output.Check()
		}
		if err != nil {
			return nil, err
		}
		outputs = append(outputs, out.Output.Clone()) // a subject may give the same memory again
	}
	return outputs, nil
}
