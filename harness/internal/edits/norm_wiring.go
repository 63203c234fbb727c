package edits

import (
	"strings"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/graph"
)

// normWiring holds mistakes with the place of norms in a layer.
var normWiring = []catalogue.Mistake{
	{
		ID: "norm-after-residual", Title: "norms behind the residual sums, as in BERT", Family: catalogue.Norm, Kind: catalogue.Altered,
		Explanation: "The layers compute norm(x + f(x)), where the model has x + f(norm(x)).",
		Fix:         "Normalise the input of attention and of the MLP, and add to the input that is not normalised.",
		Refs:        []string{"N19"}, Joint: true,
		Edit: normAfterResidual,
	},
	{
		ID: "norm-before-branch", Title: "norms before attention and MLP, as in GPT-2", Family: catalogue.Norm, Kind: catalogue.Altered,
		Explanation: "The layers compute x + f(norm(x)), where the model has norm(x + f(x)).",
		Fix:         "Normalise the residual sums: norm_first is False.",
		Refs:        []string{"N19"}, Joint: true,
		Edit: normBeforeBranch,
	},
	{
		ID: "norm-around-residual", Title: "the norm of a branch applied to the residual sum", Family: catalogue.Norm, Kind: catalogue.Altered,
		Explanation: "The layers compute norm(x + f(x)), where the model has x + norm(f(x)).",
		Fix:         "Normalise the output of attention and of the MLP first, then add it.",
		Refs:        []string{"N20"},
		Edit: func(v *graph.View, n graph.Node) []graph.Node {
			skip, branch, ok := parts(v, n)
			if norm := v.Maker(branch); ok && norm != nil && isNorm(v, *norm) {
				d := newDraft(v, n)
				sum := d.op("add", n.Shape, skip, norm.Operands[0])
				return d.end(renamed(*norm, n).Put(0, sum))
			}
			return nil
		},
	},
	{
		ID: "norm-inside-residual", Title: "the norm of a residual sum applied to the branch alone", Family: catalogue.Norm, Kind: catalogue.Altered,
		Explanation: "The layers compute x + norm(f(x)), where the model has norm(x + f(x)).",
		Fix:         "Add first, then normalise the sum.",
		Refs:        []string{"N20"},
		Edit: func(v *graph.View, n graph.Node) []graph.Node {
			skip, branch, ok := normedSum(v, n)
			if !ok {
				return nil
			}
			d := newDraft(v, n)
			return d.end(n.Become("add", skip, d.put(n.Shape, n.Put(0, branch))))
		},
	},
	{
		ID: "norm-of-branch-missing", Title: "the norms behind attention and MLP left out", Family: catalogue.Norm, Kind: catalogue.Missing,
		Explanation: "The outputs of attention and of the MLP are added as they are.",
		Fix:         "Apply the norm behind attention and the norm behind the MLP before the sum.",
		Refs:        []string{"N20"},
		Edit:        where(isBranchNorm, func(n graph.Node) graph.Node { return n.Pass(n.Operands[0]) }),
	},
	{
		ID: "norm-embedding-missing", Title: "the norm of the embeddings left out", Family: catalogue.Norm, Kind: catalogue.Missing,
		Explanation: "The sum of the embeddings goes to the first layer as it is.",
		Fix:         "Apply the norm behind the embeddings: embeddings.LayerNorm, word_embeddings_layernorm.",
		Refs:        []string{"N21"},
		Edit:        where(isEmbeddingNorm, func(n graph.Node) graph.Node { return n.Pass(n.Operands[0]) }),
	},
	{
		ID: "norm-weight-twice", Title: "the weights of the norms applied twice", Family: catalogue.Norm, Kind: catalogue.Parameters,
		Explanation: "The weight of the norm was multiplied into the next linear layer, and the norm still applies it.",
		Fix:         "Set the weight of a folded norm to one, or do not fold it.",
		Refs:        []string{"W11"},
		Edit: onlyIf(weighted, func(v *graph.View, n graph.Node) []graph.Node {
			if n.Op == "layer_norm" && !n.Operands[2].Absent {
				return nil
			}
			d, weight := newDraft(v, n), n.Operands[1]
			once := d.put(n.Shape, n)
			if n.Attributes.Offset != 0 {
				weight = d.op("add", v.Shape(weight), weight, graph.Number(n.Attributes.Offset))
			}
			return d.end(n.Become("mul", once, weight))
		}),
	},
	{
		ID: "norm-first-for-both", Title: "the first norm of each layer used for both", Family: catalogue.Norm, Kind: catalogue.Parameters,
		Explanation: "The norm before the MLP has the parameters of the norm before attention.",
		Fix:         "Use post_attention_layernorm, ln_2 or norm2 before the MLP.",
		Refs:        []string{"N15"},
		Edit: func(v *graph.View, n graph.Node) []graph.Node {
			other := otherNorm(v, n)
			if other == nil || !before(v, other.Name, n.Name) {
				return nil
			}
			return nodes(n.With(append([]graph.Operand{n.Operands[0]}, other.Operands[1:]...)...))
		},
	},
}

// renamed returns a copy of a node that stands at the place of another.
func renamed(n, place graph.Node) graph.Node {
	n.Name, n.Shape, n.Module, n.Class = place.Name, place.Shape, place.Module, place.Class
	return n
}

// before reports whether a node is computed before another.
func before(v *graph.View, first, second string) bool {
	for _, n := range v.Nodes {
		if n.Name == first || n.Name == second {
			return n.Name == first
		}
	}
	return false
}

// normOnWay returns the norm of x on the way to f(x), nil if there is none.
func normOnWay(v *graph.View, skip, branch graph.Operand) *graph.Node {
	for _, user := range v.Users(skip.Name) {
		if isNorm(v, *user) && v.From(branch, user.Name) {
			return user
		}
	}
	return nil
}

// sumBehind returns the residual sum x + f(x) whose branch contains a node that takes x.
func sumBehind(v *graph.View, n graph.Node, x graph.Operand) *graph.Node {
	for _, user := range v.Users(x.Name) {
		skip, branch, ok := parts(v, *user)
		if ok && skip == x && v.From(branch, n.Name) && graph.LayerPath(user.Module) == graph.LayerPath(n.Module) {
			return user
		}
	}
	return nil
}

func normAfterResidual(v *graph.View, n graph.Node) []graph.Node {
	if graph.LayerPath(n.Module) == "" {
		return nil
	}
	if isNorm(v, n) {
		if sum := sumBehind(v, n, n.Operands[0]); sum == nil {
			return nil
		}
		return nodes(n.Pass(n.Operands[0]))
	}
	skip, branch, ok := parts(v, n)
	if !ok {
		return nil
	}
	norm := normOnWay(v, skip, branch)
	if norm == nil || graph.LayerPath(norm.Module) != graph.LayerPath(n.Module) {
		return nil
	}
	d := newDraft(v, n)
	return d.end(renamed(*norm, n).Put(0, d.put(n.Shape, n)))
}

// normedSum splits the residual sum that a norm of the same layer takes, if no other node takes it.
func normedSum(v *graph.View, n graph.Node) (skip, branch graph.Operand, ok bool) {
	if !isNorm(v, n) || graph.LayerPath(n.Module) == "" {
		return skip, branch, false
	}
	sum := v.Maker(n.Operands[0])
	if sum == nil || len(v.Users(sum.Name)) != 1 || graph.LayerPath(sum.Module) != graph.LayerPath(n.Module) {
		return skip, branch, false
	}
	return parts(v, *sum)
}

func normBeforeBranch(v *graph.View, n graph.Node) []graph.Node {
	if _, _, ok := normedSum(v, n); ok {
		return nodes(n.Pass(n.Operands[0]))
	}
	if len(n.Operands) == 0 {
		return nil
	}
	sum := sumBehind(v, n, n.Operands[0])
	if sum == nil || len(v.Users(sum.Name)) != 1 {
		return nil
	}
	norm := v.Users(sum.Name)[0]
	if _, _, ok := normedSum(v, *norm); !ok {
		return nil
	}
	d := newDraft(v, n)
	return d.end(n.Put(0, d.put(norm.Shape, norm.Put(0, n.Operands[0]))))
}

// isBranchNorm reports whether a residual sum adds a norm's output to x.
func isBranchNorm(v *graph.View, n graph.Node) bool {
	users := v.Users(n.Name)
	if !isNorm(v, n) || len(users) != 1 {
		return false
	}
	_, branch, ok := parts(v, *users[0])
	return ok && branch.Name == n.Name || isResidualFactor(v, *users[0])
}

// isEmbeddingNorm reports whether a norm outside of layers takes nothing that a layer gives.
func isEmbeddingNorm(v *graph.View, n graph.Node) bool {
	if !isNorm(v, n) || graph.LayerPath(n.Module) != "" {
		return false
	}
	ops := upstream(v, n.Operands[0], "")
	return ops["embedding"] && !isFinalNorm(v, n) && !ops["attention"]
}

// otherNorm returns the only other norm of a norm's layer with its width, nil if there are none or
// several.
func otherNorm(v *graph.View, n graph.Node) *graph.Node {
	if !weighted(v, n) || graph.LayerPath(n.Module) == "" || strings.Contains(n.Module, "attn.") {
		return nil
	}
	var found *graph.Node
	for i, other := range v.Nodes {
		if other.Op != n.Op || other.Module == n.Module || !weighted(v, other) ||
			graph.LayerPath(other.Module) != graph.LayerPath(n.Module) || !sameShape(v, other.Operands[1], n.Operands[1]) {
			continue
		}
		if found != nil {
			return nil
		}
		found = &v.Nodes[i]
	}
	return found
}
