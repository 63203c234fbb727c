package edits

import (
	"slices"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/graph"
)

// residuals holds mistakes with the sums x + f(x).
var residuals = []catalogue.Mistake{
	{
		ID: "residual-missing", Title: "the residual connections left out", Family: catalogue.Residual, Kind: catalogue.Missing,
		Explanation: "The output of attention and of the MLP replaces their input.",
		Fix:         "Add the input of attention and of the MLP to their outputs.",
		Edit:        residual(anyBranch, func(n graph.Node, skip, branch graph.Operand) graph.Node { return n.Pass(branch) }),
	},
	{
		ID: "residual-attention-missing", Title: "the residual connection around attention left out",
		Family: catalogue.Residual, Kind: catalogue.Missing,
		Explanation: "The output of attention replaces its input.",
		Fix:         "Add the input of attention to its output.",
		Edit:        residual(attends, func(n graph.Node, skip, branch graph.Operand) graph.Node { return n.Pass(branch) }),
	},
	{
		ID: "residual-mlp-missing", Title: "the residual connection around the MLP left out",
		Family: catalogue.Residual, Kind: catalogue.Missing,
		Explanation: "The output of the MLP replaces its input.",
		Fix:         "Add the input of the MLP to its output.",
		Edit:        residual(activates, func(n graph.Node, skip, branch graph.Operand) graph.Node { return n.Pass(branch) }),
	},
	{
		ID: "attention-skipped", Title: "attention left out", Family: catalogue.Residual, Kind: catalogue.Missing,
		Explanation: "The sum x + attention(x) is x.",
		Fix:         "Add the output of attention to its input.",
		Edit:        withoutBranch(attends),
	},
	{
		ID: "mlp-skipped", Title: "the MLP left out", Family: catalogue.Residual, Kind: catalogue.Missing,
		Explanation: "The sum x + mlp(x) is x.",
		Fix:         "Add the output of the MLP to its input.",
		Edit:        withoutBranch(activates),
	},
	{
		ID: "residual-from-norm", Title: "the residual taken behind the norm", Family: catalogue.Residual, Kind: catalogue.Altered,
		Explanation: "norm(x) is added to the output, not x.",
		Fix:         "Add the input of the norm: keep it before the norm overwrites it.",
		Refs:        []string{"N20"},
		Edit:        residualFromNorm,
	},
	{
		ID: "residual-twice", Title: "the residual added twice", Family: catalogue.Residual, Kind: catalogue.Altered,
		Explanation: "The sum is 2 x + f(x).",
		Fix:         "Add the input once: in the layer or in its caller.",
		Edit: func(v *graph.View, n graph.Node) []graph.Node {
			skip, branch, ok := parts(v, n)
			if !ok {
				return nil
			}
			twice := n.Before(1, "mul", n.Shape, skip, graph.Number(2))
			return nodes(twice, n.With(graph.Value(twice.Name), branch))
		},
	},
}

// parts splits a residual sum into x and f(x).
func parts(v *graph.View, n graph.Node) (skip, branch graph.Operand, ok bool) {
	if n.Op != "add" || n.Operands[0].Name == "" || n.Operands[1].Name == "" || !sameShape(v, n.Operands...) {
		return skip, branch, false
	}
	for i, skip := range n.Operands {
		if branch := n.Operands[1-i]; v.Maker(skip) != nil && branch != skip && v.From(branch, skip.Name) {
			return skip, branch, true
		}
	}
	return skip, branch, false
}

// residual returns an edit of the sums whose branch fits.
func residual(
	fits func(v *graph.View, skip, branch graph.Operand) bool,
	change func(n graph.Node, skip, branch graph.Operand) graph.Node,
) graph.Edit {
	return func(v *graph.View, n graph.Node) []graph.Node {
		skip, branch, ok := parts(v, n)
		if !ok || !fits(v, skip, branch) {
			return nil
		}
		return nodes(change(n, skip, branch))
	}
}

// withoutBranch returns an edit that leaves out the branches that fit. Where attention and the MLP
// stand side by side, the other branch stays.
func withoutBranch(fits func(v *graph.View, skip, branch graph.Operand) bool) graph.Edit {
	alone := residual(fits, func(n graph.Node, skip, branch graph.Operand) graph.Node { return n.Pass(skip) })
	return func(v *graph.View, n graph.Node) []graph.Node {
		if skip, branch, ok := parts(v, n); ok {
			if sum := v.Maker(branch); sum != nil && isSideBySide(v, *sum, skip) {
				return nil // the sum of both branches is edited
			}
			return alone(v, n)
		}
		skip, ok := besideEachOther(v, n)
		if !ok {
			return nil
		}
		for i, branch := range n.Operands {
			if fits(v, skip, branch) {
				return nodes(n.Pass(n.Operands[1-i]))
			}
		}
		return nil
	}
}

// besideEachOther returns the x of x + (attention(x) + mlp(x)), given the sum in brackets.
func besideEachOther(v *graph.View, n graph.Node) (skip graph.Operand, ok bool) {
	users := v.Users(n.Name)
	if len(users) != 1 {
		return skip, false
	}
	skip, branch, ok := parts(v, *users[0])
	return skip, ok && branch.Name == n.Name && isSideBySide(v, n, skip)
}

// isSideBySide reports whether a node adds attention of x to a branch that takes x and no
// attention.
func isSideBySide(v *graph.View, n graph.Node, x graph.Operand) bool {
	if n.Op != "add" || n.Operands[0].Name == "" || n.Operands[1].Name == "" || !sameShape(v, n.Operands...) {
		return false
	}
	for i, o := range n.Operands {
		if other := n.Operands[1-i]; attends(v, x, o) && !attends(v, x, other) && v.From(other, x.Name) {
			return true
		}
	}
	return false
}

func anyBranch(*graph.View, graph.Operand, graph.Operand) bool { return true }

// attends reports whether attention lies on the way from x to f(x).
func attends(v *graph.View, skip, branch graph.Operand) bool {
	return slices.ContainsFunc(v.Between(branch, skip.Name), func(n *graph.Node) bool { return n.Op == "attention" })
}

// activates reports whether an activation lies on the way from x to f(x), and no attention.
func activates(v *graph.View, skip, branch graph.Operand) bool {
	return !attends(v, skip, branch) && slices.ContainsFunc(v.Between(branch, skip.Name),
		func(n *graph.Node) bool { return isActivation(v, *n) })
}

// residualFromNorm takes the norm of x on the way to f(x) for x.
func residualFromNorm(v *graph.View, n graph.Node) []graph.Node {
	skip, branch, ok := parts(v, n)
	if !ok {
		return nil
	}
	for _, user := range v.Users(skip.Name) {
		if isNorm(v, *user) && v.From(branch, user.Name) {
			return nodes(n.With(graph.Value(user.Name), branch))
		}
	}
	return nil
}

// sameShape reports whether values have the same shape.
func sameShape(v *graph.View, operands ...graph.Operand) bool {
	for _, o := range operands[1:] {
		if !slices.Equal(v.Shape(o), v.Shape(operands[0])) {
			return false
		}
	}
	return true
}
