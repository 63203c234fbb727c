package edits

import (
	"slices"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/graph"
)

// shortParameters holds mistakes whose parameters have fewer bits than float32. The arithmetic is
// float32.
var shortParameters = []catalogue.Mistake{
	{
		ID: "parameters-bfloat16", Title: "all parameters rounded to bfloat16", Family: catalogue.Linear, Kind: catalogue.Rounded,
		Explanation: "The parameters passed through bfloat16, as in a checkpoint of that type.",
		Fix:         "Load the float32 parameters of the case.",
		Edit:        roundingParameters("bfloat16", anyNode),
	},
	{
		ID: "parameters-float16", Title: "all parameters rounded to float16", Family: catalogue.Linear, Kind: catalogue.Rounded,
		Explanation: "The parameters passed through float16, as in a checkpoint of that type.",
		Fix:         "Load the float32 parameters of the case.",
		Edit:        roundingParameters("float16", anyNode),
	},
	{
		ID: "linear-parameters-bfloat16", Title: "the parameters of the linear layers rounded to bfloat16", Family: catalogue.Linear, Kind: catalogue.Rounded,
		Explanation: "The weights and biases of the linear layers passed through bfloat16.",
		Fix:         "Load the float32 parameters of the case.",
		Edit:        roundingParameters("bfloat16", isOp("linear")),
	},
	{
		ID: "linear-parameters-float16", Title: "the parameters of the linear layers rounded to float16", Family: catalogue.Linear, Kind: catalogue.Rounded,
		Explanation: "The weights and biases of the linear layers passed through float16.",
		Fix:         "Load the float32 parameters of the case.",
		Edit:        roundingParameters("float16", isOp("linear")),
	},
}

func anyNode(*graph.View, graph.Node) bool { return true }

// roundingParameters returns an edit that rounds the parameters that nodes take.
func roundingParameters(op string, fits func(*graph.View, graph.Node) bool) graph.Edit {
	return onlyIf(fits, func(v *graph.View, n graph.Node) []graph.Node {
		d, operands := newDraft(v, n), slices.Clone(n.Operands)
		for i, o := range operands {
			if v.Parameter(o) {
				operands[i] = d.op(op, v.Shape(o), o)
			}
		}
		if len(d.made) == 0 {
			return nil
		}
		return d.end(n.With(operands...))
	})
}
