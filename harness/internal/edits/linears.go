package edits

import (
	"slices"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/graph"
)

// linears holds mistakes with the weights and biases of linear layers.
var linears = []catalogue.Mistake{
	{
		ID: "linear-transposed", Title: "the square weights transposed", Family: catalogue.Linear, Kind: catalogue.Layout,
		Explanation: "x W was computed for x W^T, or the reverse. Only square weights let this pass.",
		Fix: "torch.nn.Linear stores (out, in): compute x W^T. Conv1D of GPT-2 stores (in, out): " +
			"compute x W.",
		Refs: []string{"W01", "W02"},
		Edit: where(squareLinear, func(n graph.Node) graph.Node {
			return n.Set(func(a *graph.Attributes) {
				a.Weight = map[string]string{"out, in": "in, out", "in, out": "out, in"}[a.Weight]
			})
		}),
	},
	{
		ID: "linear-bias-missing", Title: "the biases of the linear layers left out", Family: catalogue.Linear, Kind: catalogue.Parameters,
		Explanation: "No linear layer adds its bias.",
		Fix:         "Load the biases, and add them.",
		Refs:        []string{"M12"},
		Edit:        biasMissing(isOp("linear")),
	},
	{
		ID: "mlp-bias-missing", Title: "the biases of the MLP left out", Family: catalogue.Linear, Kind: catalogue.Parameters,
		Explanation: "The linear layers of the MLP do not add their biases.",
		Fix:         "Load the biases of the MLP, and add them.",
		Refs:        []string{"M12"},
		Edit:        biasMissing(inMLP),
	},
	{
		ID: "attention-bias-missing", Title: "the biases of the attention projections left out", Family: catalogue.Linear, Kind: catalogue.Parameters,
		Explanation: "The projections of queries, keys, values and output do not add their biases.",
		Fix:         "Load the biases of the projections, and add them.",
		Refs:        []string{"M12"},
		Edit:        biasMissing(inAttention),
	},
	{
		ID: "mlp-up-bias-missing", Title: "the biases of the first layer of the MLP left out", Family: catalogue.Linear, Kind: catalogue.Parameters,
		Explanation: "The layer before the activation does not add its bias.",
		Fix:         "Load the bias of fc1, c_fc or up_proj, and add it.",
		Refs:        []string{"M12"},
		Edit:        biasMissing(func(v *graph.View, n graph.Node) bool { return graph.LayerPath(n.Module) != "" && activated(v, n) }),
	},
	{
		ID: "mlp-down-bias-missing", Title: "the biases of the last layer of the MLP left out", Family: catalogue.Linear, Kind: catalogue.Parameters,
		Explanation: "The layer behind the activation does not add its bias.",
		Fix:         "Load the bias of fc2, c_proj or down_proj, and add it.",
		Refs:        []string{"M12"},
		Edit: biasMissing(func(v *graph.View, n graph.Node) bool {
			return graph.LayerPath(n.Module) != "" && inMLP(v, n) && !activated(v, n) && !usedBy(v, n.Name, "mul")
		}),
	},
	{
		ID: "branch-bias-twice", Title: "the biases of the output projections added twice", Family: catalogue.Linear, Kind: catalogue.Parameters,
		Explanation: "Each of two parallel ranks adds the bias of the attention output and of the MLP output.",
		Fix:         "Add the bias behind the sum over ranks, or on one rank alone.",
		Refs:        []string{"M12", "W14", "Z09"},
		Edit:        biasTwice(isBranch),
	},
	{
		ID: "head-bias-missing", Title: "the bias of the head left out", Family: catalogue.Linear, Kind: catalogue.Parameters,
		Explanation: "The last linear layer does not add its bias.",
		Fix:         "Load the bias of the head, and add it.",
		Refs:        []string{"E16"},
		Edit:        biasMissing(last),
	},
}

// biasMissing returns an edit that leaves out the biases of the linear layers that fit.
func biasMissing(fits func(*graph.View, graph.Node) bool) graph.Edit {
	biased := func(v *graph.View, n graph.Node) bool {
		return n.Op == "linear" && !n.Operands[2].Absent && fits(v, n)
	}
	return where(biased, func(n graph.Node) graph.Node { return n.With(n.Operands[0], n.Operands[1], graph.None) })
}

func squareLinear(v *graph.View, n graph.Node) bool {
	if n.Op != "linear" {
		return false
	}
	w := v.Shape(n.Operands[1])
	return w[0] == w[1]
}

// shapers are operators that only move elements.
var shapers = []string{"reshape", "permute", "slice", "select", "expand", "cat", "repeat_interleave", "rotary", "rms_norm", "layer_norm"}

// inMLP reports whether an activation takes what a linear layer gives, or makes what it takes.
func inMLP(v *graph.View, n graph.Node) bool {
	near := func(m *graph.Node) bool { return m != nil && (isActivation(v, *m) || m.Op == "mul") }
	maker := v.Maker(n.Operands[0])
	return near(maker) || slices.ContainsFunc(v.Users(n.Name), near)
}

// inAttention reports whether a linear layer gives queries, keys or values, or takes merged heads.
func inAttention(v *graph.View, n graph.Node) bool {
	for maker := v.Maker(n.Operands[0]); maker != nil; maker = v.Maker(maker.Operands[0]) {
		if maker.Op == "attention" {
			return true
		}
		if maker.Op != "reshape" && maker.Op != "permute" {
			break
		}
	}
	return feedsAttention(v, &n, 8)
}

// feedsAttention reports whether attention takes a value that is only moved on its way.
func feedsAttention(v *graph.View, n *graph.Node, depth int) bool {
	return depth > 0 && slices.ContainsFunc(v.Users(n.Name), func(user *graph.Node) bool {
		return user.Op == "attention" || slices.Contains(shapers, user.Op) && feedsAttention(v, user, depth-1)
	})
}
