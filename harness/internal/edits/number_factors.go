package edits

import (
	"math"
	"slices"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/graph"
)

// factorNumbers are the numbers that something is multiplied or divided by.
var factorNumbers = []Number{
	{
		Number: catalogue.Number{
			ID: "embedding-factor", Title: "factor of the token embeddings",
			Fix: "Read the factor from the configuration, or from the model's source: embedding_multiplier, sqrt(D).",
		},
		Alike: always("a table of embeddings that much larger would give the same"),
		At:    embeddingFactor,
		To:    scaledEmbedding,
		Span:  times(1e4),
	},
	{
		Number: catalogue.Number{
			ID: "residual-factor", Title: "factor of what is added to the residual",
			Fix: "Read the factor from the configuration: residual_multiplier. Most models have none.",
		},
		Alike: always("weights and biases of the linear layer before the sum that much larger would give the same"),
		At:    residualFactor,
		To:    scaledBranch,
		Span:  times(1e3),
	},
	{
		Number: catalogue.Number{
			ID: "logits-factor", Title: "number that multiplies or divides the logits",
			Fix: "Read the number from the configuration: logit_scale, logits_scaling.",
		},
		At: func(v *graph.View, n graph.Node) (float64, bool) {
			value, ok := numberOf(v, n)
			return value, ok && value > 0 && isFactor(n) && n.Name == v.Output
		},
		To:   setNumber,
		Span: times(1e4),
	},
	{
		Number: catalogue.Number{
			ID: "logits-softcap", Title: "softcap of the logits", Usual: []float64{20, 30, 50},
			Fix: "Read the softcap from the configuration: final_logit_softcapping.",
		},
		At: func(v *graph.View, n graph.Node) (float64, bool) {
			if softcapMissing(v, n) == nil {
				return 0, false
			}
			return n.Operands[1].Number, true
		},
		To:   softcappedAt,
		Span: times(1e4),
	},
	{
		Number: catalogue.Number{
			ID: "factor", Title: "factor",
			Fix: "Compare the number with the model's source and its configuration.",
		},
		At:      otherFactor,
		To:      setNumber,
		Span:    times(1e4),
		ByClass: true,
	},
}

// isFactor reports whether a node multiplies two operands, or divides by the second.
func isFactor(n graph.Node) bool { return n.Op == "mul" || n.Op == "div" && n.Operands[0].Name != "" }

// embeddingFactor returns the number by which embeddings of tokens are multiplied, 1 if none is.
func embeddingFactor(v *graph.View, n graph.Node) (float64, bool) {
	if n.Op == "embedding" && v.Input(n.Operands[1]) != "" {
		scaled := slices.ContainsFunc(v.Users(n.Name), func(user *graph.Node) bool {
			_, ok := numberOf(v, *user)
			return ok && isFactor(*user)
		})
		return 1, !scaled
	}
	value, ok := numberOf(v, n)
	return value, ok && value > 0 && isScaledEmbedding(v, n)
}

func scaledEmbedding(value float64) graph.Edit {
	return func(v *graph.View, n graph.Node) []graph.Node {
		if n.Op != "embedding" {
			return nodes(withNumber(v, n, value))
		}
		first := n
		first.Name = n.Name + "/1"
		return nodes(first, n.Become("mul", graph.Value(first.Name), graph.Number(value)))
	}
}

// residualFactor returns the number by which f(x) is multiplied in a sum x + f(x), 1 if none is.
func residualFactor(v *graph.View, n graph.Node) (float64, bool) {
	_, branch, ok := parts(v, n)
	if !ok {
		return 0, false
	}
	if maker := v.Maker(branch); maker != nil && maker.Op == "mul" {
		if value, scaled := numberOf(v, *maker); scaled {
			return value, value > 0
		}
	}
	return 1, true
}

func scaledBranch(value float64) graph.Edit {
	return func(v *graph.View, n graph.Node) []graph.Node {
		_, branch, _ := parts(v, n)
		factor := value
		if right, _ := residualFactor(v, n); right != 1 {
			factor = value / right
		}
		scaled := n.Before(1, "mul", n.Shape, branch, graph.Number(factor))
		operands := slices.Clone(n.Operands)
		operands[slices.Index(operands, branch)] = graph.Value(scaled.Name)
		return nodes(scaled, n.With(operands...))
	}
}

// softcappedAt returns an edit of c tanh(x / c).
func softcappedAt(value float64) graph.Edit {
	return func(v *graph.View, n graph.Node) []graph.Node {
		x := v.Maker(v.Maker(n.Operands[0]).Operands[0]).Operands[0]
		inner := n.Before(1, "div", n.Shape, x, graph.Number(value))
		bent := n.Before(2, "tanh", n.Shape, graph.Value(inner.Name))
		return nodes(inner, bent, n.With(graph.Value(bent.Name), graph.Number(value)))
	}
}

// otherFactor returns the number of a product or quotient that is no other number of this list.
func otherFactor(v *graph.View, n graph.Node) (float64, bool) {
	value, ok := numberOf(v, n)
	if !ok || !isFactor(n) || value == 0 || math.IsInf(value, 0) || value < 0 || isScaledEmbedding(v, n) ||
		n.Name == v.Output || softcapMissing(v, n) != nil {
		return 0, false
	}
	for _, user := range v.Users(n.Name) {
		_, branch, isSum := parts(v, *user)
		if isSum && n.Op == "mul" && branch.Name == n.Name {
			return 0, false
		}
		if user.Op == "tanh" && slices.ContainsFunc(v.Users(user.Name), func(outer *graph.Node) bool {
			return softcapMissing(v, *outer) != nil
		}) {
			return 0, false
		}
	}
	return value, true
}

// parameterFactor is the number of [ParameterFactors], for any parameter.
var parameterFactor = Number{
	Number: catalogue.Number{
		ID: "parameter-factor", Title: "factor of a parameter",
		Fix: "Load the parameter as the state dict has it, and apply each factor of the model once.",
	}.InModelsAlone(),
	Span: times(1e4),
}

// ParameterFactors returns a number for each parameter of a graph, and one for each parameter that
// every layer has: the factor that it is multiplied with. All of them are 1.
func ParameterFactors(v *graph.View) []Number {
	var all []Number
	for _, p := range partsOf(v) {
		if len(p.suffixes) > 1 || p.suffixes[0] != "" {
			continue
		}
		n := parameterFactor
		n.Title = "factor of " + p.path
		n.To = func(value float64) graph.Edit { return multiplied(p.paths, value) }
		all = append(all, n)
	}
	return all
}

// multiplied returns an edit that multiplies parameters by a number.
func multiplied(keys []string, value float64) graph.Edit {
	return func(v *graph.View, n graph.Node) []graph.Node {
		operands, made := slices.Clone(n.Operands), []graph.Node(nil)
		for i, o := range operands {
			if o.Name != "" && slices.Contains(keys, o.Name) {
				made = append(made, n.Before(len(made)+1, "mul", v.Shape(o), o, graph.Number(value)))
				operands[i] = graph.Value(made[len(made)-1].Name)
			}
		}
		if made == nil {
			return nil
		}
		return append(made, n.With(operands...))
	}
}
