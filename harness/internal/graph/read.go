package graph

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/difftest/difftest/harness/internal/jsonread"
)

const version = 1

// Bounds of what a file may ask for. A larger graph is a mistake or an attack.
const (
	maxNodes    = 100_000
	maxElements = 1 << 28 // of one value
	maxRank     = 8
)

// document is graph.json, version 1.
type document struct {
	Version    int               `json:"version"`
	Inputs     map[string]string `json:"inputs"`
	Parameters []string          `json:"parameters"`
	Constants  []string          `json:"constants"`
	Output     string            `json:"output"`
	Nodes      []Node            `json:"nodes"`
}

// Parse reads graph.json. It fails on unknown fields, unknown operators, values that have the same
// name, and operands that no earlier node computes. The error lists every problem.
func Parse(data []byte) (*Graph, error) {
	var d document
	if err := jsonread.Strict("", data, &d); err != nil {
		return nil, err
	}
	if d.Version != version {
		return nil, fmt.Errorf("version: %d, want %d", d.Version, version)
	}
	g := &Graph{Inputs: d.Inputs, Parameters: d.Parameters, Constants: d.Constants, Output: d.Output, Nodes: d.Nodes}
	if err := g.check(); err != nil {
		return nil, err
	}
	g.fillOperands()
	return g, nil
}

// fillOperands adds the absent operands that the file left out.
func (g *Graph) fillOperands() {
	for i := range g.Nodes {
		n := &g.Nodes[i]
		for len(n.Operands) < operators64[n.Op].operands.count() {
			n.Operands = append(n.Operands, None)
		}
	}
}

// check reports every problem of a graph that can be seen without its tensors.
func (g *Graph) check() error {
	if len(g.Nodes) > maxNodes {
		return fmt.Errorf("nodes: %d, want at most %d", len(g.Nodes), maxNodes)
	}
	var errs []error
	known := map[string]bool{}
	define := func(name, what string) {
		if name == "" || known[name] {
			errs = append(errs, fmt.Errorf("%s: %.200q is empty or names two values", what, name))
		}
		known[name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(g.Inputs)) {
		define(name, "inputs")
	}
	for _, name := range g.Parameters {
		define(name, "parameters")
	}
	for _, name := range g.Constants {
		define(name, "constants")
	}
	for i, n := range g.Nodes {
		if err := n.check(known); err != nil {
			errs = append(errs, fmt.Errorf("nodes[%d] %.200q: %w", i, n.Name, err))
		}
		define(n.Name, fmt.Sprintf("nodes[%d]", i))
	}
	if !known[g.Output] {
		errs = append(errs, fmt.Errorf("output: %.200q names no value", g.Output))
	}
	return errors.Join(errs...)
}

// check reports every problem of a node, given the values before it.
func (n *Node) check(known map[string]bool) error {
	op, ok := operators64[n.Op]
	if !ok {
		return fmt.Errorf("op: %.200q is unknown", n.Op)
	}
	for i, o := range n.Operands {
		if o.Name != "" && !known[o.Name] {
			return fmt.Errorf("operands[%d]: no value before this node is named %.200q", i, o.Name)
		}
	}
	if err := op.operands.check(n.Operands); err != nil {
		return err
	}
	if _, err := elements(n.Shape); err != nil {
		return fmt.Errorf("shape: %w", err)
	}
	return nil
}

// elements returns the number of elements of a shape.
func elements(shape []int) (int, error) {
	if len(shape) > maxRank {
		return 0, fmt.Errorf("%d dimensions, want at most %d", len(shape), maxRank)
	}
	count := 1
	for _, size := range shape {
		if size < 0 || size > maxElements {
			return 0, fmt.Errorf("a dimension of %d", size)
		}
		if count *= size; count > maxElements {
			return 0, fmt.Errorf("more than %d elements", maxElements)
		}
	}
	return count, nil
}
