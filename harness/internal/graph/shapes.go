package graph

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/jsonread"
	"github.com/difftest/difftest/harness/internal/npy"
)

// Shapes is the graph of a module for any batch and number of tokens: shapes.json, version 1. A
// number that depends on them is an object such as {"batch*tokens": 12, "1": -1}. Constants that
// depend on the shape or on the inputs, such as masks, have nodes of their own.
type Shapes struct {
	Batch, Tokens int // of the captured case
	MostTokens    int // that the module takes
	Inputs        map[string]Input

	graph, made any // documents of JSON with sizes
}

// Input tells how an input of a module is drawn.
type Input struct {
	// Kind is "ids", "positions", "mask" or "floats".
	Kind string  `json:"kind"`
	Low  int     `json:"low"` // of ids
	High int     `json:"high"`
	Std  float64 `json:"std"` // of floats
	// Left and Right tell at which ends of a row a mask hides tokens. Pads reports whether the rows
	// of hidden tokens are not judged.
	Left  bool `json:"left"`
	Right bool `json:"right"`
	Pads  bool `json:"pads"`
	Sizes any  `json:"shape"` // see [Shapes.InputShape]
}

// shapesDocument is shapes.json, version 1.
type shapesDocument struct {
	Version    int              `json:"version"`
	Batch      int              `json:"batch"`
	Tokens     int              `json:"tokens"`
	MostTokens int              `json:"most_tokens"`
	Inputs     map[string]Input `json:"inputs"`
	Made       json.RawMessage  `json:"made"`
	Graph      json.RawMessage  `json:"graph"`
}

// madeDocument describes the constants that nodes compute.
type madeDocument struct {
	Values     map[string]string `json:"values"` // from a constant to the node that computes it
	Inputs     map[string]string `json:"inputs"`
	Parameters []string          `json:"parameters"`
	Constants  []string          `json:"constants"`
	Nodes      []Node            `json:"nodes"`
}

// maxTokens bounds the sizes of a shape.
const maxTokens = 1 << 16

// ParseShapes reads shapes.json. It fails unless the graph can be had in the shape of the case.
func ParseShapes(data []byte) (*Shapes, error) {
	var d shapesDocument
	if err := jsonread.Strict("", data, &d); err != nil {
		return nil, err
	}
	if d.Version != version {
		return nil, fmt.Errorf("version: %d, want %d", d.Version, version)
	}
	for name, n := range map[string]int{"batch": d.Batch, "tokens": d.Tokens, "most_tokens": d.MostTokens} {
		if n < 1 || n > maxTokens {
			return nil, fmt.Errorf("%s: %d, want 1 to %d", name, n, maxTokens)
		}
	}
	s := &Shapes{Batch: d.Batch, Tokens: d.Tokens, MostTokens: d.MostTokens, Inputs: d.Inputs}
	if err := errors.Join(json.Unmarshal(d.Graph, &s.graph), json.Unmarshal(d.Made, &s.made)); err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(d.Inputs)) {
		in := d.Inputs[name]
		if !slices.Contains([]string{"ids", "positions", "mask", "floats"}, in.Kind) || in.High < in.Low {
			return nil, fmt.Errorf("inputs.%s: kind %q from %d to %d", name, in.Kind, in.Low, in.High)
		}
		if _, err := s.InputShape(name, d.Batch, d.Tokens); err != nil {
			return nil, fmt.Errorf("inputs.%s: %w", name, err)
		}
	}
	if _, _, _, err := s.at(d.Batch, d.Tokens); err != nil {
		return nil, err
	}
	return s, nil
}

// InputShape returns the shape of an input.
func (s *Shapes) InputShape(name string, batch, tokens int) ([]int, error) {
	shape, err := decoded[[]int](sized(s.Inputs[name].Sizes, batch, tokens))
	if err != nil {
		return nil, err
	}
	_, err = elements(shape)
	return shape, err
}

// At returns graph.json for a shape, and its constants by role. arrays holds the inputs of this
// shape, the parameters, and the constants of the case, whose types the new ones have.
func (s *Shapes) At(
	batch, tokens int, arrays map[string]*npy.Array,
) (text []byte, constants map[string]*npy.Array, err error) {
	text, g, made, err := s.at(batch, tokens)
	if err != nil {
		return nil, nil, err
	}
	constants = map[string]*npy.Array{}
	values, err := made.run(arrays)
	if err != nil {
		return nil, nil, err
	}
	for _, name := range g.Constants {
		role := "constants." + name
		if arrays[role] == nil {
			return nil, nil, fmt.Errorf("%s: missing", role)
		}
		if constants[role] = arrays[role]; made.Values[name] != "" {
			if constants[role], err = values[made.Values[name]].array(arrays[role].DType); err != nil {
				return nil, nil, fmt.Errorf("%s: %w", role, err)
			}
		}
	}
	return text, constants, nil
}

// at returns the documents of a shape.
func (s *Shapes) at(batch, tokens int) (text []byte, g *Graph, made madeDocument, err error) {
	if text, err = json.Marshal(sized(s.graph, batch, tokens)); err != nil {
		return nil, nil, made, err
	}
	if g, err = Parse(text); err != nil {
		return nil, nil, made, fmt.Errorf("graph: %w", err)
	}
	data, err := json.Marshal(sized(s.made, batch, tokens))
	if err == nil {
		err = jsonread.Strict("made", data, &made)
	}
	if err == nil {
		err = made.check()
	}
	return text, g, made, err
}

// graph returns the nodes of the constants as a graph.
func (d madeDocument) graph() *Graph {
	return &Graph{Inputs: d.Inputs, Parameters: d.Parameters, Constants: d.Constants, Nodes: d.Nodes}
}

// check reports every problem of the nodes, and constants that nothing computes.
func (d madeDocument) check() error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(d.Values)) {
		g := d.graph()
		g.Output = d.Values[name]
		if err := g.check(); err != nil {
			errs = append(errs, fmt.Errorf("made: %s: %w", name, err))
			break
		}
	}
	return errors.Join(errs...)
}

// run computes the nodes of the constants.
func (d madeDocument) run(arrays map[string]*npy.Array) (Values[float64], error) {
	g := d.graph()
	g.fillOperands()
	given, err := Given[float64](g, arrays)
	if err != nil {
		return nil, err
	}
	return Run(g, given)
}

// sized returns a document whose sizes are numbers.
func sized(document any, batch, tokens int) any {
	switch d := document.(type) {
	case []any:
		all := make([]any, len(d))
		for i := range d {
			all[i] = sized(d[i], batch, tokens)
		}
		return all
	case map[string]any:
		if n, ok := size(d, batch, tokens); ok {
			return n
		}
		all := make(map[string]any, len(d))
		for key, value := range d {
			all[key] = sized(value, batch, tokens)
		}
		return all
	}
	return document
}

// size returns the number that a sum of terms gives. It reports false for any other object.
func size(d map[string]any, batch, tokens int) (int, bool) {
	terms := map[string]int{"1": 1, "batch": batch, "tokens": tokens, "batch*tokens": batch * tokens}
	total := 0
	for name, value := range d {
		factor, isNumber := value.(float64)
		term, isTerm := terms[name]
		if !isNumber || !isTerm {
			return 0, false
		}
		total += term * int(factor)
	}
	return total, len(d) > 0
}

// decoded returns a document of JSON as a value.
func decoded[T any](document any) (value T, err error) {
	data, err := json.Marshal(document)
	if err == nil {
		err = json.Unmarshal(data, &value)
	}
	return value, err
}

// array returns a tensor as an array of a type.
func (t *Tensor[T]) array(dtype npy.DType) (*npy.Array, error) {
	wide := converted[float64](t.Wide())
	switch dtype {
	case npy.Bool:
		m := attention.NewMask(t.Shape...)
		for i, x := range wide.Data {
			m.Data[i] = x != 0
		}
		return npy.MaskArray(m)
	case npy.Int64:
		whole := make([]int, len(wide.Data))
		for i, x := range wide.Data {
			whole[i] = int(x)
		}
		return npy.IntArray(whole, t.Shape...), nil
	case npy.Float32:
		narrow := attention.NewTensor(t.Shape...)
		for i, x := range wide.Data {
			narrow.Data[i] = float32(x)
		}
		return npy.TensorArray(narrow, npy.Float32)
	}
	return npy.Float64Array(t.Shape, wide.Data)
}
