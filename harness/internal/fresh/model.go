package fresh

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/graph"
	"github.com/difftest/difftest/harness/internal/npy"
	"github.com/difftest/difftest/harness/internal/random"
)

// purposeOfModel begins the purpose of a case of a module. The module's case and flags follow.
const purposeOfModel = "A fresh case of the module in "

// Model makes cases of a captured module with inputs of other shapes.
type Model struct {
	of     *fixture.Case
	shapes *graph.Shapes
}

// NewModel returns the model of a case. The error says that the shapes of its inputs cannot vary.
func NewModel(c *fixture.Case) (*Model, error) {
	if c.Shapes == nil {
		return nil, fmt.Errorf("%s: the shapes of its inputs are fixed: capture the module with --vary batch,tokens",
			c.Name)
	}
	s, err := graph.ParseShapes(c.Shapes)
	if err != nil {
		return nil, fmt.Errorf("%s: shapes.json: %w", c.Name, err)
	}
	return &Model{of: c, shapes: s}, nil
}

// Name returns the name of the captured case.
func (m *Model) Name() string { return m.of.Name }

// Default returns a small configuration.
func (m *Model) Default() Config {
	return Config{Model: m.of.Name, Batch: 2, Tokens: min(4, m.shapes.MostTokens), Seed: 1}
}

// MostTokens returns how many tokens the module takes.
func (m *Model) MostTokens() int { return m.shapes.MostTokens }

// Pads reports whether a case may have padded tokens.
func (m *Model) Pads() bool {
	for _, in := range m.shapes.Inputs {
		if in.Left || in.Right {
			return true
		}
	}
	return false
}

// Case draws the inputs of a configuration. The case has no results yet.
func (m *Model) Case(name string, c Config) (*fixture.Case, error) {
	if err := m.check(c); err != nil {
		return nil, err
	}
	made := &fixture.Case{
		Name: name, Op: fixture.Module, Precision: fixture.Float32,
		Purpose: purposeOfModel + c.Model + ": " + c.String() + ".",
		Module:  m.of.Module, Structure: m.of.Structure, Settings: m.of.Settings, Stored: m.of.Stored, Part: m.of.Part,
		Provenance: fixture.Provenance{
			Function: m.of.Provenance.Function, Call: m.of.Provenance.Call, Torch: fixture.ByOracle, Seed: c.Seed,
		},
		Given: map[string]*npy.Array{},
	}
	arrays := maps.Clone(m.of.Given)
	for role, a := range m.of.Given {
		if strings.HasPrefix(role, "state_dict.") {
			made.Given[role] = a
		}
	}
	for _, input := range slices.Sorted(maps.Keys(m.shapes.Inputs)) {
		a, err := m.draw(made, input, c)
		if err != nil {
			return nil, fmt.Errorf("inputs.%s: %w", input, err)
		}
		made.Given["inputs."+input], arrays["inputs."+input] = a, a
	}
	text, constants, err := m.shapes.At(c.Batch, c.Tokens, arrays)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", m.of.Name, err)
	}
	made.Graph = text
	maps.Copy(made.Given, constants)
	return made, nil
}

// check returns every reason why a configuration gives no case.
func (m *Model) check(c Config) error {
	var errs []error
	if c.Model != m.of.Name {
		errs = append(errs, fmt.Errorf("%s: the module is %s", c.Model, m.of.Name))
	}
	if c.Tokens > m.shapes.MostTokens {
		errs = append(errs, fmt.Errorf("--tokens %d: the module takes at most %d", c.Tokens, m.shapes.MostTokens))
	}
	return errors.Join(append(errs, c.Check())...)
}

// draw draws one input, and notes the padded rows of a mask.
func (m *Model) draw(made *fixture.Case, name string, c Config) (*npy.Array, error) {
	in, d := m.shapes.Inputs[name], c.stream("inputs."+name)
	shape, err := m.shapes.InputShape(name, c.Batch, c.Tokens)
	if err != nil {
		return nil, err
	}
	count, err := attention.Size(shape)
	if err != nil {
		return nil, err
	}
	if in.Kind == "floats" {
		t := d.Tensor(shape...)
		for i := range t.Data {
			t.Data[i] *= float32(in.Std)
		}
		return npy.TensorArray(t, npy.Float32)
	}
	whole := make([]int, count)
	switch in.Kind {
	case "ids":
		drawIDs(d, in, c.Tokens, whole)
	case "positions":
		for i := range whole {
			whole[i] = i % c.Tokens
		}
	case "mask":
		rows := c.padding(d, in, made.Padded)
		for i, hidden := range rows.Data {
			if !hidden {
				whole[i] = 1
			}
		}
		if in.Pads && slices.Contains(rows.Data, true) {
			made.Padded = append(made.Padded, fixture.Padding{Mask: name, Rows: rows})
		}
	}
	if m.of.Given["inputs."+name].DType == npy.Bool {
		mask := attention.NewMask(shape...)
		for i, n := range whole {
			mask.Data[i] = n != 0
		}
		return npy.MaskArray(mask)
	}
	return npy.IntArray(whole, shape...), nil
}

// drawIDs draws integers. Rows differ in each column if there are enough of them, so that no two
// batch elements have the same output.
func drawIDs(d random.Draw, in graph.Input, tokens int, ids []int) {
	count := in.High - in.Low + 1
	for i := range ids {
		for again := true; again; {
			ids[i], again = in.Low+d.IntN(count), false
			for j := i - tokens; j >= 0 && count >= 2*len(ids)/tokens; j -= tokens {
				again = again || ids[j] == ids[i]
			}
		}
	}
}

// padding draws which tokens a mask hides, as [Lengths] does. It hides none if another mask does.
func (c Config) padding(d random.Draw, in graph.Input, others []fixture.Padding) attention.Mask {
	rows := *attention.NewMask(c.Batch, c.Tokens)
	if c.Mask == "" || !in.Left && !in.Right || len(others) > 0 {
		return rows
	}
	for b, n := range Lengths(d, c.Batch, c.Tokens) {
		left := in.Left && (!in.Right || d.Some())
		for j := range c.Tokens {
			rows.Data[b*c.Tokens+j] = !left && j >= n || left && j < c.Tokens-n
		}
	}
	return rows
}
