package graph

import (
	"fmt"
	"maps"
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
		value, err := compute(table, n, values)
		if err != nil {
			return nil, fmt.Errorf("node %q, %s: %w", n.Name, n.Op, err)
		}
		values[n.Name], computed[n.Name] = value, true
	}
	return values, nil
}

// same reports whether two nodes compute the same from the same operands.
func same(a, b *Node) bool {
	return a.Op == b.Op && slices.Equal(a.Operands, b.Operands) &&
		reflect.DeepEqual(a.Attributes, b.Attributes) && reflect.DeepEqual(a.table, b.table)
}

// compute returns the value of one node, which must have the shape that the graph states.
func compute[T Float](table map[string]operator[T], n *Node, values Values[T]) (*Tensor[T], error) {
	if n.table != nil {
		return converted[T](n.table), nil
	}
	op := table[n.Op]
	in := make([]*Tensor[T], max(len(n.Operands), op.operands.count()))
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
	out, err := op.compute(n, in)
	if err != nil {
		return nil, err
	}
	if !slices.Equal(out.Shape, n.Shape) {
		return nil, fmt.Errorf("the result has shape %v, the graph says %v", out.Shape, n.Shape)
	}
	return out, nil
}

// tableOf returns the operators in the arithmetic of T.
func tableOf[T Float]() map[string]operator[T] {
	if table, ok := any(operators64).(map[string]operator[T]); ok {
		return table
	}
	return any(operators32).(map[string]operator[T])
}
