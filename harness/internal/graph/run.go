package graph

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
)

// Values holds the value of each input, parameter, constant and node by its name.
type Values[T Float] map[string]*Tensor[T]

// Run computes every node. given holds the inputs, parameters and constants.
func Run[T Float](g *Graph, given Values[T]) (Values[T], error) {
	return Rerun(nil, g, given)
}

// Rerun computes a graph that was changed. It computes only the nodes that differ from before, and
// the nodes behind them. known holds the values of before, or of its inputs if before is nil.
func Rerun[T Float](before, after *Graph, known Values[T]) (Values[T], error) {
	return rerun(before, after, known, nil)
}

// rerun computes a graph as Rerun does. It draws the rounding of computed nodes from r, unless r is
// nil.
func rerun[T Float](before, after *Graph, known Values[T], r *rand.Rand) (Values[T], error) {
	table := tableOf[T]()
	old := map[string]*Node{}
	if before != nil {
		for i := range before.Nodes {
			old[before.Nodes[i].Name] = &before.Nodes[i]
		}
	}
	values, computed := make(Values[T], len(known)+len(after.Nodes)), map[string]bool{}
	maps.Copy(values, known)
	for i := range after.Nodes {
		n := &after.Nodes[i]
		stale := slices.ContainsFunc(n.Operands, func(o Operand) bool { return computed[o.Name] })
		if was := old[n.Name]; was != nil && !stale && same(was, n) {
			continue
		}
		value, err := compute(table, n, values, r)
		if err != nil {
			return nil, fmt.Errorf("node %q, %s: %w", n.Name, n.Op, err)
		}
		values[n.Name], computed[n.Name] = value, true
	}
	return values, nil
}

// same reports whether two nodes compute the same from the same operands.
func same(a, b *Node) bool {
	return a.Op == b.Op && a.Computed == nil && b.Computed == nil &&
		slices.Equal(a.Operands, b.Operands) && reflect.DeepEqual(a.Attributes, b.Attributes)
}

// compute returns the value of one node, which must have the shape that the graph states.
func compute[T Float](table map[string]operator[T], n *Node, values Values[T], r *rand.Rand) (*Tensor[T], error) {
	in := make([]*Tensor[T], max(len(n.Operands), table[n.Op].operands.count()))
	for i, o := range n.Operands {
		switch {
		case o.Absent:
		case o.Name == "":
			in[i] = scalar[T](o.Number)
		default:
			if in[i] = values[o.Name]; in[i] == nil {
				return nil, fmt.Errorf("operand %q has no value", o.Name)
			}
		}
	}
	out, err := evaluate(table, n, in, r)
	if err != nil {
		return nil, err
	}
	if !slices.Equal(out.Shape, n.Shape) {
		return nil, fmt.Errorf("the result has shape %v, the graph says %v", out.Shape, n.Shape)
	}
	return out, nil
}

// evaluate computes the operator of a node, or its function.
func evaluate[T Float](table map[string]operator[T], n *Node, in []*Tensor[T], r *rand.Rand) (*Tensor[T], error) {
	if n.Computed == nil {
		return table[n.Op].compute(n, in)
	}
	wide, rounding := make([]*Tensor[float64], len(in)), NoRounding
	for i, t := range in {
		wide[i] = converted[float64](t)
	}
	if r != nil {
		rounding = WithRounding
	}
	value, sigma, err := n.Computed(wide, rounding)
	if err != nil || sigma == nil {
		return converted[T](value), err
	}
	rounded := &Tensor[float64]{Shape: value.Shape, Data: make([]float64, len(value.Data))}
	for i, x := range value.Data {
		rounded.Data[i] = x + sigma[i]*r.NormFloat64()
	}
	return converted[T](rounded), nil
}

// tableOf returns the operators in the arithmetic of T.
func tableOf[T Float]() map[string]operator[T] {
	if table, ok := any(operators64).(map[string]operator[T]); ok {
		return table
	}
	return any(operators32).(map[string]operator[T])
}
