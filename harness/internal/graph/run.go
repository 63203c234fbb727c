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
// the nodes behind them as far as their values differ. known holds the values of before, or of its
// inputs if before is nil.
func Rerun[T Float](before, after *Graph, known Values[T]) (Values[T], error) {
	values, err := rerun(before, after, known, plan[T]{last: nil})
	if err != nil {
		return nil, err
	}
	all := maps.Clone(known)
	maps.Copy(all, values.own)
	return all, nil
}

// Outputs computes a graph as Rerun does. It returns the values with some names alone, computes
// nothing that these do not need, and frees each value after its last use.
func Outputs[T Float](before, after *Graph, known Values[T], names ...string) (Values[T], error) {
	first := after.firstChange(before)
	values, err := rerun(before, after, known, plan[T]{first: first, last: lastUses(after, first, names)})
	if err != nil {
		return nil, err
	}
	kept := Values[T]{}
	for _, name := range names {
		kept[name] = values.of(name).Wide()
	}
	return kept, nil
}

// plan says what a run needs and keeps.
type plan[T Float] struct {
	// last maps each value that is needed to the place of the node that needs it last. All values
	// are needed, and stay, if last is nil.
	last map[string]int
	// parameters makes the parameters that the known values lack. It may be nil.
	parameters maker[T]
	// rounding draws the rounding of computed nodes, unless it is nil.
	rounding *rand.Rand
	// first is the place before which all nodes are as before.
	first int
	// table holds the operators; nil stands for the table of T.
	table map[string]operator[T]
}

// maker makes a parameter when a node needs it, and takes it back after its last use.
type maker[T Float] interface {
	lend(name string) *Tensor[T] // nil if there is no such parameter
	giveBack(name string, t *Tensor[T])
}

// lastUses maps each value that some results need to the place of the node that needs it last. The
// results themselves are needed behind the last node. Nodes before the place first are not asked.
func lastUses(g *Graph, first int, results []string) map[string]int {
	last := make(map[string]int, 2*(len(g.Nodes)-first))
	for _, name := range results {
		last[name] = len(g.Nodes)
	}
	for i := len(g.Nodes) - 1; i >= first; i-- {
		if _, needed := last[g.Nodes[i].Name]; !needed {
			continue
		}
		for _, o := range g.Nodes[i].Operands {
			if _, later := last[o.Name]; !later && o.Name != "" {
				last[o.Name] = i
			}
		}
	}
	return last
}

// overlay is the values of a run: its own where they differ from known ones.
type overlay[T Float] struct{ own, known Values[T] }

func (o overlay[T]) of(name string) *Tensor[T] {
	if t := o.own[name]; t != nil {
		return t
	}
	return o.known[name]
}

func rerun[T Float](before, after *Graph, known Values[T], p plan[T]) (overlay[T], error) {
	table, asBefore := p.table, after.since(before)
	if table == nil {
		table = tableOf[T]()
	}
	values, computed, shared := overlay[T]{Values[T]{}, known}, map[string]bool{}, sharers[T]{}
	for i := p.first; i < len(after.Nodes); i++ {
		n := &after.Nodes[i]
		if _, needed := p.last[n.Name]; !needed && p.last != nil {
			continue
		}
		stale := slices.ContainsFunc(n.Operands, func(o Operand) bool { return computed[o.Name] })
		if !stale && asBefore(n) {
			continue
		}
		p.fetch(n, values)
		value, err := compute(table, n, values, p.rounding)
		if err != nil {
			return values, fmt.Errorf("node %.200q, %s: %w", n.Name, n.Op, err)
		}
		if p.last == nil {
			value = value.Wide() // others look at the values that stay
		}
		if was := known[n.Name]; was == nil || !value.equal(was) {
			shared.add(n, value, values)
			values.own[n.Name], computed[n.Name] = value, true
		} else if shared.isNew(n, value, values) {
			value.useAgain()
		}
		p.free(n, i, values, shared)
	}
	return values, nil
}

// since returns a function that reports whether a node of the graph is as in a graph before it. No
// node is if before is nil.
func (g *Graph) since(before *Graph) func(n *Node) bool {
	if before == nil {
		return func(*Node) bool { return false }
	}
	if g.base == before {
		return func(n *Node) bool { return !g.changed[n.Name] && n.Computed == nil }
	}
	old := make(map[string]*Node, len(before.Nodes))
	for i := range before.Nodes {
		old[before.Nodes[i].Name] = &before.Nodes[i]
	}
	return func(n *Node) bool {
		was := old[n.Name]
		return was != nil && same(was, n)
	}
}

// firstChange returns the place of the first node that an edit of another graph changed. It returns
// 0 unless the graph was made from the other.
func (g *Graph) firstChange(before *Graph) int {
	if before == nil || g.base != before {
		return 0
	}
	asBefore := g.since(before)
	for i := range g.Nodes {
		if !asBefore(&g.Nodes[i]) {
			return i
		}
	}
	return len(g.Nodes)
}

// fetch adds the parameters that a node takes.
func (p plan[T]) fetch(n *Node, values overlay[T]) {
	for _, o := range n.Operands {
		if o.Name != "" && p.parameters != nil && values.of(o.Name) == nil {
			values.own[o.Name] = p.parameters.lend(o.Name)
		}
	}
}

// free drops the operands of a node, at a place, that no later node takes.
func (p plan[T]) free(n *Node, place int, values overlay[T], shared sharers[T]) {
	for _, o := range n.Operands {
		last, needed := p.last[o.Name]
		if !needed || last != place {
			continue
		}
		if p.parameters != nil {
			p.parameters.giveBack(o.Name, values.own[o.Name])
		}
		if own := values.own[o.Name]; own != nil {
			shared.drop(own)
			delete(values.own, o.Name)
		}
	}
}

// same reports whether two nodes compute the same from the same operands.
func same(a, b *Node) bool {
	return a.Op == b.Op && a.Computed == nil && b.Computed == nil &&
		slices.Equal(a.Operands, b.Operands) && reflect.DeepEqual(&a.Attributes, &b.Attributes)
}

// compute returns the value of one node, which must have the shape that the graph states.
func compute[T Float](table map[string]operator[T], n *Node, values overlay[T], r *rand.Rand) (*Tensor[T], error) {
	in := make([]*Tensor[T], max(len(n.Operands), table[n.Op].operands.count()))
	for i, o := range n.Operands {
		switch {
		case o.Absent:
		case o.Name == "":
			in[i] = scalar[T](o.Number)
		default:
			if in[i] = values.of(o.Name); in[i] == nil {
				return nil, fmt.Errorf("operand %.200q has no value", o.Name)
			}
			if place, reads := readsNarrow[n.Op]; !reads || place != i || n.Computed != nil {
				in[i] = in[i].Wide()
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
