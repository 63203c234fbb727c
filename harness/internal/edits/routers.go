package edits

import (
	"slices"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/graph"
)

// routers holds mistakes with the choice of experts and with their weights.
var routers = []catalogue.Mistake{
	{
		ID: "router-renormalisation-missing", Title: "the weights of the chosen experts not divided by their sum",
		Family: catalogue.Expert, Kind: catalogue.Missing,
		Explanation: "The weights of the chosen experts add up to less than one.",
		Fix:         "Divide them by their sum: norm_topk_prob is true.",
		Refs:        []string{"X01"},
		Edit:        where(renormalises, func(n graph.Node) graph.Node { return n.Pass(n.Operands[0]) }),
	},
	{
		ID: "router-renormalisation-added", Title: "the weights of the chosen experts divided by their sum",
		Family: catalogue.Expert, Kind: catalogue.Altered,
		Explanation: "The weights of the chosen experts add up to one. The model leaves them as they are.",
		Fix:         "Use them as they are: norm_topk_prob is false.",
		Refs:        []string{"X01"},
		Edit: func(v *graph.View, n graph.Node) []graph.Node {
			if !isChosen(v, n) || usedBy(v, n.Name, "div", "sum") {
				return nil
			}
			d := newDraft(v, n)
			chosen, column := d.put(n.Shape, n), slices.Clone(n.Shape)
			column[len(column)-1] = 1
			sum := d.set("sum", column, chosen, func(a *graph.Attributes) { a.Dims, a.Keep = []int{len(column) - 1}, true })
			return d.end(n.Become("div", chosen, sum))
		},
	},
	{
		ID: "router-softmax-missing", Title: "router logits as the weights of experts", Family: catalogue.Expert, Kind: catalogue.Missing,
		Explanation: "The outputs of the router are used without a softmax.",
		Fix:         "Apply softmax to the logits of the router.",
		Refs:        []string{"X03"},
		Edit:        where(routerOp("softmax"), func(n graph.Node) graph.Node { return n.Pass(n.Operands[0]) }),
	},
	{
		ID: "router-sigmoid", Title: "sigmoid for softmax in the router", Family: catalogue.Expert, Kind: catalogue.Altered,
		Explanation: "Each expert is scored on its own.",
		Fix:         "Apply softmax over the experts: scoring_func.",
		Refs:        []string{"X06"},
		Edit:        where(routerOp("softmax"), func(n graph.Node) graph.Node { return n.Become("sigmoid", n.Operands...) }),
	},
	{
		ID: "router-softmax", Title: "softmax for sigmoid in the router", Family: catalogue.Expert, Kind: catalogue.Altered,
		Explanation: "The scores of the experts add up to one.",
		Fix:         "Apply sigmoid to each logit: scoring_func.",
		Refs:        []string{"X06"},
		Edit: where(routerOp("sigmoid"), func(n graph.Node) graph.Node {
			return n.Become("softmax", n.Operands...).Set(func(a *graph.Attributes) { a.Dim = len(n.Shape) - 1 })
		}),
	},
	{
		ID: "router-over-tokens", Title: "the softmax of the router over tokens", Family: catalogue.Expert, Kind: catalogue.Altered,
		Explanation: "The scores of each expert add up to one over the tokens.",
		Fix:         "Apply softmax over the last dimension, the experts.",
		Refs:        []string{"X21"},
		Edit: where(routerOp("softmax"), func(n graph.Node) graph.Node {
			return n.Set(func(a *graph.Attributes) { a.Dim = len(n.Shape) - 2 })
		}),
	},
	{
		ID: "router-bias-in-weights", Title: "the bias of the choice in the weights of experts", Family: catalogue.Expert, Kind: catalogue.Altered,
		Explanation: "The weights are taken from scores plus bias. The bias is for the choice alone.",
		Fix:         "Choose by scores + e_score_correction_bias, and weight by the scores.",
		Refs:        []string{"X04"},
		Edit: func(v *graph.View, n graph.Node) []graph.Node {
			if n.Op != "gather" || !v.Made(n.Operands[1], "topk_indices") {
				return nil
			}
			for _, user := range v.Users(n.Operands[0].Name) {
				if addsChoiceBias(v, *user) && v.From(n.Operands[1], user.Name) {
					return nodes(n.Put(0, graph.Value(user.Name)))
				}
			}
			return nil
		},
	},
	{
		ID: "router-bias-missing", Title: "experts chosen without the bias", Family: catalogue.Expert, Kind: catalogue.Parameters,
		Explanation: "The experts are chosen by their scores alone.",
		Fix:         "Add e_score_correction_bias to the scores before the choice.",
		Refs:        []string{"X05"},
		Edit:        where(addsChoiceBias, func(n graph.Node) graph.Node { return n.Pass(n.Operands[0]) }),
	},
	{
		ID: "router-factor-missing", Title: "the weights of experts without their factor", Family: catalogue.Expert, Kind: catalogue.Missing,
		Explanation: "The weights are not multiplied by the model's constant.",
		Fix:         "Multiply by routed_scaling_factor.",
		Refs:        []string{"X07"},
		Edit:        withoutFactor(scalesChosen),
	},
	{
		ID: "router-factor-twice", Title: "the weights of experts with their factor twice", Family: catalogue.Expert, Kind: catalogue.Altered,
		Explanation: "The weights are multiplied twice by the model's constant.",
		Fix:         "Multiply once by routed_scaling_factor: in the router or behind the experts.",
		Refs:        []string{"X07"},
		Edit: onlyIf(scalesChosen, func(v *graph.View, n graph.Node) []graph.Node {
			d := newDraft(v, n)
			factor, _, _ := number(n)
			return d.end(n.Become("mul", d.put(n.Shape, n), graph.Number(factor)))
		}),
	},
	{
		ID: "router-groups-ignored", Title: "experts chosen without their groups", Family: catalogue.Expert, Kind: catalogue.Missing,
		Explanation: "The experts are chosen among all groups.",
		Fix:         "Choose the best topk_group groups first, and experts among those alone.",
		Refs:        []string{"X08"},
		Edit: func(v *graph.View, n graph.Node) []graph.Node {
			if n.Op != "where" || !usedBy(v, n.Name, "topk_indices") {
				return nil
			}
			for i, o := range n.Operands[1:] {
				if v.Maker(o) != nil && v.Maker(n.Operands[2-i]) == nil {
					return nodes(n.Pass(o))
				}
			}
			return nil
		},
	},
	{
		ID: "router-group-by-best", Title: "groups of experts chosen by their best expert", Family: catalogue.Expert, Kind: catalogue.Altered,
		Explanation: "The score of a group is its largest score, not the sum of the two largest.",
		Fix:         "Add the two largest scores of each group.",
		Refs:        []string{"X08"},
		Edit: func(v *graph.View, n graph.Node) []graph.Node {
			best := v.Maker(n.Operands[0])
			if n.Op != "sum" || best == nil || best.Op != "topk" || n.Attributes.Keep || len(best.Shape) < 3 {
				return nil
			}
			return nodes(n.Become("max", best.Operands[0]).Set(func(a *graph.Attributes) {
				a.Dims = []int{len(best.Shape) - 1}
			}))
		},
	},
	{
		ID: "router-one-fewer", Title: "one expert fewer for each token", Family: catalogue.Expert, Kind: catalogue.Altered,
		Explanation: "The last of the chosen experts has no weight.",
		Fix:         "Choose num_experts_per_tok experts.",
		Refs:        []string{"X14"},
		Edit: func(v *graph.View, n graph.Node) []graph.Node {
			if !isChosen(v, n) || n.Shape[len(n.Shape)-1] < 2 {
				return nil
			}
			d, dim := newDraft(v, n), len(n.Shape)-1
			count := n.Shape[dim]
			chosen := d.put(n.Shape, n)
			kept := d.slice(chosen, n.Shape, dim, 0, count-1)
			column := slices.Clone(n.Shape)
			column[dim] = 1
			none := d.op("mul", column, d.slice(chosen, n.Shape, dim, count-1, count), graph.Number(0))
			return d.end(n.Become("cat", kept, none).Set(func(a *graph.Attributes) { a.Dim = dim }))
		},
	},
	{
		ID: "router-one-more", Title: "one expert more for each token", Family: catalogue.Expert, Kind: catalogue.Altered,
		Explanation: "The next best expert is chosen, too.",
		Fix:         "Choose num_experts_per_tok experts.",
		Refs:        []string{"X14"}, Edit: oneMoreExpert,
	},
	{
		ID: "router-weights-equal", Title: "equal weights of the chosen experts", Family: catalogue.Expert, Kind: catalogue.Altered,
		Explanation: "The outputs of the chosen experts are averaged.",
		Fix:         "Multiply the output of each expert by its score.",
		Edit: func(v *graph.View, n graph.Node) []graph.Node {
			if !isChosen(v, n) || n.Shape[len(n.Shape)-1] < 2 {
				return nil
			}
			d := newDraft(v, n)
			none := d.op("mul", n.Shape, d.put(n.Shape, n), graph.Number(0))
			return d.end(n.Become("add", none, graph.Number(1/float64(n.Shape[len(n.Shape)-1]))))
		},
	},
	{
		ID: "router-input-not-normed", Title: "the router on the input of the norm", Family: catalogue.Expert, Kind: catalogue.Altered,
		Explanation: "The router scores experts for x, where the model gives it norm(x).",
		Fix:         "Give the router the output of the norm before the MLP.",
		Refs:        []string{"X23"},
		Edit: func(v *graph.View, n graph.Node) []graph.Node {
			norm := source(v, n.Operands[0])
			if n.Op != "linear" || norm == nil || !isNorm(v, *norm) || !isRouter(v, n) {
				return nil
			}
			d := newDraft(v, n)
			return d.end(n.Put(0, d.reshape(norm.Operands[0], v.Shape(n.Operands[0])...)))
		},
	},
	{
		ID: "expert-weight-on-input", Title: "the weights of experts applied to their inputs", Family: catalogue.Expert, Kind: catalogue.Altered,
		Explanation: "Each expert gets w x, where the model multiplies its output by w.",
		Fix:         "Multiply the output of the expert.",
		Refs:        []string{"X19"},
		Edit:        weightOnInput,
	},
	{
		ID: "experts-transposed", Title: "the square weights of experts transposed", Family: catalogue.Expert, Kind: catalogue.Layout,
		Explanation: "Stacked weights (experts, in, out) were read as (experts, out, in), or the reverse.",
		Fix:         "Look at the layout of gate_up_proj and down_proj: it differs between models.",
		Refs:        []string{"X17"},
		Edit: func(v *graph.View, n graph.Node) []graph.Node {
			w := v.Shape(n.Operands[0])
			if n.Op != "index" || !v.Parameter(n.Operands[0]) || len(w) != 3 || w[1] != w[2] {
				return nil
			}
			d := newDraft(v, n)
			return d.end(n.Put(0, d.permute(n.Operands[0], w, 0, 2, 1)))
		},
	},
	{
		ID: "experts-sorted-as-words", Title: "the experts in the order 0, 1, 10, 11, 2", Family: catalogue.Expert, Kind: catalogue.Parameters,
		Explanation: "The keys of the state dict were sorted as words.",
		Fix:         "Sort experts by their numbers.",
		Refs:        []string{"X15"},
		Edit: func(v *graph.View, n graph.Node) []graph.Node {
			w := v.Shape(n.Operands[0])
			if n.Op != "index" || !v.Parameter(n.Operands[0]) || len(w) < 2 || w[0] < 11 || w[0] > maxOrder {
				return nil
			}
			order := make([]int, w[0])
			for i := range order {
				order[i] = wordOrder(i, w[0])
			}
			d := newDraft(v, n)
			return d.end(n.Put(0, d.order(n.Operands[0], w, 0, order)))
		},
	},
	{
		ID: "shared-expert-missing", Title: "no shared expert", Family: catalogue.Expert, Kind: catalogue.Missing,
		Explanation: "Only the chosen experts are added.",
		Fix:         "Add the output of shared_experts, which every token uses.",
		Refs:        []string{"X10"},
		Edit: func(v *graph.View, n graph.Node) []graph.Node {
			routed, _, ok := withShared(v, n)
			if !ok {
				return nil
			}
			return nodes(n.Pass(routed))
		},
	},
	{
		ID: "shared-gate-missing", Title: "the shared expert without its gate", Family: catalogue.Expert, Kind: catalogue.Missing,
		Explanation: "The output of the shared expert is added as it is.",
		Fix:         "Multiply it by sigmoid(shared_expert_gate(x)).",
		Refs:        []string{"X11"},
		Edit: func(v *graph.View, n graph.Node) []graph.Node {
			if n.Op != "mul" {
				return nil
			}
			for i, o := range n.Operands {
				if gate := v.Maker(o); gate != nil && isSharedGate(v, *gate) && slices.Equal(v.Shape(n.Operands[1-i]), n.Shape) {
					return nodes(n.Pass(n.Operands[1-i]))
				}
			}
			return nil
		},
	},
	{
		ID: "shared-gate-linear", Title: "the gate of the shared expert without its sigmoid", Family: catalogue.Expert, Kind: catalogue.Missing,
		Explanation: "The output of the shared expert is multiplied by shared_expert_gate(x).",
		Fix:         "Apply sigmoid to the gate.",
		Refs:        []string{"X11"},
		Edit:        where(isSharedGate, func(n graph.Node) graph.Node { return n.Pass(n.Operands[0]) }),
	},
}

// routerOp returns a condition: a node of this operator scores experts, or weights the chosen ones.
func routerOp(op string) func(*graph.View, graph.Node) bool {
	return func(v *graph.View, n graph.Node) bool {
		return n.Op == op && (v.Made(n.Operands[0], "linear") && choosesBy(v, n, 4) || v.Made(n.Operands[0], "topk"))
	}
}

// isRouter reports whether a linear layer scores experts.
func isRouter(v *graph.View, n graph.Node) bool { return n.Op == "linear" && choosesBy(v, n, 5) }

// choosesBy reports whether the largest elements of a value are chosen, perhaps after a bias, a
// mask or a reshape.
func choosesBy(v *graph.View, n graph.Node, depth int) bool {
	return depth > 0 && slices.ContainsFunc(v.Users(n.Name), func(user *graph.Node) bool {
		switch user.Op {
		case "topk", "topk_indices":
			return true
		case "softmax", "sigmoid", "add", "where", "reshape":
			return choosesBy(v, *user, depth-1)
		}
		return false
	})
}

// isChosen reports whether a node takes the scores of the chosen experts, with their softmax or
// sigmoid.
func isChosen(v *graph.View, n graph.Node) bool {
	return (n.Op == "topk" || n.Op == "gather") && len(n.Shape) > 0 && n.Attributes.Dim == len(n.Shape)-1 &&
		(v.Made(n.Operands[0], "softmax") || v.Made(n.Operands[0], "sigmoid")) &&
		(n.Op == "gather" || !usedBy(v, n.Name, "softmax"))
}

// renormalises reports whether a node divides the scores of the chosen experts by their sum.
func renormalises(v *graph.View, n graph.Node) bool {
	if n.Op != "div" || n.Operands[1].Name == "" {
		return false
	}
	chosen := v.Maker(n.Operands[0])
	return chosen != nil && isChosen(v, *chosen) && v.From(n.Operands[1], chosen.Name)
}

// addsChoiceBias reports whether a node adds a parameter to scores for the choice.
func addsChoiceBias(v *graph.View, n graph.Node) bool {
	return n.Op == "add" && (v.Made(n.Operands[0], "sigmoid") || v.Made(n.Operands[0], "softmax")) &&
		v.Parameter(n.Operands[1]) && choosesBy(v, n, 4)
}

// scalesChosen reports whether a node multiplies the weights of the chosen experts by a number.
func scalesChosen(v *graph.View, n graph.Node) bool {
	_, x, ok := number(n)
	weights := v.Maker(x)
	return n.Op == "mul" && ok && weights != nil && (isChosen(v, *weights) || renormalises(v, *weights))
}

// weightOnInput multiplies the tokens that are repeated for their experts by the weights that the
// outputs have.
func weightOnInput(v *graph.View, n graph.Node) []graph.Node {
	weighting := func(n graph.Node) (weights, output graph.Operand, ok bool) {
		for i, o := range n.Operands {
			column := v.Maker(o)
			if n.Op == "mul" && column != nil && column.Op == "reshape" && v.Maker(n.Operands[1-i]) != nil {
				chosen := v.Maker(column.Operands[0])
				if chosen != nil && (isChosen(v, *chosen) || renormalises(v, *chosen) || scalesChosen(v, *chosen)) {
					return column.Operands[0], n.Operands[1-i], true
				}
			}
		}
		return weights, output, false
	}
	if _, output, ok := weighting(n); ok {
		return nodes(n.Pass(output))
	}
	if n.Op != "repeat_interleave" || n.Attributes.Dim != 0 || len(n.Shape) != 2 {
		return nil
	}
	for _, product := range v.Nodes {
		weights, output, ok := weighting(product)
		if !ok || !v.From(output, n.Name) || product.Module != n.Module || !before(v, weights.Name, n.Name) {
			continue
		}
		d := newDraft(v, n)
		return d.end(n.Become("mul", d.put(n.Shape, n), d.reshape(weights, n.Shape[0], 1)))
	}
	return nil
}

// withShared splits a sum of chosen experts and of a shared one.
func withShared(v *graph.View, n graph.Node) (routed, shared graph.Operand, ok bool) {
	if n.Op != "add" || n.Operands[0].Name == "" || n.Operands[1].Name == "" || graph.LayerPath(n.Module) == "" {
		return routed, shared, false
	}
	for i, o := range n.Operands {
		a, b := upstream(v, o, graph.LayerPath(n.Module)), upstream(v, n.Operands[1-i], graph.LayerPath(n.Module))
		if a["topk_indices"] && !b["topk_indices"] && (b["silu"] || b["gelu"]) && b["linear"] &&
			sameShape(v, o, n.Operands[1-i]) && !choosesBy(v, n, 4) && !v.From(o, n.Operands[1-i].Name) {
			return o, n.Operands[1-i], true
		}
	}
	return routed, shared, false
}

func isSharedGate(v *graph.View, n graph.Node) bool {
	return n.Op == "sigmoid" && len(n.Shape) > 1 && n.Shape[len(n.Shape)-1] == 1 && v.Made(n.Operands[0], "linear") &&
		usedBy(v, n.Name, "mul")
}
