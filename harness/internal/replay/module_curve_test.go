package replay

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/edits"
	"github.com/difftest/difftest/harness/internal/graph"
	"github.com/difftest/difftest/harness/internal/npy"
)

// curves is a graph of one node for each of some numbers. The nodes are added. Each is a curve in
// the space of the outputs, whose parameter is the number.
type curves struct {
	module  *Module
	numbers []*number
	sigma   float64 // of the outputs, unless it is 0
	calls   atomic.Int64
	nowhere error // what an output in float32 fails with
}

// number is a number with a right value, and the part of the output that its values give.
type number struct {
	edits.Number
	right       float64
	least, most float64
	of          func(value float64) []float64 // nil where no program gives an output
}

// newCurves returns the graph of some numbers, whose outputs have width elements.
func newCurves(t *testing.T, width int, sigma float64, numbers ...*number) *curves {
	c := &curves{numbers: numbers, sigma: sigma}
	shape := []int{1, width}
	zero, err := npy.Float64Array(shape, make([]float64, width))
	require.NoError(t, err)
	g := &graph.Graph{Inputs: map[string]string{"x": "x"}}
	before := "x"
	for i, n := range numbers {
		n.Number.Number.ID = fmt.Sprint("number-", i)
		name := fmt.Sprint("sum", i)
		n.At = func(_ *graph.View, node graph.Node) (float64, bool) { return n.right, node.Name == name }
		n.Span = func(*graph.View, graph.Node, float64) (float64, float64) { return n.least, n.most }
		n.To = func(value float64) graph.Edit {
			return func(_ *graph.View, node graph.Node) []graph.Node { return []graph.Node{c.added(node, n, value)} }
		}
		node := graph.Node{Name: name, Op: "reshape", Operands: []graph.Operand{graph.Value(before)}, Shape: shape, Module: name}
		g.Nodes = append(g.Nodes, c.added(node, n, n.right))
		before = name
	}
	g.Output = before
	right := make([]float64, width)
	for _, n := range numbers {
		for i, x := range n.of(n.right) {
			right[i] += x
		}
	}
	truth := compare.Expected{Shape: shape, Value: right, Sigma: make([]float64, width), Measured: true}
	for i := range truth.Sigma {
		truth.Sigma[i] = sigma
	}
	c.module, err = NewModule(g, map[string]*npy.Array{"inputs.x": zero}, truth)
	require.NoError(t, err)
	c.calls.Store(0)
	return c
}

// added returns a node that adds the part of a number's value.
func (c *curves) added(n graph.Node, of *number, value float64) graph.Node {
	n.Computed = func(in []*graph.Tensor[float64], rounding graph.Rounding) (*graph.Tensor[float64], []float64, error) {
		part := of.of(value)
		if part == nil {
			return nil, nil, errors.New("no program")
		}
		sum := &graph.Tensor[float64]{Shape: n.Shape, Data: make([]float64, len(part))}
		for i, x := range part {
			sum.Data[i] = in[0].Data[i] + x
		}
		if rounding == graph.NoRounding {
			c.calls.Add(1)
			return sum, nil, nil
		}
		sigma := make([]float64, len(part))
		for i := range sigma {
			sigma[i] = c.sigma
		}
		return sum, sigma, c.nowhere
	}
	return n
}

// counted returns how many nodes were computed in float64 since the last call.
func (c *curves) counted() int { return int(c.calls.Swap(0)) }

// output returns the output with some values of the numbers.
func (c *curves) output(values ...float64) []float64 {
	sum := make([]float64, len(c.module.Truth.Value))
	for k, n := range c.numbers {
		for i, x := range n.of(values[k]) {
			sum[i] += x
		}
	}
	return sum
}

// search returns the search for one of the numbers.
func (c *curves) search(ctx context.Context, k int, got []float64) *moduleSearch {
	n := c.numbers[k]
	return newModuleSearch(ctx, c.module, &numberSites{number: n.Number, right: n.right, sites: []int{k}}, got)
}

// plain returns a number between a 10000th of its right value and 10000 times it.
func plain(right float64, of func(value float64) []float64) *number {
	return &number{right: right, least: right / 1e4, most: right * 1e4, of: of}
}

// counting returns a number that counts.
func counting(right, least, most float64, of func(value float64) []float64) *number {
	n := &number{right: right, least: least, most: most, of: of}
	n.Number.Number = catalogue.Number{Step: 1}
	return n
}
