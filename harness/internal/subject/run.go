package subject

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"runtime/debug"
	"slices"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/npy"
)

// Result is the outcome of running a subject on a case.
type Result struct {
	Output  *attention.Tensor // nil if Err is set
	Weights *attention.Tensor // attention weights, if the case has them; nil if Err is set
	// Trace holds the outputs of modules inside a model, by their paths; nil if there are none.
	Trace    map[string]*npy.Array
	Findings []string // behaviour that is wrong whatever the numbers are
	Load     Load     // how the state dict was loaded
	// Precision is declared for this output alone; the zero value leaves it to [About].
	Precision Precision
	Err       error // the subject panicked, refused the case, or gave no usable output
}

// ErrNotOffered means that the subject does not implement what the case asks for.
var ErrNotOffered = errors.New("the subject does not offer this operation")

// notOffered is an [ErrNotOffered] with the subject's own reason, an error that wraps
// [errors.ErrUnsupported].
type notOffered struct{ reason error }

func (n notOffered) Error() string        { return n.reason.Error() }
func (n notOffered) Unwrap() error        { return n.reason }
func (n notOffered) Is(target error) bool { return target == ErrNotOffered }

// failure returns the result of a run without an output.
func failure(err error) Result {
	if errors.Is(err, errors.ErrUnsupported) {
		err = notOffered{err}
	}
	return Result{Err: err}
}

// ErrNotRun means that the case could not be handed to the subject, which is no fault of the
// subject.
var ErrNotRun = errors.New("the case could not be handed to the subject")

// Run gives the subject copies of the case's inputs and parameters, twice, and returns its
// first output. Nothing ends it early.
func (s Subject) Run(_ context.Context, c *fixture.Case) (r Result) {
	defer func() {
		if p := recover(); p != nil {
			r = Result{Err: fmt.Errorf("panic: %v\n%s", p, debug.Stack())}
		}
	}()
	original, err := s.caseData(c)
	if err != nil {
		return failure(err)
	}
	given := original.clone()
	p, err := s.prepare(c, given)
	if err != nil {
		return failure(err)
	}
	r.Load = p.load
	first, err := p.forward()
	if err != nil {
		return failure(err)
	}
	// The subject may write its second output to the same memory.
	r.Output, r.Weights = first.Output.Clone(), first.Weights.Clone()
	if r.Trace, err = p.traced(); err != nil {
		return failure(err)
	}
	second, err := p.forward()
	if err != nil {
		return failure(fmt.Errorf("second forward: %w", err))
	}
	r.Findings = original.changes(given)
	if len(r.Findings) == 0 && !(SameOutput(c, r.Output, second.Output) && Same(r.Weights, second.Weights)) {
		r.Findings = append(r.Findings, Unsteady)
	}
	return r
}

// prepared is an implementation that is ready to compute a case.
type prepared struct {
	forward func() (attention.Outputs, error) // computes the case once
	load    Load                              // how the state dict was loaded
	tracer  Tracer                            // nil without outputs of inner modules
}

// prepare returns the implementation that computes a case on the given data.
func (s Subject) prepare(c *fixture.Case, given data) (prepared, error) {
	in := given.Inputs
	switch {
	case c.Op == fixture.SDPA && s.SDPA != nil:
		return prepared{forward: func() (attention.Outputs, error) {
			out, err := s.SDPA(in.Query, in.Key, in.Value, given.Options)
			return checked(c, attention.Outputs{Output: out}, err)
		}}, nil
	case c.Op == fixture.Rotary && s.RoPE != nil:
		return prepared{forward: func() (attention.Outputs, error) {
			out, err := s.RoPE(given.Turned, c.Rotation)
			return checked(c, attention.Outputs{Output: out}, err)
		}}, nil
	case c.Op == fixture.Module && s.Model != nil:
		return s.prepareModel(c, given)
	case c.Op != fixture.MultiHead || s.MHA == nil:
		return prepared{}, ErrNotOffered
	}
	m, err := s.MHA(c.Layer)
	if err != nil {
		return prepared{}, fmt.Errorf("make the layer: %w", err)
	}
	loaded, err := load(m, given.State, c.State, s.Precision)
	return prepared{forward: func() (attention.Outputs, error) {
		out, err := m.Forward(in)
		return checked(c, out, err)
	}, load: loaded}, err
}

// checked refuses outputs that are missing or do not hold what their shape claims. Weights that the
// case does not ask for are dropped.
func checked(c *fixture.Case, out attention.Outputs, err error) (attention.Outputs, error) {
	if err != nil {
		return out, fmt.Errorf("forward: %w", err)
	}
	if err := out.Output.Check(); err != nil {
		return out, fmt.Errorf("output: %w", err)
	}
	if c.Weights == nil {
		out.Weights = nil
	} else if err := out.Weights.Check(); err != nil {
		return out, fmt.Errorf("attention weights: %w", err)
	}
	return out, nil
}

// data is everything that a subject is given and must not change.
type data struct {
	Inputs  attention.Inputs
	Options attention.SDPAOptions
	Turned  attention.RotaryInputs
	State   attention.StateDict

	Arguments Arguments // of a module
}

// caseData returns the data of a case. The error tells that the data of a module has a type that
// subjects are not given.
func (s Subject) caseData(c *fixture.Case) (data, error) {
	if c.Op == fixture.Module && s.Model != nil {
		return moduleData(c)
	}
	return dataOf(c), nil
}

func dataOf(c *fixture.Case) data {
	return data{Inputs: c.Inputs, Options: c.Options, Turned: c.Turned, State: c.State}
}

// copied returns a copy of a case's data, which a subject may keep and change.
func copied(c *fixture.Case) data { return dataOf(c).clone() }

// part is a tensor or a mask of the data, by the name that findings use.
type part[T any] struct {
	name string
	at   **T
}

// tensors and masks return the parts of the data in the order of their names.
func (d *data) tensors() []part[attention.Tensor] {
	return []part[attention.Tensor]{
		{"input", &d.Turned.Input}, {"input cos", &d.Turned.Cos}, {"input key", &d.Inputs.Key},
		{"input past_key", &d.Inputs.PastKey}, {"input past_value", &d.Inputs.PastValue},
		{"input query", &d.Inputs.Query}, {"input sin", &d.Turned.Sin}, {"input value", &d.Inputs.Value},
		{"mask bias", &d.Inputs.Bias}, {"option bias", &d.Options.Bias},
		{"option past_key", &d.Options.PastKey}, {"option past_value", &d.Options.PastValue},
		{"option sinks", &d.Options.Sinks},
	}
}

func (d *data) masks() []part[attention.Mask] {
	return []part[attention.Mask]{
		{"mask block", &d.Inputs.Block}, {"mask padding", &d.Inputs.Padding}, {"option allow", &d.Options.Allow},
	}
}

// clone copies the data. Inputs that are one tensor, as in self-attention, stay one.
func (d data) clone() data {
	copies := map[*attention.Tensor]*attention.Tensor{}
	c := d
	for _, t := range c.tensors() {
		if copies[*t.at] == nil {
			copies[*t.at] = (*t.at).Clone()
		}
		*t.at = copies[*t.at]
	}
	for _, m := range c.masks() {
		*m.at = (*m.at).Clone()
	}
	c.Turned.Positions = nil
	for _, row := range d.Turned.Positions {
		c.Turned.Positions = append(c.Turned.Positions, slices.Clone(row))
	}
	c.Options.KeyLengths = slices.Clone(d.Options.KeyLengths)
	c.Options.FirstPositions = slices.Clone(d.Options.FirstPositions)
	c.Arguments = d.Arguments.clone()
	c.State = clone(d.State)
	return c
}

// changes returns a finding for each part of the data that differs now.
func (d data) changes(now data) []string {
	var findings []string
	note := func(same bool, what string) {
		if !same {
			findings = append(findings, "the subject changes "+what)
		}
	}
	is := now.tensors()
	for i, was := range d.tensors() {
		note(Same(*was.at, *is[i].at), "its "+was.name)
	}
	isMask := now.masks()
	for i, was := range d.masks() {
		note(sameMask(*was.at, *isMask[i].at), "its "+was.name)
	}
	note(slices.Equal(d.Options.KeyLengths, now.Options.KeyLengths), "its option key_lengths")
	note(slices.Equal(d.Options.FirstPositions, now.Options.FirstPositions), "its option first_positions")
	note(slices.EqualFunc(d.Turned.Positions, now.Turned.Positions, slices.Equal), "its input positions")
	for _, name := range d.Arguments.changed(now.Arguments) {
		note(false, "its input "+name)
	}
	keys := slices.Sorted(maps.Keys(d.State))
	note(slices.Equal(keys, slices.Sorted(maps.Keys(now.State))), "the keys of the state dict it loads")
	for _, key := range keys {
		note(Same(d.State[key], now.State[key]), "the state dict it loads: "+key)
	}
	return findings
}

// Unsteady is the finding that two runs on the same inputs give different outputs.
const Unsteady = "a second forward on the same inputs gives another output"

// Same reports whether two tensors have the same shape and the same bits. A NaN equals itself.
func Same(a, b *attention.Tensor) bool {
	if a == nil || b == nil {
		return a == b
	}
	return slices.Equal(a.Shape, b.Shape) && slices.EqualFunc(a.Data, b.Data, func(x, y float32) bool {
		return math.Float32bits(x) == math.Float32bits(y)
	})
}

// SameOutput reports whether two outputs of a case are the same, except in rows that are padded.
func SameOutput(c *fixture.Case, a, b *attention.Tensor) bool {
	padded := c.PaddedRows(a.Shape)
	if !slices.Contains(padded, true) || !slices.Equal(b.Shape, a.Shape) {
		return Same(a, b)
	}
	width := len(a.Data) / len(padded)
	for row := range padded {
		of := func(t *attention.Tensor) *attention.Tensor {
			return &attention.Tensor{Shape: []int{width}, Data: t.Data[row*width:][:width]}
		}
		if !padded[row] && !Same(of(a), of(b)) {
			return false
		}
	}
	return true
}

func sameMask(a, b *attention.Mask) bool {
	if a == nil || b == nil {
		return a == b
	}
	return slices.Equal(a.Shape, b.Shape) && slices.Equal(a.Data, b.Data)
}

func finite(values []float32) bool {
	return !slices.ContainsFunc(values, func(v float32) bool {
		return math.IsNaN(float64(v)) || math.IsInf(float64(v), 0)
	})
}
