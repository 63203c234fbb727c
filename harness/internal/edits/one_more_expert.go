package edits

import (
	"slices"

	"github.com/difftest/difftest/harness/internal/graph"
)

// oneMoreExpert computes the experts again, one more of them for each token. Its place is the node
// that adds up the chosen experts of a token, or that writes their scores into a table of all
// experts.
func oneMoreExpert(v *graph.View, n graph.Node) []graph.Node {
	if n.Op != "sum" && n.Op != "scatter" {
		return nil
	}
	w := widerChoice{v: v, draft: newDraft(v, n), made: map[string]graph.Operand{}}
	if !w.find() {
		return nil
	}
	operands := w.widened(n)
	if slices.Equal(operands, n.Operands) || !w.indices || !slices.Equal(w.wider(n.Shape), n.Shape) {
		return nil
	}
	return w.draft.end(n.With(operands...))
}

// widerChoice copies the nodes from the choice of experts to a later node, with one more expert.
type widerChoice struct {
	v     *graph.View
	draft *draft
	nodes []graph.Node // from the choice to the later node
	count int          // chosen experts
	rows  int          // tokens

	made    map[string]graph.Operand // the copies of nodes; a node that stays as it is has itself
	indices bool                     // the numbers of the experts are among the copies
}

// find looks for the nearest choice of experts before the node of the draft, in the same layer. It
// reports whether there is one, and an expert is left to choose.
func (w *widerChoice) find() bool {
	end := slices.IndexFunc(w.v.Nodes, func(n graph.Node) bool { return n.Name == w.draft.node.Name })
	for at := end - 1; at >= 0; at-- {
		n := w.v.Nodes[at]
		if n.Op != "topk_indices" || len(n.Shape) == 0 || graph.LayerPath(n.Module) != graph.LayerPath(w.draft.node.Module) {
			continue
		}
		start := slices.IndexFunc(w.v.Nodes, func(other graph.Node) bool {
			return (other.Op == "topk" || other.Op == "topk_indices") && other.Operands[0] == n.Operands[0]
		})
		w.nodes, w.count, w.rows = w.v.Nodes[start:end], n.Attributes.Count, 1
		last := len(n.Shape) - 1
		for _, size := range n.Shape[:last] {
			w.rows *= size
		}
		return n.Attributes.Dim == last && w.count < w.v.Shape(n.Operands[0])[last]
	}
	return false
}

// wider returns a shape with one expert more.
func (w *widerChoice) wider(shape []int) []int {
	made := slices.Clone(shape)
	for i, size := range made {
		switch size {
		case w.rows * w.count:
			made[i] = w.rows * (w.count + 1)
		case w.count:
			made[i] = w.count + 1
		}
	}
	return made
}

// widened returns the operands of a node, the ones behind the choice as their copies.
func (w *widerChoice) widened(n graph.Node) []graph.Operand {
	operands := slices.Clone(n.Operands)
	for i, o := range operands {
		if o.Name != "" {
			operands[i] = w.copied(o)
		}
	}
	return operands
}

// copied returns the copy of a value, or the value itself if it does not depend on the number of
// experts.
func (w *widerChoice) copied(o graph.Operand) graph.Operand {
	if made, ok := w.made[o.Name]; ok {
		return made
	}
	w.made[o.Name] = o
	at := slices.IndexFunc(w.nodes, func(n graph.Node) bool { return n.Name == o.Name })
	if at < 0 {
		return o
	}
	if made, ok := w.changed(w.nodes[at]); ok {
		w.made[o.Name] = w.draft.put(w.wider(made.Shape), made)
	}
	return w.made[o.Name]
}

// changed returns a node with one expert more. It reports false if the node does not depend on the
// number of experts.
func (w *widerChoice) changed(n graph.Node) (graph.Node, bool) {
	switch {
	case (n.Op == "topk" || n.Op == "topk_indices") && n.Attributes.Count == w.count:
		w.indices = w.indices || n.Op == "topk_indices"
		return n.Set(func(a *graph.Attributes) { a.Count++ }), true
	case n.Op == "repeat_interleave" && n.Attributes.Times == w.count:
		return n.Set(func(a *graph.Attributes) { a.Times++ }), true
	}
	operands := w.widened(n)
	if slices.Equal(operands, n.Operands) {
		return n, false
	}
	if n.Op == "reshape" || n.Op == "expand" {
		n = n.Set(func(a *graph.Attributes) { a.Shape = w.wider(a.Shape) })
	}
	return n.With(operands...), true
}
