package edits

import (
	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/graph"
)

// activations holds mistakes with the function between two linear layers.
var activations = []catalogue.Mistake{
	activation("gelu-erf", "gelu", "none", "the exact GELU", "M01",
		"GELU was computed with erf, where the model has another activation.",
		"Read the activation from the configuration: hidden_act or hidden_activation. gelu_new, "+
			"gelu_fast and gelu_pytorch_tanh are the tanh form."),
	activation("gelu-tanh", "gelu", "tanh", "the tanh form of GELU", "M01",
		"GELU was computed by its tanh approximation, where the model has another activation.",
		"Use erf: torch.nn.functional.gelu(x), without approximate=\"tanh\"."),
	activation("gelu-quick", "quick_gelu", "", "x sigmoid(1.702 x) as the activation", "M02",
		"QuickGELU, which only CLIP and its children have, was used.",
		"Read the activation from the configuration: hidden_act."),
	activation("activation-silu", "silu", "", "SiLU as the activation", "M03",
		"SiLU was used, where the model has another activation.",
		"Read the activation from the configuration: hidden_act or hidden_activation."),
	activation("activation-relu", "relu", "", "ReLU as the activation", "M03",
		"ReLU was used, where the model has another activation.",
		"Read the activation from the configuration: hidden_act or hidden_activation."),
	{
		ID: "activation-missing", Title: "the activation left out", Family: catalogue.Activation, Kind: catalogue.Missing,
		Explanation: "Two linear layers follow one another without a function between them.",
		Fix:         "Apply the activation between the layers of the MLP.",
		Refs:        []string{"M14"},
		Edit:        where(isActivation, func(n graph.Node) graph.Node { return n.Pass(n.Operands[0]) }),
	},
}

var isActivation = isOp("gelu", "quick_gelu", "silu", "relu")

// activation returns the mistake of another activation than the model's.
func activation(id, op, approximate, title, ref, explanation, fix string) catalogue.Mistake {
	fits := func(v *graph.View, n graph.Node) bool {
		return isActivation(v, n) && (n.Op != op || n.Attributes.Approximate != approximate)
	}
	return catalogue.Mistake{
		ID: id, Title: title, Explanation: explanation, Fix: fix,
		Family: catalogue.Activation, Kind: catalogue.Altered, Refs: []string{ref},
		Edit: where(fits, func(n graph.Node) graph.Node {
			n = n.Become(op, n.Operands...)
			n.Attributes.Approximate = approximate
			return n
		}),
	}
}
