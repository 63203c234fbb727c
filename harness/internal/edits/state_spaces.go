package edits

import (
	"slices"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/graph"
)

// stateSpaces holds mistakes with selective state spaces, as Mamba has them: a causal convolution,
// the step dt, the decay exp(dt A), and a state that is read by C.
var stateSpaces = []catalogue.Mistake{
	{
		ID: "conv-centred", Title: "causal convolutions padded on both sides", Family: catalogue.StateSpace, Kind: catalogue.Altered,
		Explanation: "Each step sees later steps: half of the kernel lies behind it.",
		Fix:         "Pad with kernel - 1 zeros on the left alone.",
		Refs:        []string{"S02"},
		Edit:        causalCut(func(padding int) int { return padding / 2 }),
	},
	{
		ID: "conv-anticausal", Title: "causal convolutions padded on the right", Family: catalogue.StateSpace, Kind: catalogue.Altered,
		Explanation: "Each step sees later steps, and no earlier one.",
		Fix:         "Keep the first T outputs of the convolution, not the last T.",
		Refs:        []string{"S02"},
		Edit:        causalCut(func(padding int) int { return padding }),
	},
	{
		ID: "ssm-dt-bias-missing", Title: "the bias of dt left out", Family: catalogue.StateSpace, Kind: catalogue.Parameters,
		Explanation: "softplus is applied to dt without its bias.",
		Fix:         "Add dt_bias, or the bias of dt_proj, before softplus.",
		Refs:        []string{"S06"},
		Edit:        dtBias(func(n graph.Node, x, _ graph.Operand) []graph.Node { return nodes(n.Pass(x)) }),
	},
	{
		ID: "ssm-dt-bias-twice", Title: "the bias of dt added twice", Family: catalogue.StateSpace, Kind: catalogue.Parameters,
		Explanation: "dt_proj adds the bias, and the scan adds it again.",
		Fix:         "Add the bias of dt once.",
		Refs:        []string{"S06"},
		Edit: dtBias(func(n graph.Node, x, bias graph.Operand) []graph.Node {
			once := n.Before(1, "add", n.Shape, x, bias)
			return nodes(once, n.Become("add", graph.Value(once.Name), bias))
		}),
	},
	{
		ID: "ssm-softplus-missing", Title: "dt without softplus", Family: catalogue.StateSpace, Kind: catalogue.Missing,
		Explanation: "dt is used as the projection gives it.",
		Fix:         "Apply softplus to dt.",
		Refs:        []string{"S07"},
		Edit:        where(isOp("softplus"), func(n graph.Node) graph.Node { return n.Pass(n.Operands[0]) }),
	},
	{
		ID: "ssm-softplus-exp", Title: "exp for softplus of dt", Family: catalogue.StateSpace, Kind: catalogue.Altered,
		Explanation: "dt is exp(x), where the model has log(1 + exp(x)).",
		Fix:         "Apply softplus to dt.",
		Refs:        []string{"S07"},
		Edit:        where(isOp("softplus"), func(n graph.Node) graph.Node { return n.Become("exp", n.Operands...) }),
	},
	{
		ID: "ssm-softplus-twice", Title: "softplus of dt twice", Family: catalogue.StateSpace, Kind: catalogue.Altered,
		Explanation: "The projection applies softplus, and the scan applies it again.",
		Fix:         "Apply softplus once: dt_softplus of the scan is False then.",
		Refs:        []string{"S07"},
		Edit: onlyIf(isOp("softplus"), func(v *graph.View, n graph.Node) []graph.Node {
			d := newDraft(v, n)
			return d.end(n.With(d.put(n.Shape, n)))
		}),
	},
	{
		ID: "ssm-decay-grows", Title: "A = exp(A_log) without its sign", Family: catalogue.StateSpace, Kind: catalogue.Missing,
		Explanation: "The state grows, where it should decay.",
		Fix:         "Compute A = -exp(A_log).",
		Refs:        []string{"S10"},
		Edit:        where(isDecay, func(n graph.Node) graph.Node { return n.Pass(n.Operands[0]) }),
	},
	{
		ID: "ssm-decay-log", Title: "A = -A_log without exp", Family: catalogue.StateSpace, Kind: catalogue.Missing,
		Explanation: "The stored logarithm was used as it is.",
		Fix:         "Compute A = -exp(A_log).",
		Refs:        []string{"S10"},
		Edit: onlyIf(isDecay, func(v *graph.View, n graph.Node) []graph.Node {
			return nodes(n.With(v.Maker(n.Operands[0]).Operands[0]))
		}),
	},
	{
		ID: "ssm-decay-raw", Title: "A = A_log", Family: catalogue.StateSpace, Kind: catalogue.Missing,
		Explanation: "The stored logarithm was used as A, as it is.",
		Fix:         "Compute A = -exp(A_log).",
		Refs:        []string{"S10"},
		Edit: onlyIf(isDecay, func(v *graph.View, n graph.Node) []graph.Node {
			return nodes(n.Pass(v.Maker(n.Operands[0]).Operands[0]))
		}),
	},
	{
		ID: "ssm-b-c-exchanged", Title: "B and C exchanged", Family: catalogue.StateSpace, Kind: catalogue.Layout,
		Explanation: "The projection was split as dt, C, B.",
		Fix:         "Split the output of x_proj as dt, B, C.",
		Refs:        []string{"S11"},
		Edit:        inScans(inputOutputExchanged),
	},
	{
		ID: "ssm-x-z-exchanged", Title: "the input and the gate of the mixer exchanged", Family: catalogue.StateSpace, Kind: catalogue.Layout,
		Explanation: "The output of in_proj was split as gate, input.",
		Fix:         "Split the output of in_proj as input, gate.",
		Refs:        []string{"S11"},
		Edit:        inScans(inputGateExchanged),
	},
	{
		ID: "ssm-dt-on-input-missing", Title: "B without dt", Family: catalogue.StateSpace, Kind: catalogue.Missing,
		Explanation: "The state takes B x, where the model has dt B x.",
		Fix:         "Multiply B by dt.",
		Refs:        []string{"S12"},
		Edit: inScans(ofTwo(func(v *graph.View, n graph.Node) []graph.Node {
			for i, o := range n.Operands {
				dt, b := source(v, o), source(v, n.Operands[1-i])
				if n.Op == "mul" && dt != nil && dt.Op == "softplus" && b != nil && b.Op == "slice" {
					return nodes(n.Become("expand", n.Operands[1-i]).Set(func(a *graph.Attributes) { a.Shape = n.Shape }))
				}
			}
			return nil
		})),
	},
	{
		ID: "ssm-euler", Title: "1 + dt A for exp(dt A)", Family: catalogue.StateSpace, Kind: catalogue.Altered,
		Explanation: "The decay is the first two terms of the exponential.",
		Fix:         "Compute exp(dt A).",
		Refs:        []string{"S12"},
		Edit: inScans(func(v *graph.View, n graph.Node) []graph.Node {
			if n.Op != "exp" || !v.Made(n.Operands[0], "mul") || !usedBy(v, n.Name, "select") {
				return nil
			}
			return nodes(n.Become("add", n.Operands[0], graph.Number(1)))
		}),
	},
	{
		ID: "ssm-decay-missing", Title: "a state that does not decay", Family: catalogue.StateSpace, Kind: catalogue.Missing,
		Explanation: "Each step adds to the state, which is not multiplied by exp(dt A).",
		Fix:         "Multiply the state by exp(dt A) before adding dt B x.",
		Refs:        []string{"S13"},
		Edit: inScans(ofTwo(func(v *graph.View, n graph.Node) []graph.Node {
			for i, o := range n.Operands {
				if state := n.Operands[1-i]; n.Op == "mul" && isStep(v, o) && !isStep(v, state) && usedBy(v, n.Name, "add") {
					return nodes(n.Become("expand", state).Set(func(a *graph.Attributes) { a.Shape = n.Shape }))
				}
			}
			return nil
		})),
	},
	{
		ID: "ssm-read-before-update", Title: "the state read before it is updated", Family: catalogue.StateSpace, Kind: catalogue.Altered,
		Explanation: "C reads the state of the step before.",
		Fix:         "Update the state first, then read it.",
		Refs:        []string{"S13"},
		Edit: inScans(func(v *graph.View, n graph.Node) []graph.Node {
			state := v.Maker(n.Operands[0])
			if n.Op != "matmul" || state == nil || state.Op != "add" {
				return nil
			}
			for _, o := range state.Operands {
				if decayed := v.Maker(o); decayed != nil && decayed.Op == "mul" {
					for i, step := range decayed.Operands {
						if isStep(v, step) && !isStep(v, decayed.Operands[1-i]) {
							return nodes(n.Put(0, decayed.Operands[1-i]))
						}
					}
				}
			}
			return nil
		}),
	},
	{
		ID: "ssm-skip-missing", Title: "no D x beside the state", Family: catalogue.StateSpace, Kind: catalogue.Parameters,
		Explanation: "C reads the output from the state alone.",
		Fix:         "Add D x to the output.",
		Refs:        []string{"S15"},
		Edit: inScans(ofTwo(func(v *graph.View, n graph.Node) []graph.Node {
			for i, o := range n.Operands {
				skip := v.Maker(o)
				if n.Op != "add" || skip == nil || skip.Op != "mul" || v.Maker(n.Operands[1-i]) == nil {
					continue
				}
				for j, factor := range skip.Operands {
					if _, ok := parameterOf(v, factor); ok && v.Maker(skip.Operands[1-j]) != nil {
						return nodes(n.Pass(n.Operands[1-i]))
					}
				}
			}
			return nil
		})),
	},
	{
		ID: "ssm-gate-missing", Title: "the mixer without its gate", Family: catalogue.StateSpace, Kind: catalogue.Missing,
		Explanation: "The output of the scan is not multiplied by silu(z).",
		Fix:         "Multiply by silu(z), the second half of in_proj.",
		Refs:        []string{"S15"},
		Edit: inScans(func(v *graph.View, n graph.Node) []graph.Node {
			x, _, ok := gatedValue(v, &n)
			if !ok {
				return nil
			}
			return nodes(n.Pass(x))
		}),
	},
	{
		ID: "ssm-gate-sigmoid", Title: "sigmoid for silu in the gate of the mixer", Family: catalogue.StateSpace, Kind: catalogue.Altered,
		Explanation: "The output of the scan is multiplied by sigmoid(z).",
		Fix:         "Multiply by silu(z) = z sigmoid(z).",
		Refs:        []string{"S15"},
		Edit: inScans(func(v *graph.View, n graph.Node) []graph.Node {
			if n.Op != "silu" || len(v.Users(n.Name)) != 1 {
				return nil
			}
			if _, gate, ok := gatedValue(v, v.Users(n.Name)[0]); !ok || gate.Name != n.Name {
				return nil
			}
			return nodes(n.Become("sigmoid", n.Operands...))
		}),
	},
}

// inScans returns an edit of nodes in layers that compute softplus.
func inScans(edit graph.Edit) graph.Edit {
	return func(v *graph.View, n graph.Node) []graph.Node {
		if len(n.Operands) == 0 || len(n.Operands) > 2 {
			return nil
		}
		path := graph.LayerPath(n.Module)
		if !slices.ContainsFunc(v.Nodes, func(m graph.Node) bool { return m.Op == "softplus" && graph.LayerPath(m.Module) == path }) {
			return nil
		}
		return edit(v, n)
	}
}

// ofTwo returns an edit of the nodes with two operands.
func ofTwo(edit graph.Edit) graph.Edit {
	return onlyIf(func(_ *graph.View, n graph.Node) bool { return len(n.Operands) == 2 }, edit)
}

// causalCut returns an edit of where the output of a padded convolution over steps starts.
func causalCut(start func(padding int) int) graph.Edit {
	return func(v *graph.View, n graph.Node) []graph.Node {
		conv := v.Maker(n.Operands[0])
		if n.Op != "slice" || conv == nil || conv.Op != "convolution" || len(conv.Shape) != 3 || n.Attributes.Start != 0 ||
			n.Attributes.Dim != 2 || n.Attributes.Stop+conv.Attributes.Padding[0] != conv.Shape[2] {
			return nil
		}
		from := start(conv.Attributes.Padding[0])
		if from == 0 {
			return nil
		}
		return nodes(n.Set(func(a *graph.Attributes) { a.Start, a.Stop = from, from+a.Stop }))
	}
}

// dtBias returns an edit of the sum of dt and its bias.
func dtBias(change func(n graph.Node, x, bias graph.Operand) []graph.Node) graph.Edit {
	return func(v *graph.View, n graph.Node) []graph.Node {
		if !usedBy(v, n.Name, "softplus") {
			return nil
		}
		if n.Op == "linear" && !n.Operands[2].Absent {
			plain := n.Put(2, graph.None)
			plain.Name += "/0"
			return append(nodes(plain), change(n, graph.Value(plain.Name), n.Operands[2])...)
		}
		for i, o := range n.Operands {
			if _, ok := parameterOf(v, o); n.Op == "add" && ok {
				return change(n, n.Operands[1-i], o)
			}
		}
		return nil
	}
}

// isDecay reports whether a node computes -exp(parameter).
func isDecay(v *graph.View, n graph.Node) bool {
	return n.Op == "neg" && v.Made(n.Operands[0], "exp") && v.Parameter(v.Maker(n.Operands[0]).Operands[0])
}

// isStep reports whether an operand is the decay of one step: an element of exp(dt A).
func isStep(v *graph.View, o graph.Operand) bool {
	n := v.Maker(o)
	return n != nil && n.Op == "select" && v.Made(n.Operands[0], "exp")
}

// inputOutputExchanged exchanges the last two parts of a projection, if they have the same width.
func inputOutputExchanged(v *graph.View, n graph.Node) []graph.Node {
	a := n.Attributes
	if n.Op != "slice" || !v.Made(n.Operands[0], "linear") || a.Step != 1 || a.Dim != len(n.Shape)-1 {
		return nil
	}
	whole, width := v.Shape(n.Operands[0])[a.Dim], a.Stop-a.Start
	if whole <= 2*width || a.Start < whole-2*width || (whole-a.Start)%width != 0 {
		return nil
	}
	return nodes(n.Set(func(a *graph.Attributes) {
		a.Start = 2*whole - 3*width - a.Start
		a.Stop = a.Start + width
	}))
}

// inputGateExchanged exchanges the halves of a projection whose one half goes to a convolution.
func inputGateExchanged(v *graph.View, n graph.Node) []graph.Node {
	a := n.Attributes
	if n.Op != "slice" || a.Step != 1 || v.Shape(n.Operands[0])[a.Dim] != 2*n.Shape[a.Dim] ||
		a.Start%n.Shape[a.Dim] != 0 ||
		!slices.ContainsFunc(v.Users(n.Operands[0].Name), func(m *graph.Node) bool {
			return m.Op == "slice" && convolved(v, m, 3)
		}) {
		return nil
	}
	return nodes(n.Set(func(a *graph.Attributes) {
		a.Start = n.Shape[a.Dim] - a.Start
		a.Stop = a.Start + n.Shape[a.Dim]
	}))
}

// convolved reports whether a convolution takes a value that is only moved on its way.
func convolved(v *graph.View, n *graph.Node, depth int) bool {
	return depth > 0 && slices.ContainsFunc(v.Users(n.Name), func(user *graph.Node) bool {
		return user.Op == "convolution" || (user.Op == "permute" || user.Op == "pad") && convolved(v, user, depth-1)
	})
}
