package subject

import (
	"context"
	"fmt"
	"maps"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/fixture"
)

// Live is a subject that can be run again, with other inputs and parameters than those of a case.
type Live interface {
	// Series runs cases one after the other, once each, and returns their outputs. A layer is made
	// once, from the first case's configuration, and loads a state dict where it is not that of the
	// case before; an implementation that cannot keep one makes one for each case. The error is that one of the
	// cases has no output, or that ctx ended.
	Series(ctx context.Context, cases ...*fixture.Case) ([]*attention.Tensor, error)
}

// Series runs cases one after the other on one layer. A panic is an error.
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
		outputs = append(outputs, out.Clone()) // a subject may give the same memory again
	}
	return outputs, nil
}

func (s Subject) function(c *fixture.Case) (*attention.Tensor, error) {
	given := copied(c)
	return s.SDPA(given.Inputs.Query, given.Inputs.Key, given.Inputs.Value, given.Options)
}

// layer makes a layer that loads what it has not loaded yet.
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
