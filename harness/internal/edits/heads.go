package edits

import (
	"slices"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/graph"
)

// lmHeads holds mistakes behind the last layer.
var lmHeads = []catalogue.Mistake{
	{
		ID: "head-tied", Title: "the token embeddings as the weight of the head", Family: catalogue.Head, Kind: catalogue.Parameters,
		Explanation: "The head uses the table of token embeddings, and the checkpoint has a weight of its own for it.",
		Fix:         "Load lm_head.weight: tie_word_embeddings is false.",
		Refs:        []string{"E11", "W16"},
		Edit:        headTied,
	},
	{
		ID: "logits-softcap-missing", Title: "the logits without their softcap", Family: catalogue.Head, Kind: catalogue.Missing,
		Explanation: "c tanh(logits / c) was left out.",
		Fix:         "Apply the softcap: final_logit_softcapping.",
		Refs:        []string{"E14"},
		Edit:        softcapMissing,
	},
	{
		ID: "logits-scale-missing", Title: "the logits without their factor", Family: catalogue.Head, Kind: catalogue.Missing,
		Explanation: "The logits are not multiplied or divided by the model's constant.",
		Fix:         "Apply the constant: logit_scale or logits_scaling.",
		Refs:        []string{"E12", "E13"},
		Edit:        withoutFactor(scaledLogits),
	},
}

// headTied gives the last linear layer the table of the token embeddings.
func headTied(v *graph.View, n graph.Node) []graph.Node {
	if n.Op != "linear" || n.Attributes.Weight != "out, in" || !last(v, n) {
		return nil
	}
	for _, table := range v.Nodes {
		if table.Op == "embedding" && v.Input(table.Operands[1]) != "" && table.Operands[0] != n.Operands[1] &&
			sameShape(v, table.Operands[0], n.Operands[1]) {
			return nodes(n.With(n.Operands[0], table.Operands[0], n.Operands[2]))
		}
	}
	return nil
}

// last reports whether only elementwise operations lie between a node and the output.
func last(v *graph.View, n graph.Node) bool {
	for n.Name != v.Output {
		users := v.Users(n.Name)
		if len(users) != 1 || !slices.Contains([]string{"mul", "div", "tanh", "reshape"}, users[0].Op) {
			return false
		}
		n = *users[0]
	}
	return true
}

// softcapMissing leaves c tanh(x / c) out.
func softcapMissing(v *graph.View, n graph.Node) []graph.Node {
	if n.Op != "mul" || n.Operands[1].Name != "" || !v.Made(n.Operands[0], "tanh") {
		return nil
	}
	inner := v.Maker(v.Maker(n.Operands[0]).Operands[0])
	if inner == nil || inner.Op != "div" || inner.Operands[1] != n.Operands[1] {
		return nil
	}
	return nodes(n.Pass(inner.Operands[0]))
}

// scaledLogits reports whether a node multiplies or divides what a linear layer gives by a number,
// as the last operation.
func scaledLogits(v *graph.View, n graph.Node) bool {
	if n.Name != v.Output || n.Op != "mul" && n.Op != "div" {
		return false
	}
	return v.Made(n.Operands[0], "linear") && n.Operands[1].Name == "" ||
		n.Op == "mul" && v.Made(n.Operands[1], "linear") && n.Operands[0].Name == ""
}
