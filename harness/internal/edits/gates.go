package edits

import (
	"slices"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/graph"
)

// gates holds mistakes with the parts, limits and constants of a gated MLP, and with squared ReLUs.
var gates = []catalogue.Mistake{
	{
		ID: "activation-relu-squared", Title: "the square of ReLU as the activation", Family: catalogue.Activation, Kind: catalogue.Altered,
		Explanation: "relu(x)^2 was used, where the model has another activation.",
		Fix:         "Read the activation from the configuration: hidden_act.",
		Refs:        []string{"M10"},
		Edit: onlyIf(isActivation, func(v *graph.View, n graph.Node) []graph.Node {
			if squared(v, n) {
				return nil
			}
			d := newDraft(v, n)
			relu := d.op("relu", n.Shape, n.Operands[0])
			return d.end(n.Become("mul", relu, relu))
		}),
	},
	{
		ID: "relu-not-squared", Title: "ReLU for the square of ReLU", Family: catalogue.Activation, Kind: catalogue.Missing,
		Explanation: "The activation is relu(x), where the model has relu(x)^2.",
		Fix:         "Square the output of ReLU: hidden_act is relu2.",
		Refs:        []string{"M10"},
		Edit: func(v *graph.View, n graph.Node) []graph.Node {
			if !isSquare(n) || !v.Made(n.Operands[0], "relu") {
				return nil
			}
			return nodes(n.Pass(n.Operands[0]))
		},
	},
	{
		ID: "gate-up-interleaved", Title: "gate and up taken from every other feature", Family: catalogue.MLP, Kind: catalogue.Layout,
		Explanation: "The fused projection was read as gate, up, gate, up. The model has the gate in the first half.",
		Fix:         "Split the output of gate_up_proj into halves.",
		Refs:        []string{"M06"},
		Edit: onlyIf(isHalf, func(v *graph.View, n graph.Node) []graph.Node {
			whole := 2 * n.Shape[n.Attributes.Dim]
			return nodes(n.Set(func(a *graph.Attributes) {
				a.Start, a.Stop, a.Step = min(a.Start, 1), whole, 2
			}))
		}),
	},
	{
		ID: "gate-up-in-halves", Title: "gate and up taken from the halves", Family: catalogue.MLP, Kind: catalogue.Layout,
		Explanation: "The fused projection was read as a half of gates and a half of ups. The model interleaves them.",
		Fix:         "Take every other feature: gate_up[..., ::2] and gate_up[..., 1::2].",
		Refs:        []string{"M06"},
		Edit: onlyIf(isEveryOther, func(v *graph.View, n graph.Node) []graph.Node {
			half := n.Shape[n.Attributes.Dim]
			return nodes(n.Set(func(a *graph.Attributes) {
				a.Start, a.Step = a.Start*half, 1
				a.Stop = a.Start + half
			}))
		}),
	},
	{
		ID: "gate-limits-missing", Title: "gate and up without their limits", Family: catalogue.MLP, Kind: catalogue.Missing,
		Explanation: "Gate and up are not clamped.",
		Fix:         "Clamp both: swiglu_limit.",
		Refs:        []string{"M08"},
		Edit: where(func(v *graph.View, n graph.Node) bool { return limitsGate(v, n) || limitsUp(v, n) },
			func(n graph.Node) graph.Node { return n.Pass(n.Operands[0]) }),
	},
	{
		ID: "gate-limit-missing", Title: "the gate without its limit", Family: catalogue.MLP, Kind: catalogue.Missing,
		Explanation: "Only up is clamped.",
		Fix:         "Clamp the gate from above, too: swiglu_limit.",
		Refs:        []string{"M08"},
		Edit:        where(limitsGate, func(n graph.Node) graph.Node { return n.Pass(n.Operands[0]) }),
	},
	{
		ID: "up-limit-missing", Title: "up without its limits", Family: catalogue.MLP, Kind: catalogue.Missing,
		Explanation: "Only the gate is clamped.",
		Fix:         "Clamp up from both sides, too: swiglu_limit.",
		Refs:        []string{"M08"},
		Edit:        where(limitsUp, func(n graph.Node) graph.Node { return n.Pass(n.Operands[0]) }),
	},
	{
		ID: "up-offset-missing", Title: "up for up + 1", Family: catalogue.MLP, Kind: catalogue.Missing,
		Explanation: "act(gate) was multiplied by up, where the model multiplies by up + 1, as gpt-oss does.",
		Fix:         "Compute (up + 1) * gate * sigmoid(1.702 * gate).",
		Refs:        []string{"M09"},
		Edit: func(v *graph.View, n graph.Node) []graph.Node {
			one, up, ok := number(n)
			if n.Op != "add" || !ok || one != 1 || !inProduct(v, n) {
				return nil
			}
			return nodes(n.Pass(up))
		},
	},
	{
		ID: "mlp-multiplier-missing", Title: "the MLP without its multipliers", Family: catalogue.MLP, Kind: catalogue.Missing,
		Explanation: "The constants that the MLP multiplies by were left out.",
		Fix:         "Apply mlp_multipliers: one to the gate, one to the output.",
		Refs:        []string{"M18"},
		Edit: withoutFactor(func(v *graph.View, n graph.Node) bool {
			_, x, ok := number(n)
			linear := v.Maker(x)
			return n.Op == "mul" && ok && !isResidualFactor(v, n) && linear != nil && linear.Op == "linear" &&
				(usedBy(v, n.Name, "silu", "gelu", "relu") || inMLP(v, *linear) && graph.LayerPath(n.Module) != "")
		}),
	},
}

// isSquare reports whether a node squares its first operand.
func isSquare(n graph.Node) bool {
	return n.Op == "mul" && n.Operands[0] == n.Operands[1] && n.Operands[0].Name != "" ||
		n.Op == "pow" && n.Operands[1] == graph.Number(2)
}

// squared reports whether a ReLU is squared.
func squared(v *graph.View, n graph.Node) bool {
	users := v.Users(n.Name)
	return n.Op == "relu" && len(users) == 1 && isSquare(*users[0])
}

// inProduct reports whether a node is multiplied by an activation.
func inProduct(v *graph.View, n graph.Node) bool {
	return slices.ContainsFunc(v.Users(n.Name), func(user *graph.Node) bool {
		return user.Op == "mul" && slices.ContainsFunc(user.Operands, func(o graph.Operand) bool {
			function := v.Maker(o)
			return function != nil && function.Name != n.Name && isActivation(v, *function)
		})
	})
}

// activated reports whether an activation takes a value.
func activated(v *graph.View, n graph.Node) bool {
	return slices.ContainsFunc(v.Users(n.Name), func(user *graph.Node) bool { return isActivation(v, *user) })
}

// isPart reports whether a node takes the gate or up from a fused projection, perhaps on the way to
// a limit or an offset.
func isPart(v *graph.View, n graph.Node) bool {
	if n.Op != "slice" || n.Attributes.Dim != len(n.Shape)-1 {
		return false
	}
	for at := &n; ; at = v.Users(at.Name)[0] {
		if activated(v, *at) || inProduct(v, *at) {
			return true
		}
		if users := v.Users(at.Name); len(users) != 1 || users[0].Op != "clamp" && users[0].Op != "add" {
			return false
		}
	}
}

func isHalf(v *graph.View, n graph.Node) bool {
	if !isPart(v, n) {
		return false
	}
	whole, half, a := v.Shape(n.Operands[0]), n.Shape[len(n.Shape)-1], n.Attributes
	return a.Step == 1 && whole[len(whole)-1] == 2*half && (a.Start == 0 || a.Start == half)
}

func isEveryOther(v *graph.View, n graph.Node) bool {
	whole := v.Shape(n.Operands[0])
	a := n.Attributes
	return isPart(v, n) && a.Step == 2 && whole[len(whole)-1] == 2*n.Shape[len(n.Shape)-1] && a.Start < 2
}

func limitsGate(v *graph.View, n graph.Node) bool { return n.Op == "clamp" && activated(v, n) }

// limitsUp reports whether a node clamps up, perhaps before its offset.
func limitsUp(v *graph.View, n graph.Node) bool {
	if n.Op != "clamp" {
		return false
	}
	users := v.Users(n.Name)
	return inProduct(v, n) || len(users) == 1 && users[0].Op == "add" && inProduct(v, *users[0])
}
