package edits

import (
	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/graph"
)

// outputs holds mistakes behind the last layer: scales, biases, the pooling of tokens.
var outputs = []catalogue.Mistake{
	{
		ID: "head-input-scale-missing", Title: "the input of the head without its factor", Family: catalogue.Head, Kind: catalogue.Missing,
		Explanation: "The hidden states are not multiplied by the model's constant before the head.",
		Fix:         "Multiply by 1/sqrt(D) where T5 ties the head, or by the constant of the configuration.",
		Refs:        []string{"E12", "E15"},
		Edit: withoutFactor(func(v *graph.View, n graph.Node) bool {
			_, x, ok := number(n)
			users := v.Users(n.Name)
			return (n.Op == "mul" || n.Op == "div" && n.Operands[0] == x) && ok && v.Maker(x) != nil &&
				len(users) == 1 && users[0].Op == "linear" && last(v, *users[0])
		}),
	},
	{
		ID: "logits-scale-inverted", Title: "the logits divided by their factor, or multiplied by their divisor",
		Family: catalogue.Head, Kind: catalogue.Altered,
		Explanation: "The constant of the logits was applied the other way.",
		Fix:         "Granite divides by logits_scaling, Cohere multiplies by logit_scale.",
		Refs:        []string{"E13"},
		Edit: onlyIf(scaledLogits, func(_ *graph.View, n graph.Node) []graph.Node {
			factor, x, _ := number(n)
			op := map[string]string{"mul": "div", "div": "mul"}[n.Op]
			return nodes(n.Become(op, x, graph.Number(factor)))
		}),
	},
	{
		ID: "head-bias-twice", Title: "the bias of the head added twice", Family: catalogue.Head, Kind: catalogue.Parameters,
		Explanation: "The head adds its bias, and the model adds it again.",
		Fix:         "Add the bias of the head once.",
		Refs:        []string{"E16"},
		Edit:        biasTwice(last),
	},
	{
		ID: "pool-last-token", Title: "the last token for the first", Family: catalogue.Head, Kind: catalogue.Altered,
		Explanation: "The output is taken from the last token.",
		Fix:         "Take the first token, CLS.",
		Refs:        []string{"E22"},
		Edit: onlyIf(takesFirst, func(v *graph.View, n graph.Node) []graph.Node {
			tokens := v.Shape(n.Operands[0])[1]
			return nodes(n.Set(func(a *graph.Attributes) { a.Index = tokens - 1 }))
		}),
	},
	{
		ID: "pool-mean-of-tokens", Title: "the mean of the tokens for the first", Family: catalogue.Head, Kind: catalogue.Altered,
		Explanation: "The output is the mean over the tokens.",
		Fix:         "Take the first token, CLS.",
		Refs:        []string{"E22"},
		Edit: where(takesFirst, func(n graph.Node) graph.Node {
			return n.Become("mean", n.Operands...).Set(func(a *graph.Attributes) { a.Dims = []int{1} })
		}),
	},
	{
		ID: "pool-first-token", Title: "the first token for the mean of the tokens", Family: catalogue.Head, Kind: catalogue.Altered,
		Explanation: "The output is taken from the first token.",
		Fix:         "Take the mean over the tokens.",
		Refs:        []string{"E22"},
		Edit: func(v *graph.View, n graph.Node) []graph.Node {
			x, ok := meanOfTokens(v, n)
			if !ok {
				return nil
			}
			return nodes(n.Become("select", x).Set(func(a *graph.Attributes) { a.Dim = 1 }))
		},
	},
	{
		ID: "pool-mean-with-padding", Title: "the mean of the tokens with padded ones", Family: catalogue.Head, Kind: catalogue.Altered,
		Explanation: "Padded tokens are part of the mean.",
		Fix:         "Add up the tokens where attention_mask is 1, and divide by their number.",
		Refs:        []string{"E22"},
		Edit: func(v *graph.View, n graph.Node) []graph.Node {
			x, ok := meanOfTokens(v, n)
			if !ok || n.Op == "mean" {
				return nil
			}
			return nodes(n.Become("mean", x).Set(func(a *graph.Attributes) { a.Dims = []int{1} }))
		},
	},
	{
		ID: "pooler-tanh-missing", Title: "the pooler without tanh", Family: catalogue.Head, Kind: catalogue.Missing,
		Explanation: "The output of the pooler's linear layer is used as it is.",
		Fix:         "Apply tanh behind pooler.dense.",
		Refs:        []string{"E24"},
		Edit: func(v *graph.View, n graph.Node) []graph.Node {
			if n.Op != "tanh" || !v.Made(n.Operands[0], "linear") || graph.LayerPath(n.Module) != "" {
				return nil
			}
			return nodes(n.Pass(n.Operands[0]))
		},
	},
	{
		ID: "l2-normalization-missing", Title: "embeddings that are not normalised", Family: catalogue.Head, Kind: catalogue.Missing,
		Explanation: "The output is not divided by its L2 norm.",
		Fix:         "Divide each row by its norm: torch.nn.functional.normalize.",
		Refs:        []string{"E23"},
		Edit: func(v *graph.View, n graph.Node) []graph.Node {
			if n.Op != "div" || n.Operands[0].Name == "" || n.Operands[1].Name == "" || graph.LayerPath(n.Module) != "" {
				return nil
			}
			var sums, means bool
			for _, m := range v.Between(n.Operands[1], n.Operands[0].Name) {
				sums, means = sums || m.Op == "sum", means || m.Op == "mean"
			}
			if !sums || means || v.Maker(n.Operands[0]) == nil {
				return nil
			}
			return nodes(n.Pass(n.Operands[0]))
		},
	},
}

// takesFirst reports whether a node takes the first of the tokens (B, T, D), outside of layers.
func takesFirst(v *graph.View, n graph.Node) bool {
	x := v.Shape(n.Operands[0])
	return n.Op == "select" && n.Attributes.Dim == 1 && n.Attributes.Index == 0 && len(x) == 3 && x[1] > 1 &&
		graph.LayerPath(n.Module) == "" && v.Maker(n.Operands[0]) != nil
}

// meanOfTokens returns the tokens (B, T, D) whose mean a node takes, perhaps with weights.
func meanOfTokens(v *graph.View, n graph.Node) (graph.Operand, bool) {
	if graph.LayerPath(n.Module) != "" || len(n.Shape) != 2 || len(n.Operands) == 0 {
		return graph.None, false
	}
	sum := v.Maker(n.Operands[0])
	if n.Op == "mean" && len(v.Shape(n.Operands[0])) == 3 && len(n.Attributes.Dims) == 1 && n.Attributes.Dims[0] == 1 {
		return n.Operands[0], true
	}
	if n.Op != "div" || sum == nil || sum.Op != "sum" || len(sum.Attributes.Dims) != 1 || sum.Attributes.Dims[0] != 1 {
		return graph.None, false
	}
	product := v.Maker(sum.Operands[0])
	if product == nil || product.Op != "mul" || len(product.Shape) != 3 {
		return graph.None, false
	}
	for i, o := range product.Operands {
		if sameShape(v, o, graph.Value(product.Name)) && v.Maker(o) != nil && v.Maker(o).Op != "expand" {
			return product.Operands[i], true
		}
	}
	return graph.None, false
}

// biasTwice returns an edit that adds the biases of the linear layers that fit once more.
func biasTwice(fits func(*graph.View, graph.Node) bool) graph.Edit {
	return func(v *graph.View, n graph.Node) []graph.Node {
		if n.Op != "linear" || n.Operands[2].Absent || !fits(v, n) {
			return nil
		}
		d := newDraft(v, n)
		return d.end(n.Become("add", d.put(n.Shape, n), n.Operands[2]))
	}
}
