package edits

import (
	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/graph"
)

// mlps holds mistakes with the gate of an MLP: act(gate) times up.
var mlps = []catalogue.Mistake{
	{
		ID: "gate-up-exchanged", Title: "gate and up exchanged", Family: catalogue.MLP, Kind: catalogue.Parameters,
		Explanation: "The activation is applied to the output of up_proj, not of gate_proj.",
		Fix:         "Compute act(gate_proj(x)) * up_proj(x). A fused gate_up_proj has the gate first in most models.",
		Refs:        []string{"M05", "X18"},
		Edit: gated(func(n graph.Node, act, gate, up graph.Operand, function graph.Node) []graph.Node {
			other := function.With(up)
			other.Name = n.Name + "/1"
			return nodes(other, n.With(graph.Value(other.Name), gate))
		}),
	},
	{
		ID: "gate-not-activated", Title: "the activation of the gate left out", Family: catalogue.MLP, Kind: catalogue.Missing,
		Explanation: "Gate and up are multiplied as they are.",
		Fix:         "Compute act(gate_proj(x)) * up_proj(x).",
		Refs:        []string{"M04"},
		Edit: gated(func(n graph.Node, act, gate, up graph.Operand, _ graph.Node) []graph.Node {
			return nodes(n.With(gate, up))
		}),
	},
	{
		ID: "gate-activated-last", Title: "the activation applied to gate times up", Family: catalogue.MLP, Kind: catalogue.Altered,
		Explanation: "The activation stands behind the product, not before it.",
		Fix:         "Compute act(gate_proj(x)) * up_proj(x).",
		Refs:        []string{"M04"},
		Edit: gated(func(n graph.Node, act, gate, up graph.Operand, function graph.Node) []graph.Node {
			product := n.Before(1, "mul", n.Shape, gate, up)
			last := function.With(graph.Value(product.Name))
			last.Name, last.Shape = n.Name, n.Shape
			return nodes(product, last)
		}),
	},
	{
		ID: "gate-and-up-activated", Title: "the activation applied to gate and to up", Family: catalogue.MLP, Kind: catalogue.Altered,
		Explanation: "Both factors go through the activation.",
		Fix:         "Compute act(gate_proj(x)) * up_proj(x).",
		Refs:        []string{"M04"},
		Edit: gated(func(n graph.Node, act, gate, up graph.Operand, function graph.Node) []graph.Node {
			other := function.With(up)
			other.Name = n.Name + "/1"
			return nodes(other, n.With(act, graph.Value(other.Name)))
		}),
	},
	{
		ID: "gate-added", Title: "gate and up added", Family: catalogue.MLP, Kind: catalogue.Altered,
		Explanation: "The two factors of the gated MLP are added.",
		Fix:         "Multiply act(gate_proj(x)) by up_proj(x).",
		Refs:        []string{"M04"},
		Edit: gated(func(n graph.Node, act, gate, up graph.Operand, _ graph.Node) []graph.Node {
			return nodes(n.Become("add", act, up))
		}),
	},
	{
		ID: "gate-missing", Title: "the MLP without its gate", Family: catalogue.MLP, Kind: catalogue.Missing,
		Explanation: "Only act(gate_proj(x)) goes to the last layer of the MLP.",
		Fix:         "Multiply by up_proj(x).",
		Refs:        []string{"M11"},
		Edit: gated(func(n graph.Node, act, gate, up graph.Operand, _ graph.Node) []graph.Node {
			return nodes(n.Pass(act))
		}),
	},
}

// gated returns an edit of a product of an activation and another operand of its shape.
func gated(
	change func(n graph.Node, act, gate, up graph.Operand, function graph.Node) []graph.Node,
) graph.Edit {
	return func(v *graph.View, n graph.Node) []graph.Node {
		if n.Op != "mul" {
			return nil
		}
		for i, act := range n.Operands {
			function, up := v.Maker(act), n.Operands[1-i]
			if function == nil || !isActivation(v, *function) || v.Maker(up) == nil ||
				!sameShape(v, function.Operands[0], up) {
				continue
			}
			return change(n, act, function.Operands[0], up, *function)
		}
		return nil
	}
}
