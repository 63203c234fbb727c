package edits

import (
	"math"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/graph"
)

// countPositions says how to correct positions that are too high or too low.
const countPositions = "Count positions as the model does: from 0, from 2 in OPT and BART, " +
	"from padding_idx + 1 in RoBERTa."

// embeddings holds mistakes with the tables of tokens, positions and token types.
var embeddings = []catalogue.Mistake{
	{
		ID: "positions-missing", Title: "the position embeddings left out", Family: catalogue.Embedding, Kind: catalogue.Missing,
		Explanation: "Nothing tells the model where a token stands.",
		Fix:         "Add the embedding of each position.",
		Edit:        withoutEmbedding(isPositions),
	},
	{
		ID: "positions-plus-one", Title: "positions that are one too high", Family: catalogue.Embedding, Kind: catalogue.Altered,
		Explanation: "Each token has the embedding of the next position.",
		Fix:         countPositions,
		Refs:        []string{"E04"}, Edit: moved(1),
	},
	{
		ID: "positions-plus-two", Title: "positions that are two too high", Family: catalogue.Embedding, Kind: catalogue.Altered,
		Explanation: "Each token has the embedding of the position after the next one, as OPT and BART store them.",
		Fix:         countPositions,
		Refs:        []string{"E04"}, Edit: moved(2),
	},
	{
		ID: "positions-minus-one", Title: "positions that are one too low", Family: catalogue.Embedding, Kind: catalogue.Altered,
		Explanation: "Each token has the embedding of the position before its own.",
		Fix:         countPositions,
		Refs:        []string{"E04"}, Edit: moved(-1),
	},
	{
		ID: "positions-minus-two", Title: "positions that are two too low", Family: catalogue.Embedding, Kind: catalogue.Altered,
		Explanation: "The first position is 0, where the model starts at 2, as OPT and BART do.",
		Fix:         "Add 2 to each position.",
		Refs:        []string{"E04"}, Edit: moved(-2),
	},
	{
		ID: "positions-all-zero", Title: "position 0 for every token", Family: catalogue.Embedding, Kind: catalogue.Altered,
		Explanation: "Each token has the embedding of position 0, as where one token is given at a time and positions begin anew.",
		Fix:         countPositions,
		Refs:        []string{"E05"},
		Edit: func(v *graph.View, n graph.Node) []graph.Node {
			if !isPositions(v, n) {
				return nil
			}
			ids := n.Before(1, "mul", v.Shape(n.Operands[1]), n.Operands[1], graph.Number(0))
			return nodes(ids, n.With(n.Operands[0], graph.Value(ids.Name)))
		},
	},
	{
		ID: "token-types-missing", Title: "the token type embedding left out", Family: catalogue.Embedding, Kind: catalogue.Missing,
		Explanation: "The embedding of token type 0 is not added to each token.",
		Fix:         "Add token_type_embeddings, of type 0 where none is given.",
		Refs:        []string{"E08"}, Edit: withoutEmbedding(isTypes),
	},
	{
		ID: "embedding-scale-missing", Title: "embeddings that are not scaled", Family: catalogue.Embedding, Kind: catalogue.Missing,
		Explanation: "The embeddings of tokens are not multiplied by the model's factor, such as sqrt(D).",
		Fix:         "Multiply the embeddings by sqrt(D), or by the factor in the configuration.",
		Refs:        []string{"E01", "E15"},
		Edit:        withoutFactor(isScaledEmbedding),
	},
	{
		ID: "embedding-scale-added", Title: "embeddings that are multiplied by sqrt(D)", Family: catalogue.Embedding, Kind: catalogue.Altered,
		Explanation: "The embeddings of tokens are multiplied by sqrt(D), or once too often.",
		Fix:         "Use the embeddings as they are, or scale them once.",
		Refs:        []string{"E02"},
		Edit: func(v *graph.View, n graph.Node) []graph.Node {
			if n.Op != "embedding" || v.Input(n.Operands[1]) == "" {
				return nil
			}
			first := n
			first.Name = n.Name + "/1"
			width := float64(n.Shape[len(n.Shape)-1])
			return nodes(first, n.Become("mul", graph.Value(first.Name), graph.Number(math.Sqrt(width))))
		},
	},
}

// isPositions reports whether a node takes rows of a table by ids that no input gives, of a table
// with more than two rows.
func isPositions(v *graph.View, n graph.Node) bool {
	return n.Op == "embedding" && v.Input(n.Operands[1]) == "" && v.Shape(n.Operands[0])[0] > 2
}

// isTypes reports whether a node takes rows of a table of two token types, given or not.
func isTypes(v *graph.View, n graph.Node) bool {
	return n.Op == "embedding" && v.Shape(n.Operands[0])[0] <= 2
}

func isScaledEmbedding(v *graph.View, n graph.Node) bool {
	if n.Op != "mul" {
		return false
	}
	for i, o := range n.Operands {
		other := n.Operands[1-i]
		factor := other.Name == "" || len(v.Shape(other)) == 0 && v.Maker(other) == nil
		if v.Made(o, "embedding") && factor {
			return true
		}
	}
	return false
}

// withoutEmbedding returns an edit that leaves a table out of the sum.
func withoutEmbedding(fits func(*graph.View, graph.Node) bool) graph.Edit {
	return func(v *graph.View, n graph.Node) []graph.Node {
		if n.Op != "add" {
			return nil
		}
		for i, o := range n.Operands {
			if table := v.Maker(o); table != nil && fits(v, *table) && sameShape(v, n.Operands[1-i], graph.Value(n.Name)) {
				return nodes(n.Pass(n.Operands[1-i]))
			}
		}
		return nil
	}
}

// moved returns an edit that adds a number to every position.
func moved(by float64) graph.Edit {
	return func(v *graph.View, n graph.Node) []graph.Node {
		if !isPositions(v, n) {
			return nil
		}
		ids := n.Before(1, "add", v.Shape(n.Operands[1]), n.Operands[1], graph.Number(by))
		return nodes(ids, n.With(n.Operands[0], graph.Value(ids.Name)))
	}
}
