package subject

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"runtime/debug"
	"slices"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/fixture"
)

// Result is what a subject did on a case.
type Result struct {
	Output   *attention.Tensor // nil when Err is set
	Findings []string          // behaviour that is wrong whatever the numbers are
	Err      error             // it panicked, refused the case, or gave no usable output
}

// ErrNotOffered says that the subject has no implementation of the case's operation.
var ErrNotOffered = errors.New("the subject does not offer this operation")

// Run gives the subject copies of the case's inputs and parameters, twice, and returns its
// first output.
func (s Subject) Run(c *fixture.Case) (r Result) {
	defer func() {
		if p := recover(); p != nil {
			r = Result{Err: fmt.Errorf("panic: %v\n%s", p, debug.Stack())}
		}
	}()
	original := data{Inputs: c.Inputs, Allow: c.Options.Allow, Bias: c.Options.Bias, State: c.State}
	given := original.clone()
	forward, err := s.prepare(c, given)
	if err != nil {
		return Result{Err: err}
	}
	first, err := forward()
	if err != nil {
		return Result{Err: err}
	}
	r.Output = first.Clone() // a subject may give the same memory again
	second, err := forward()
	if err != nil {
		return Result{Err: fmt.Errorf("second forward: %w", err)}
	}
	r.Findings = original.changes(given)
	if len(r.Findings) == 0 && !sameTensor(r.Output, second) {
		r.Findings = append(r.Findings, "a second forward on the same inputs gives another output")
	}
	return r
}

// prepare makes the function that runs the case once, on the data given.
func (s Subject) prepare(c *fixture.Case, given data) (func() (*attention.Tensor, error), error) {
	in := given.Inputs
	if c.Op == fixture.SDPA {
		if s.SDPA == nil {
			return nil, ErrNotOffered
		}
		options := c.Options
		options.Allow, options.Bias = given.Allow, given.Bias
		return func() (*attention.Tensor, error) {
			return checked(s.SDPA(in.Query, in.Key, in.Value, options))
		}, nil
	}
	if s.MHA == nil {
		return nil, ErrNotOffered
	}
	m, err := s.MHA(c.Layer)
	if err != nil {
		return nil, fmt.Errorf("make the layer: %w", err)
	}
	if _, err := m.LoadStateDict(given.State, attention.Strict); err != nil {
		return nil, fmt.Errorf("load the state dict: %w", err)
	}
	return func() (*attention.Tensor, error) {
		out, err := m.Forward(in)
		return checked(out.Output, err)
	}, nil
}

// checked refuses an output that is missing or does not hold what its shape claims.
func checked(out *attention.Tensor, err error) (*attention.Tensor, error) {
	if err != nil {
		return nil, fmt.Errorf("forward: %w", err)
	}
	if err := out.Check(); err != nil {
		return nil, fmt.Errorf("output: %w", err)
	}
	return out, nil
}

// data is everything that a subject is given and must leave alone.
type data struct {
	Inputs attention.Inputs
	Allow  *attention.Mask
	Bias   *attention.Tensor
	State  attention.StateDict
}

// clone copies data; tensors that are one, as query and key in self-attention, stay one.
func (d data) clone() data {
	copies := map[*attention.Tensor]*attention.Tensor{}
	tensor := func(t *attention.Tensor) *attention.Tensor {
		if copies[t] == nil {
			copies[t] = t.Clone()
		}
		return copies[t]
	}
	state := attention.StateDict{}
	for key, t := range d.State {
		state[key] = t.Clone()
	}
	return data{
		Inputs: attention.Inputs{
			Query: tensor(d.Inputs.Query), Key: tensor(d.Inputs.Key), Value: tensor(d.Inputs.Value),
			Block: d.Inputs.Block.Clone(), Padding: d.Inputs.Padding.Clone(),
		},
		Allow: d.Allow.Clone(), Bias: tensor(d.Bias), State: state,
	}
}

// changes names what of the given data is no longer as it was.
func (d data) changes(now data) []string {
	var findings []string
	note := func(same bool, what string) {
		if !same {
			findings = append(findings, "the subject changes "+what)
		}
	}
	note(sameTensor(d.Inputs.Query, now.Inputs.Query), "its input query")
	note(sameTensor(d.Inputs.Key, now.Inputs.Key), "its input key")
	note(sameTensor(d.Inputs.Value, now.Inputs.Value), "its input value")
	note(sameMask(d.Inputs.Block, now.Inputs.Block), "its mask block")
	note(sameMask(d.Inputs.Padding, now.Inputs.Padding), "its mask padding")
	note(sameMask(d.Allow, now.Allow), "its mask allow")
	note(sameTensor(d.Bias, now.Bias), "its mask bias")
	note(slices.Equal(slices.Sorted(maps.Keys(d.State)), slices.Sorted(maps.Keys(now.State))), "the keys of the state dict it loads")
	for _, key := range slices.Sorted(maps.Keys(d.State)) {
		note(sameTensor(d.State[key], now.State[key]), "the state dict it loads: "+key)
	}
	return findings
}

// sameTensor compares shapes and bits, so that NaN equals itself.
func sameTensor(a, b *attention.Tensor) bool {
	if a == nil || b == nil {
		return a == b
	}
	return slices.Equal(a.Shape, b.Shape) && slices.EqualFunc(a.Data, b.Data, func(x, y float32) bool {
		return math.Float32bits(x) == math.Float32bits(y)
	})
}

func sameMask(a, b *attention.Mask) bool {
	if a == nil || b == nil {
		return a == b
	}
	return slices.Equal(a.Shape, b.Shape) && slices.Equal(a.Data, b.Data)
}
