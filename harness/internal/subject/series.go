package subject

import (
	"context"
	"fmt"
	"maps"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/fixture"
)

// Live is a subject that can be run again with changed inputs and parameters.
type Live interface {
	// Series runs cases one after the other, once each, and returns their outputs. One layer, made
	// from the first case's configuration, computes all of them. It loads a case's state dict only
	// if the case before had another. A subject that cannot keep a layer makes one for each case.
	// The error says that a case has no output, or that ctx ended.
	Series(ctx context.Context, cases ...*fixture.Case) ([]*attention.Tensor, error)
}

// Series runs cases as [Live] asks, on one layer. A panic is an error.
func (s Subject) Series(ctx context.Context, cases ...*fixture.Case) (outputs []*attention.Tensor, err error) {
	defer func() {
		if p := recover(); p != nil {
			outputs, err = nil, fmt.Errorf("panic: %v", p)
		}
	}()
	var forward func(*fixture.Case) (*attention.Tensor, error)
	switch c := cases[0]; {
	case c.Op == fixture.SDPA && s.SDPA != nil:
		forward = s.function
	case c.Op == fixture.Rotary && s.RoPE != nil:
		forward = func(c *fixture.Case) (*attention.Tensor, error) { return s.RoPE(copied(c).Turned, c.Rotation) }
	case c.Op == fixture.MultiHead && s.MHA != nil:
		if forward, err = s.layer(c.Layer); err != nil {
			return nil, err
		}
	default:
		return nil, ErrNotOffered
	}
	for _, c := range cases {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		out, err := forward(c)
		if err == nil {
			err = out.Check()
		}
		if err != nil {
			return nil, err
		}
		outputs = append(outputs, out.Clone()) // the next run may write to the same memory
	}
	return outputs, nil
}

func (s Subject) function(c *fixture.Case) (*attention.Tensor, error) {
	given := copied(c)
	return s.SDPA(given.Inputs.Query, given.Inputs.Key, given.Inputs.Value, given.Options)
}

// layer makes a layer, and returns a function that runs a case on it. The function loads a state
// dict that is not loaded yet.
func (s Subject) layer(config attention.Config) (func(*fixture.Case) (*attention.Tensor, error), error) {
	m, err := s.MHA(config)
	if err != nil {
		return nil, err
	}
	var loaded attention.StateDict
	return func(c *fixture.Case) (*attention.Tensor, error) {
		given := copied(c)
		if loaded == nil || !maps.Equal(loaded, c.State) {
			if _, err := m.LoadStateDict(given.State, attention.Strict); err != nil {
				return nil, err
			}
			loaded = c.State
		}
		out, err := m.Forward(given.Inputs)
		return out.Output, err
	}, nil
}
