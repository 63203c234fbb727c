package catalogue

import (
	"math/rand/v2"
	"slices"

	"github.com/difftest/difftest/harness/internal/oracle"
)

// biases holds mistakes with the biases of the projections.
var biases = []Mistake{
	{
		ID:          "biases-missing",
		Title:       "all biases missing",
		Explanation: "No projection adds its bias.",
		Fix:         "Add in_proj_bias to queries, keys and values, and out_proj.bias to the output.",
		Family:      Biases,
		Kind:        Missing,
		Stage:       Projection,
		Needs:       "biases",
		Refs:        []string{"A07"},
		Evidence:    "https://github.com/shadowpa0327/Palu/pull/8",
		Plant:       withoutBiases(qProj, kProj, vProj, outProj),
	},
	{
		ID:          "query-bias-missing",
		Title:       "the query bias missing",
		Explanation: "Queries are projected without their bias.",
		Fix:         "Add the first third of in_proj_bias, or q_proj.bias, to the queries.",
		Family:      Biases,
		Kind:        Missing,
		Stage:       Projection,
		Needs:       "a query bias",
		Refs:        []string{"A08"},
		Evidence:    "https://github.com/sbryngelson/ANEForge/pull/253",
		Plant:       withoutBiases(qProj),
	},
	{
		ID:    "key-bias-missing",
		Title: "the key bias missing",
		Explanation: "Keys are projected without their bias. " +
			"The result changes only with RoPE, a norm, a softcap, sinks, or appended or cached keys.",
		Fix:      "Add the second third of in_proj_bias, or k_proj.bias, to the keys.",
		Family:   Biases,
		Kind:     Missing,
		Stage:    Projection,
		Needs:    "a key bias",
		Refs:     []string{"A09"},
		Evidence: "https://github.com/baaivision/EVA/issues/53",
		Plant:    withoutBiases(kProj),
	},
	{
		ID:          "value-bias-missing",
		Title:       "the value bias missing",
		Explanation: "Values are projected without their bias.",
		Fix:         "Add the last third of in_proj_bias, or v_proj.bias, to the values.",
		Family:      Biases,
		Kind:        Missing,
		Stage:       Projection,
		Needs:       "a value bias",
		Refs:        []string{"A10"},
		Evidence:    "https://github.com/sbryngelson/ANEForge/pull/253",
		Plant:       withoutBiases(vProj),
	},
	{
		ID:          "output-bias-missing",
		Title:       "the output bias missing",
		Explanation: "The output projection does not add its bias, so every row is off by the same vector.",
		Fix:         "Add out_proj.bias to the output.",
		Family:      Biases,
		Kind:        Missing,
		Stage:       Context,
		Needs:       "an output bias",
		Refs:        []string{"A11"},
		Evidence:    "https://github.com/marin-community/levanter/pull/1132",
		Plant:       withoutBiases(outProj),
	},
	{
		ID:          "input-biases-missing",
		Title:       "the biases of query, key and value missing",
		Explanation: "Queries, keys and values are projected without their biases. The output bias is added.",
		Fix:         "Add in_proj_bias to queries, keys and values.",
		Family:      Biases,
		Kind:        Missing,
		Stage:       Projection,
		Needs:       "biases",
		Refs:        []string{"A11b"},
		Evidence:    "https://github.com/sbryngelson/ANEForge/pull/253",
		Plant:       withoutBiases(qProj, kProj, vProj),
	},
	{
		ID:          "biases-from-first-element",
		Title:       "every bias filled with its first element",
		Explanation: "Each bias was broadcast from its first element.",
		Fix:         "Copy the whole vector, and compare shapes before any copy that broadcasts.",
		Family:      Biases,
		Kind:        Parameters,
		Stage:       Projection,
		Needs:       "biases",
		Refs:        []string{"A30"},
		Evidence:    "https://github.com/pytorch/pytorch/issues/165873",
		Plant:       biasesFromFirstElement,
	},
	{
		ID:          "query-key-biases-swapped",
		Title:       "the biases of query and key swapped",
		Explanation: "Queries get the key's bias, and keys get the query's.",
		Fix:         "Read in_proj_bias in the order query, key, value.",
		Family:      Biases,
		Kind:        Parameters,
		Stage:       Projection,
		Needs:       "query and key biases of the same length",
		Refs:        []string{"A34"},
		Plant:       queryKeyBiasesSwapped,
	},
	{
		ID:          "output-bias-twice",
		Title:       "the output bias added twice",
		Explanation: "The projection adds out_proj.bias, and later code adds it again.",
		Fix:         "Add the bias once. If partial outputs of several shards are summed, only one shard may add it.",
		Family:      Biases,
		Kind:        Altered,
		Stage:       Context,
		Needs:       "an output bias",
		Refs:        []string{"A36"},
		Plant:       outputBiasTwice,
	},
}

// withoutBiases removes the biases of the given projections. It applies if at least one has a bias.
func withoutBiases(which ...projection) plant {
	return func(p *oracle.Problem, _ *rand.Rand) bool {
		removed := false
		for _, proj := range which {
			if p.Layer != nil && proj(p.Layer).Bias != nil {
				removed, proj(p.Layer).Bias = true, nil
			}
		}
		return removed
	}
}

func biasesFromFirstElement(p *oracle.Problem, _ *rand.Rand) bool {
	if p.Layer == nil {
		return false
	}
	changed := false
	for _, m := range p.Layer.Projections() {
		if len(m.Bias) > 0 {
			changed, m.Bias = true, slices.Repeat(m.Bias[:1], len(m.Bias))
		}
	}
	return changed
}

func queryKeyBiasesSwapped(p *oracle.Problem, _ *rand.Rand) bool {
	if p.Layer == nil || p.Layer.Query.Bias == nil || len(p.Layer.Query.Bias) != len(p.Layer.Key.Bias) {
		return false
	}
	p.Layer.Query.Bias, p.Layer.Key.Bias = p.Layer.Key.Bias, p.Layer.Query.Bias
	return true
}

func outputBiasTwice(p *oracle.Problem, _ *rand.Rand) bool {
	if p.Layer == nil || p.Layer.Output.Bias == nil {
		return false
	}
	p.Layer.Output.Bias = multiplied(p.Layer.Output.Bias, 2)
	return true
}
