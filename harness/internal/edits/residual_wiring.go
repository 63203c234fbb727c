package edits

import (
	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/graph"
)

// residualWiring holds mistakes with what a residual sum adds, and with where the MLP starts.
var residualWiring = []catalogue.Mistake{
	{
		ID: "residual-parallel", Title: "attention and MLP in parallel", Family: catalogue.Residual, Kind: catalogue.Altered,
		Explanation: "The MLP takes the input of the layer, not the sum behind attention.",
		Fix:         "Add attention first, and give the sum to the MLP: use_parallel_residual is false.",
		Refs:        []string{"Z03"},
		Edit: onlyIf(isNorm, func(v *graph.View, n graph.Node) []graph.Node {
			sum := v.Maker(n.Operands[0])
			if sum == nil || graph.LayerPath(n.Module) == "" || graph.LayerPath(sum.Module) != graph.LayerPath(n.Module) {
				return nil
			}
			skip, branch, ok := parts(v, *sum)
			if !ok || !attends(v, skip, branch) || sumBehind(v, n, n.Operands[0]) == nil {
				return nil
			}
			return nodes(n.Put(0, skip))
		}),
	},
	{
		ID: "residual-sequential", Title: "attention and MLP one after the other", Family: catalogue.Residual, Kind: catalogue.Altered,
		Explanation: "The MLP takes the sum behind attention, not the input of the layer.",
		Fix:         "Give the MLP the input of the layer: use_parallel_residual is true.",
		Refs:        []string{"Z03"},
		Edit:        residualSequential,
	},
	{
		ID: "residual-multiplier-missing", Title: "the residual multiplier left out", Family: catalogue.Residual, Kind: catalogue.Missing,
		Explanation: "The outputs of attention and of the MLP are added as they are.",
		Fix:         "Multiply them by residual_multiplier, or by scale_depth / sqrt(layers).",
		Refs:        []string{"Z01", "E15"},
		Edit:        withoutFactor(isResidualFactor),
	},
	{
		ID: "residual-multiplier-on-stream", Title: "the residual multiplier on the input", Family: catalogue.Residual, Kind: catalogue.Altered,
		Explanation: "c x + f(x) was computed, where the model has x + c f(x).",
		Fix:         "Multiply the output of attention and of the MLP, not their input.",
		Refs:        []string{"Z02"},
		Edit: func(v *graph.View, n graph.Node) []graph.Node {
			skip, branch, ok := parts(v, n)
			factor := v.Maker(branch)
			if !ok || factor == nil || !isResidualFactor(v, *factor) {
				return nil
			}
			_, x, _ := number(*factor)
			d := newDraft(v, n)
			scaled := n.Become(factor.Op, factor.Operands...)
			for i, o := range scaled.Operands {
				if o == x {
					scaled = scaled.Put(i, skip)
				}
			}
			return d.end(n.With(d.put(n.Shape, scaled), x))
		},
	},
	{
		ID: "layer-scale-missing", Title: "no layer scale", Family: catalogue.Residual, Kind: catalogue.Parameters,
		Explanation: "The outputs of attention and of the MLP are not multiplied by their learned vector.",
		Fix:         "Load gamma or lambda1 of each branch, and multiply by it before the sum.",
		Refs:        []string{"Z08"},
		Edit: func(v *graph.View, n graph.Node) []graph.Node {
			if n.Op != "mul" || !isBranch(v, n) {
				return nil
			}
			for i, o := range n.Operands {
				if v.Parameter(o) && len(v.Shape(o)) == 1 && v.Maker(n.Operands[1-i]) != nil {
					return nodes(n.Pass(n.Operands[1-i]))
				}
			}
			return nil
		},
	},
}

// isBranch reports whether a residual sum adds a node's value to its x, perhaps with another
// branch.
func isBranch(v *graph.View, n graph.Node) bool {
	users := v.Users(n.Name)
	if len(users) != 1 {
		return false
	}
	if _, beside := besideEachOther(v, *users[0]); beside {
		return true
	}
	_, branch, ok := parts(v, *users[0])
	return ok && branch.Name == n.Name
}

func isResidualFactor(v *graph.View, n graph.Node) bool {
	_, x, ok := number(n)
	return (n.Op == "mul" || n.Op == "div" && n.Operands[0] == x) && ok && v.Maker(x) != nil && isBranch(v, n)
}

// residualSequential gives the norm before a parallel MLP, or each layer behind a shared norm, the
// sum of the layer's input and of attention.
func residualSequential(v *graph.View, n graph.Node) []graph.Node {
	norm := &n
	if !isNorm(v, n) {
		if n.Op != "linear" || v.Maker(n.Operands[0]) == nil || !inMLP(v, n) {
			return nil
		}
		norm = v.Maker(n.Operands[0])
	}
	if !isNorm(v, *norm) || graph.LayerPath(norm.Module) == "" {
		return nil
	}
	x := norm.Operands[0]
	attended := attentionFrom(v, graph.LayerPath(norm.Module), x)
	shared := attended != nil && v.From(graph.Value(attended.Name), norm.Name)
	if attended == nil || shared == isNorm(v, n) || !before(v, attended.Name, n.Name) {
		return nil
	}
	d := newDraft(v, n)
	sum := d.op("add", norm.Shape, x, graph.Value(attended.Name))
	if isNorm(v, n) {
		return d.end(n.Put(0, sum))
	}
	return d.end(n.Put(0, d.put(norm.Shape, norm.Put(0, sum))))
}

// attentionFrom returns the node that gives a sum the attention of x in a layer whose MLP takes x,
// too.
func attentionFrom(v *graph.View, layer string, x graph.Operand) *graph.Node {
	for i := range v.Nodes {
		sum := &v.Nodes[i]
		if sum.Op != "add" || graph.LayerPath(sum.Module) != layer || len(v.Shape(x)) == 0 {
			continue
		}
		for j, o := range sum.Operands {
			made, other := v.Maker(o), sum.Operands[1-j]
			if made == nil || made.Op == "add" || !sameShape(v, o, x) || o == x || !attends(v, x, o) {
				continue
			}
			// The MLP is the other part of this sum, or of the next one.
			if activates(v, x, other) || other == x && nextActivates(v, sum, x) {
				return made
			}
		}
	}
	return nil
}

// nextActivates reports whether the next sum adds an MLP that starts at x.
func nextActivates(v *graph.View, sum *graph.Node, x graph.Operand) bool {
	for _, user := range v.Users(sum.Name) {
		if user.Op != "add" {
			continue
		}
		for i, o := range user.Operands {
			if mlp := user.Operands[1-i]; o.Name == sum.Name && activates(v, x, mlp) && !v.From(mlp, sum.Name) {
				return true
			}
		}
	}
	return false
}
