package edits

import (
	"slices"

	"github.com/difftest/difftest/harness/internal/graph"
)

// draft collects the nodes that replace one node.
type draft struct {
	v    *graph.View
	node graph.Node
	made []graph.Node
}

func newDraft(v *graph.View, n graph.Node) *draft { return &draft{v: v, node: n} }

// put adds a node and returns its value.
func (d *draft) put(shape []int, n graph.Node) graph.Operand {
	b := d.node.Before(len(d.made)+1, n.Op, shape, n.Operands...)
	b.Attributes = n.Attributes
	d.made = append(d.made, b)
	return graph.Value(b.Name)
}

// op adds a node without attributes.
func (d *draft) op(op string, shape []int, operands ...graph.Operand) graph.Operand {
	return d.put(shape, d.node.Become(op, operands...))
}

// set adds a node with attributes.
func (d *draft) set(op string, shape []int, o graph.Operand, set func(a *graph.Attributes)) graph.Operand {
	return d.put(shape, d.node.Become(op, o).Set(set))
}

// end returns the nodes, with the last one that takes the name of the replaced node.
func (d *draft) end(last graph.Node) []graph.Node { return append(d.made, last) }

func (d *draft) reshape(o graph.Operand, shape ...int) graph.Operand {
	return d.set("reshape", shape, o, func(a *graph.Attributes) { a.Shape = shape })
}

func (d *draft) permute(o graph.Operand, shape []int, dims ...int) graph.Operand {
	moved := make([]int, len(dims))
	for i, dim := range dims {
		moved[i] = shape[dim]
	}
	return d.set("permute", moved, o, func(a *graph.Attributes) { a.Dims = dims })
}

// slice takes the elements from start to stop of a dimension.
func (d *draft) slice(o graph.Operand, shape []int, dim, start, stop int) graph.Operand {
	part := slices.Clone(shape)
	part[dim] = stop - start
	return d.set("slice", part, o, func(a *graph.Attributes) {
		a.Dim, a.Start, a.Stop, a.Step = dim, start, stop, 1
	})
}

// order puts the slices of a dimension in another order.
func (d *draft) order(o graph.Operand, shape []int, dim int, order []int) graph.Operand {
	parts := make([]graph.Operand, len(order))
	for i, from := range order {
		parts[i] = d.slice(o, shape, dim, from, from+1)
	}
	joined := d.node.Become("cat", parts...)
	joined.Attributes.Dim = dim
	return d.put(shape, joined)
}

// flip reverses a dimension.
func (d *draft) flip(o graph.Operand, shape []int, dim int) graph.Operand {
	order := make([]int, shape[dim])
	for i := range order {
		order[i] = len(order) - 1 - i
	}
	return d.order(o, shape, dim, order)
}

// mean averages over dimensions, which stay with size 1.
func (d *draft) mean(o graph.Operand, shape []int, dims ...int) graph.Operand {
	kept := slices.Clone(shape)
	for _, dim := range dims {
		kept[dim] = 1
	}
	return d.set("mean", kept, o, func(a *graph.Attributes) { a.Dims, a.Keep = dims, true })
}

// maxOrder is the largest number of slices that an edit puts in another order.
const maxOrder = 64

// number returns the number among two operands, and the other operand.
func number(n graph.Node) (value float64, other graph.Operand, ok bool) {
	if len(n.Operands) != 2 {
		return 0, other, false
	}
	for i, o := range n.Operands {
		if o.Name == "" && !o.Absent {
			return o.Number, n.Operands[1-i], true
		}
	}
	return 0, other, false
}

// upstream lists the operators behind a value, as far as the nodes lie in one layer.
func upstream(v *graph.View, o graph.Operand, layer string) map[string]bool {
	ops, seen := map[string]bool{}, map[string]bool{}
	var walk func(o graph.Operand)
	walk = func(o graph.Operand) {
		n := v.Maker(o)
		if n == nil || seen[n.Name] || graph.LayerPath(n.Module) != layer {
			return
		}
		seen[n.Name], ops[n.Op] = true, true
		for _, before := range n.Operands {
			walk(before)
		}
	}
	walk(o)
	return ops
}

// usedBy reports whether a node of one of some operators takes a value.
func usedBy(v *graph.View, name string, ops ...string) bool {
	return slices.ContainsFunc(v.Users(name), func(n *graph.Node) bool { return slices.Contains(ops, n.Op) })
}

// source returns the node behind a value that is only reshaped on its way.
func source(v *graph.View, o graph.Operand) *graph.Node {
	n := v.Maker(o)
	for n != nil && n.Op == "reshape" && v.Maker(n.Operands[0]) != nil {
		n = v.Maker(n.Operands[0])
	}
	return n
}

// parameterOf returns the parameter that an operand is, or that it is reshaped from.
func parameterOf(v *graph.View, o graph.Operand) (graph.Operand, bool) {
	if n := v.Maker(o); n != nil && (n.Op == "reshape" || n.Op == "expand") {
		return parameterOf(v, n.Operands[0])
	}
	return o, v.Parameter(o)
}
