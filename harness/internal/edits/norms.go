package edits

import (
	"strings"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/graph"
)

// norms holds mistakes with LayerNorm and RMSNorm.
var norms = []catalogue.Mistake{
	{
		ID: "norm-skipped", Title: "the norms left out", Family: catalogue.Norm, Kind: catalogue.Missing,
		Explanation: "Layers get what the norm should have normalised.",
		Fix:         "Apply every norm of the model before the layer that takes its output.",
		Refs:        []string{"N16"},
		Edit:        where(isNorm, func(n graph.Node) graph.Node { return n.Pass(n.Operands[0]) }),
	},
	{
		ID: "norm-final-missing", Title: "the final norm left out", Family: catalogue.Norm, Kind: catalogue.Missing,
		Explanation: "The output of the last layer goes to the head as it is.",
		Fix:         "Apply the norm behind the last layer: model.norm, ln_f or final_layer_norm.",
		Refs:        []string{"N17"},
		Edit:        where(isFinalNorm, func(n graph.Node) graph.Node { return n.Pass(n.Operands[0]) }),
	},
	{
		ID: "norm-twice", Title: "the norms applied twice", Family: catalogue.Norm, Kind: catalogue.Altered,
		Explanation: "The output of each norm is normalised again.",
		Fix:         "Apply each norm once. Look for a norm in the layer and another in its caller.",
		Refs:        []string{"N16", "N18"},
		Edit:        onlyIf(isNorm, normTwice),
	},
	{
		ID: "norm-weight-missing", Title: "the weights of the norms left at one", Family: catalogue.Norm, Kind: catalogue.Parameters,
		Explanation: "The normalised values are not multiplied by the weight.",
		Fix:         "Load the weight of every norm, and multiply by it.",
		Refs:        []string{"N13"},
		Edit: where(weighted, func(n graph.Node) graph.Node {
			return n.With(append([]graph.Operand{n.Operands[0], graph.None}, n.Operands[2:]...)...)
		}),
	},
	{
		ID: "norm-bias-missing", Title: "the biases of the norms left out", Family: catalogue.Norm, Kind: catalogue.Parameters,
		Explanation: "The bias of LayerNorm is not added.",
		Fix:         "Load the bias of every LayerNorm, and add it.",
		Refs:        []string{"N14"},
		Edit: where(biasedNorm, func(n graph.Node) graph.Node {
			return n.With(n.Operands[0], n.Operands[1], graph.None)
		}),
	},
	{
		ID: "norm-mean-kept", Title: "LayerNorm without the mean subtracted, as RMSNorm", Family: catalogue.Norm, Kind: catalogue.Altered,
		Explanation: "LayerNorm divides by the root of the mean square, and does not subtract the mean first.",
		Fix:         "Subtract the mean of each row: the model has LayerNorm, not RMSNorm.",
		Refs:        []string{"N05"},
		Edit:        onlyIf(isOp("layer_norm"), meanKept),
	},
	{
		ID: "norm-mean-subtracted", Title: "RMSNorm with the mean subtracted, as LayerNorm", Family: catalogue.Norm, Kind: catalogue.Altered,
		Explanation: "RMSNorm subtracts the mean of each row first, as LayerNorm does.",
		Fix:         "Divide by the root of the mean square alone: the model has RMSNorm.",
		Refs:        []string{"N06"},
		Edit:        onlyIf(isOp("rms_norm"), meanSubtracted),
	},
	{
		ID: "norm-offset-missing", Title: "weight in the norms for 1 + weight", Family: catalogue.Norm, Kind: catalogue.Altered,
		Explanation: "The stored weights are offsets from one, as in Gemma, and were used as factors.",
		Fix:         "Multiply by 1 + weight.",
		Refs:        []string{"N07"},
		Edit:        offset(1, 0),
	},
	{
		ID: "norm-offset-added", Title: "1 + weight in the norms for weight", Family: catalogue.Norm, Kind: catalogue.Altered,
		Explanation: "The stored weights are factors, and were read as offsets from one, as Gemma stores them.",
		Fix:         "Multiply by the weight as stored.",
		Refs:        []string{"N08"},
		Edit:        offset(0, 1),
	},
	{
		ID: "norm-offset-twice", Title: "2 + weight in the norms for 1 + weight", Family: catalogue.Norm, Kind: catalogue.Altered,
		Explanation: "The converter had added one to the weights already.",
		Fix:         "Add one to the weights of the norms once: in the converter or in the model.",
		Refs:        []string{"N08"},
		Edit:        offset(1, 2),
	},
	{
		ID: "norm-eps-outside-root", Title: "the epsilon of the norms added outside the root", Family: catalogue.Norm, Kind: catalogue.Altered,
		Explanation: "The norms divide by sqrt(variance) + eps.",
		Fix:         "Divide by sqrt(variance + eps).",
		Refs:        []string{"N03"},
		Edit:        onlyIf(isNorm, epsOutside),
	},
	{
		ID: "norm-variance-unbiased", Title: "the unbiased variance in LayerNorm", Family: catalogue.Norm, Kind: catalogue.Altered,
		Explanation: "The sum of squares is divided by N - 1.",
		Fix:         "Divide the sum of squares by N: var(unbiased=False).",
		Refs:        []string{"N12"},
		Edit:        onlyIf(isOp("layer_norm"), unbiased),
	},
	{
		ID: "norms-exchanged", Title: "the two norms of each layer exchanged", Family: catalogue.Norm, Kind: catalogue.Parameters,
		Explanation: "The norm before attention has the weights of the norm before the MLP, and the reverse.",
		Fix:         "Look at the keys of the norms: input_layernorm and post_attention_layernorm, ln_1 and ln_2.",
		Refs:        []string{"N15"},
		Edit:        normsExchanged,
		Joint:       true,
	},
}

var isNorm = isOp("layer_norm", "rms_norm")

func weighted(v *graph.View, n graph.Node) bool { return isNorm(v, n) && !n.Operands[1].Absent }

func biasedNorm(_ *graph.View, n graph.Node) bool {
	return n.Op == "layer_norm" && !n.Operands[2].Absent
}

// isFinalNorm reports whether a norm outside all layers takes what a layer gives.
func isFinalNorm(v *graph.View, n graph.Node) bool {
	if _, number, _ := graph.Layer(n.Module); !isNorm(v, n) || number >= 0 {
		return false
	}
	maker := v.Maker(n.Operands[0])
	if maker == nil {
		return false
	}
	_, number, _ := graph.Layer(maker.Module)
	return number >= 0
}

func normTwice(_ *graph.View, n graph.Node) []graph.Node {
	first := n
	first.Name = n.Name + "/1"
	return nodes(first, n.With(append([]graph.Operand{graph.Value(first.Name)}, n.Operands[1:]...)...))
}

func meanKept(_ *graph.View, n graph.Node) []graph.Node {
	norm := n.Become("rms_norm", n.Operands[0], n.Operands[1])
	norm.Attributes.Eps = n.Attributes.Eps
	if n.Operands[2].Absent {
		return nodes(norm)
	}
	norm.Name = n.Name + "/1"
	return nodes(norm, n.Become("add", graph.Value(norm.Name), n.Operands[2]))
}

func meanSubtracted(v *graph.View, n graph.Node) []graph.Node {
	weight, before := n.Operands[1], []graph.Node(nil)
	if n.Attributes.Offset != 0 && !weight.Absent {
		sum := n.Before(1, "add", v.Shape(weight), weight, graph.Number(n.Attributes.Offset))
		weight, before = graph.Value(sum.Name), nodes(sum)
	}
	norm := n.Become("layer_norm", n.Operands[0], weight, graph.None)
	norm.Attributes.Eps = n.Attributes.Eps
	return append(before, norm)
}

func offset(from, to float64) graph.Edit {
	fits := func(v *graph.View, n graph.Node) bool {
		return n.Op == "rms_norm" && !n.Operands[1].Absent && n.Attributes.Offset == from
	}
	return where(fits, func(n graph.Node) graph.Node {
		return n.Set(func(a *graph.Attributes) { a.Offset = to })
	})
}

func epsOutside(v *graph.View, n graph.Node) []graph.Node {
	return byHand(v, n, func(last maker, variance graph.Operand) graph.Operand {
		return last("add", last("sqrt", variance), graph.Number(n.Attributes.Eps))
	})
}

func unbiased(v *graph.View, n graph.Node) []graph.Node {
	width := float64(n.Shape[len(n.Shape)-1])
	return byHand(v, n, func(last maker, variance graph.Operand) graph.Operand {
		larger := last("mul", variance, graph.Number(width/(width-1)))
		return last("sqrt", last("add", larger, graph.Number(n.Attributes.Eps)))
	})
}

// maker makes a node with a number for each row, and returns its value.
type maker func(op string, o ...graph.Operand) graph.Operand

// byHand writes a norm as small operations, with another divisor.
func byHand(
	v *graph.View, n graph.Node, divisor func(last maker, variance graph.Operand) graph.Operand,
) []graph.Node {
	var made []graph.Node
	column := append(append([]int{}, n.Shape[:len(n.Shape)-1]...), 1)
	put := func(shape []int, op string, operands ...graph.Operand) graph.Operand {
		made = append(made, n.Before(len(made)+1, op, shape, operands...))
		return graph.Value(made[len(made)-1].Name)
	}
	mean := func(o graph.Operand) graph.Operand {
		m := put(column, "mean", o)
		a := &made[len(made)-1].Attributes
		a.Dims, a.Keep = []int{len(n.Shape) - 1}, true
		return m
	}
	x := n.Operands[0]
	if n.Op == "layer_norm" {
		x = put(n.Shape, "sub", x, mean(x))
	}
	variance := mean(put(n.Shape, "mul", x, x))
	last := func(op string, o ...graph.Operand) graph.Operand { return put(column, op, o...) }
	result := put(n.Shape, "div", x, divisor(last, variance))
	if weight := n.Operands[1]; !weight.Absent {
		if n.Attributes.Offset != 0 {
			weight = put(v.Shape(weight), "add", weight, graph.Number(n.Attributes.Offset))
		}
		result = put(n.Shape, "mul", result, weight)
	}
	if n.Op == "layer_norm" && !n.Operands[2].Absent {
		result = put(n.Shape, "add", result, n.Operands[2])
	}
	return append(made, n.Pass(result))
}

// normsExchanged gives a norm the parameters of the only other norm of its layer with its width.
func normsExchanged(v *graph.View, n graph.Node) []graph.Node {
	layer := graph.LayerPath(n.Module)
	if !weighted(v, n) || layer == "" || strings.Contains(n.Module, "attn.") {
		return nil
	}
	var others []graph.Node
	for _, other := range v.Nodes {
		if other.Op == n.Op && weighted(v, other) && graph.LayerPath(other.Module) == layer && other.Module != n.Module &&
			len(v.Shape(other.Operands[1])) == 1 && v.Shape(other.Operands[1])[0] == v.Shape(n.Operands[1])[0] {
			others = append(others, other)
		}
	}
	if len(others) != 1 {
		return nil
	}
	return nodes(n.With(append([]graph.Operand{n.Operands[0]}, others[0].Operands[1:]...)...))
}
