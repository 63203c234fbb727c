package subject

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/npy"
)

// Description describes a captured module of PyTorch.
type Description struct {
	// Class is the module's class with its Python module: "torch.nn.modules.rnn.LSTM".
	Class string
	// Structure holds the lines of the module as PyTorch prints it, none if they are unknown.
	Structure []string
	// Settings is the module's configuration as JSON, nil if it has none.
	Settings []byte
	// Keys are the keys of its state dict, sorted.
	Keys []string
}

// Model is a captured module of PyTorch under test.
type Model interface {
	LoadStateDict(attention.StateDict, attention.Strictness) (attention.IncompatibleKeys, error)
	Forward(Arguments) (*attention.Tensor, error)
}

// Tracer is an optional interface of a [Model]. Trace returns the outputs of modules inside the
// model in its last Forward, by their paths: "model.layers.2.mlp". It may give any of them.
type Tracer interface {
	Trace() map[string]*attention.Tensor
}

// Arguments are the arguments of a module's forward by their names, each in the map of its type.
type Arguments struct {
	Tensors  map[string]*attention.Tensor // of floating point
	Masks    map[string]*attention.Mask   // of booleans
	Integers map[string]*Integers
}

// Integers is a dense array of integers in row-major order.
type Integers struct {
	Shape []int
	Data  []int
}

// unsupported means that a case has data which Go subjects are not given.
func unsupported(err error) error { return fmt.Errorf("%w: %w", errors.ErrUnsupported, err) }

// describe returns the description of a case's module.
func describe(c *fixture.Case) (Description, error) {
	state, err := c.StateArrays()
	return Description{
		Class: c.Module, Structure: c.Structure, Settings: c.Settings, Keys: slices.Sorted(maps.Keys(state)),
	}, err
}

// moduleData returns the arguments and the parameters of a case's module. The error wraps
// [errors.ErrUnsupported] if one of them is of a type that Go subjects are not given.
func moduleData(c *fixture.Case) (data, error) {
	d := data{State: attention.StateDict{}, Arguments: Arguments{
		Tensors: map[string]*attention.Tensor{}, Masks: map[string]*attention.Mask{}, Integers: map[string]*Integers{},
	}}
	state, err := c.StateArrays()
	if err != nil {
		return d, err
	}
	for _, key := range slices.Sorted(maps.Keys(state)) {
		if d.State[key], err = state[key].Tensor(npy.Float32); err != nil {
			return d, unsupported(fmt.Errorf("state_dict.%s: %w", key, err))
		}
	}
	inputs, err := c.InputArrays()
	if err != nil {
		return d, err
	}
	for _, name := range slices.Sorted(maps.Keys(inputs)) {
		a := inputs[name]
		switch a.DType {
		case npy.Bool:
			d.Arguments.Masks[name], err = a.Mask()
		case npy.Int64:
			var values []int
			values, err = a.Ints()
			d.Arguments.Integers[name] = &Integers{Shape: a.Shape, Data: values}
		default:
			d.Arguments.Tensors[name], err = a.Tensor(npy.Float32)
		}
		if err != nil {
			return d, unsupported(fmt.Errorf("inputs.%s: %w", name, err))
		}
	}
	return d, nil
}

// clone returns arguments that share no memory with a.
func (a Arguments) clone() Arguments {
	c := Arguments{maps.Clone(a.Tensors), maps.Clone(a.Masks), maps.Clone(a.Integers)}
	for name, t := range c.Tensors {
		c.Tensors[name] = t.Clone()
	}
	for name, m := range c.Masks {
		c.Masks[name] = m.Clone()
	}
	for name, n := range c.Integers {
		c.Integers[name] = &Integers{Shape: slices.Clone(n.Shape), Data: slices.Clone(n.Data)}
	}
	return c
}

// changed returns the names of the arguments that differ now, sorted.
func (a Arguments) changed(now Arguments) []string {
	var names []string
	for name, t := range a.Tensors {
		if !Same(t, now.Tensors[name]) {
			names = append(names, name)
		}
	}
	for name, m := range a.Masks {
		if !sameMask(m, now.Masks[name]) {
			names = append(names, name)
		}
	}
	for name, n := range a.Integers {
		is := now.Integers[name]
		if is == nil || !slices.Equal(n.Shape, is.Shape) || !slices.Equal(n.Data, is.Data) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// prepareModel makes the module of a case and loads its parameters.
func (s Subject) prepareModel(c *fixture.Case, given data) (prepared, error) {
	about, err := describe(c)
	if err != nil {
		return prepared{}, err
	}
	m, err := s.Model(about)
	if err != nil {
		return prepared{}, fmt.Errorf("make the module: %w", err)
	}
	loaded, err := load(m, given.State, given.clone().State, s.Precision)
	loaded.Held = nil // an output is judged once more by the parameters of a layer alone
	tracer, _ := m.(Tracer)
	return prepared{forward: func() (attention.Outputs, error) {
		out, err := m.Forward(given.Arguments)
		return checked(c, attention.Outputs{Output: out}, err)
	}, load: loaded, tracer: tracer}, err
}

// traced returns the outputs of inner modules as arrays, nil if the implementation gives none.
func (p prepared) traced() (map[string]*npy.Array, error) {
	if p.tracer == nil {
		return nil, nil
	}
	arrays := map[string]*npy.Array{}
	for path, t := range p.tracer.Trace() {
		a, err := npy.TensorArray(t.Clone(), npy.Float32)
		if err != nil {
			return nil, fmt.Errorf("trace: %s: %w", path, err)
		}
		arrays[path] = a
	}
	return arrays, nil
}
