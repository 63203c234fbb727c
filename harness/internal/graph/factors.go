package graph

import (
	"maps"
	"slices"

	"github.com/difftest/difftest/harness/internal/npy"
)

// factors maps the operators that multiply matrices to the places of their factors. The softmax
// weights of attention are a factor, too: see [attendRounding].
var factors = map[string][]int{
	"linear": {0, 1}, "matmul": {0, 1}, "attention": {0, 1, 2},
	"convolution": {0, 1}, "convolution_transposed": {0, 1},
	"lstm": {0, 3, 4}, "lstm_cells": {0, 3, 4}, "gru": {0, 2, 3}, "rnn": {0, 2, 3},
}

// RunRounding returns the output of a graph in float32, whose products round their factors first.
func RunRounding(
	g *Graph, arrays map[string]*npy.Array, round func(x float32) float32,
) (output *Tensor[float32], err error) {
	given, err := Given[float32](g, arrays)
	if err != nil {
		return nil, err
	}
	one := func() float32 { return 1 }
	p := plan[float32]{table: roundingFactors(round, one), last: lastUses(g, 0, []string{g.Output})}
	values, err := rerun(nil, g, given, p)
	return values.of(g.Output), err
}

// roundingFactors returns the operators in float32, whose products round multiples of their
// factors. With random multiples two runs have independent errors.
func roundingFactors(round func(x float32) float32, multiple func() float32) map[string]operator[float32] {
	table := maps.Clone(operators32)
	for name, places := range factors {
		o := table[name]
		compute := o.compute
		if name == "attention" {
			compute = attendRounding(func(t *Tensor[float32]) *Tensor[float32] { return onGrid(t, round, multiple()) })
		}
		o.compute = func(n *Node, in []*Tensor[float32]) (*Tensor[float32], error) {
			in = slices.Clone(in)
			for _, place := range places {
				in[place] = onGrid(in[place], round, multiple())
			}
			return compute(n, in)
		}
		table[name] = o
	}
	return table
}

// attendRounding returns an attention that rounds its softmax weights.
func attendRounding(
	rounded func(*Tensor[float32]) *Tensor[float32],
) func(n *Node, in []*Tensor[float32]) (*Tensor[float32], error) {
	return func(n *Node, in []*Tensor[float32]) (*Tensor[float32], error) {
		values := in[2]
		units, err := unitVectors(values.Shape)
		if err != nil {
			return nil, err
		}
		in = slices.Clone(in)
		in[2] = units
		weights, err := attend(n, in)
		if err != nil {
			return nil, err
		}
		return matmul(n, []*Tensor[float32]{rounded(weights), values})
	}
}

// unitVectors returns an identity matrix for each matrix of keys. Attention to it gives the softmax
// weights.
func unitVectors(shape []int) (*Tensor[float32], error) {
	keys := shape[len(shape)-2]
	units, err := New[float32](append(slices.Clone(shape[:len(shape)-1]), keys))
	if err != nil {
		return nil, err
	}
	for i := range len(units.Data) / max(keys, 1) {
		units.Data[i*keys+i%keys] = 1
	}
	return units, nil
}

// onGrid rounds multiples of the elements.
func onGrid(t *Tensor[float32], round func(x float32) float32, multiple float32) *Tensor[float32] {
	rounded := &Tensor[float32]{Shape: t.Shape, Data: make([]float32, len(t.Data)), Bool: t.Bool}
	for i, x := range t.Data {
		rounded.Data[i] = round(x*multiple) / multiple
	}
	return rounded
}
