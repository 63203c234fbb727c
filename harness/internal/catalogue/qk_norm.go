package catalogue

import (
	"math/rand/v2"
	"slices"

	"github.com/difftest/difftest/harness/internal/oracle"
)

// qkNorm holds mistakes with the norms of queries and keys.
var qkNorm = []Mistake{
	{
		ID:          "qk-norm-missing",
		Title:       "the norms of queries and keys missing",
		Explanation: "Queries and keys keep the length that the projection gives them.",
		Fix:         "Apply q_norm and k_norm to each head before RoPE.",
		Family:      QKNorm,
		Kind:        Missing,
		Stage:       Projection,
		Needs:       "query and key norms",
		Refs:        []string{"I01"},
		Evidence:    "https://github.com/vllm-project/vllm-metal/pull/659",
		Plant:       changeNorms(removeNorm),
	},
	{
		ID:          "qk-norm-weights-one",
		Title:       "the weights of the query and key norms left at one",
		Explanation: "q_norm.weight and k_norm.weight were never loaded.",
		Fix:         "Load q_norm.weight and k_norm.weight, and multiply by them.",
		Family:      QKNorm,
		Kind:        Parameters,
		Stage:       Projection,
		Needs:       "query and key norms",
		Refs:        []string{"I02"},
		Evidence:    "https://github.com/lucidrains/x-transformers/issues/352",
		Plant:       changeNorms(mapNormWeight(func(float64) float64 { return 1 })),
	},
	{
		ID:          "qk-norm-one-plus-weight",
		Title:       "1 + weight in the norms of queries and keys",
		Explanation: "The weights were read as offsets from one, as Gemma stores them.",
		Fix:         "Multiply by the weight as stored. Only models of the Gemma family add one.",
		Family:      QKNorm,
		Kind:        Altered,
		Stage:       Projection,
		Needs:       "query and key norms",
		Refs:        []string{"I03"},
		Evidence:    "https://github.com/linkedin/Liger-Kernel/issues/74",
		Plant:       changeNorms(mapNormWeight(func(w float64) float64 { return 1 + w })),
	},
	{
		ID:          "qk-norm-over-heads",
		Title:       "queries and keys normed over all heads of a position",
		Explanation: "The mean square is taken over the whole projection, not over each head.",
		Fix:         "Split the heads first, and normalise the last dimension of (B, H, T, E).",
		Family:      QKNorm,
		Kind:        Altered,
		Stage:       Projection,
		Needs:       "query and key norms, and two or more heads",
		Refs:        []string{"I04"},
		Evidence:    "https://github.com/lablup/mlxcel/issues/316",
		Plant:       qkNormOverHeads,
	},
	{
		ID:          "qk-norm-after-rope",
		Title:       "queries and keys normed after the rotation",
		Explanation: "The norm's weight multiplies features that RoPE has already mixed.",
		Fix:         "Apply q_norm and k_norm first, then RoPE.",
		Family:      QKNorm,
		Kind:        Altered,
		Stage:       Projection,
		Needs:       "query and key norms, and RoPE",
		Refs:        []string{"I05"},
		Evidence:    "https://github.com/vllm-project/vllm-metal/issues/660",
		Plant:       qkNormAfterRoPE,
	},
	{
		ID:          "qk-norm-centered",
		Title:       "LayerNorm instead of RMSNorm on queries and keys",
		Explanation: "The mean is subtracted, and the result divided by the standard deviation.",
		Fix:         "Divide by the root mean square: torch.nn.RMSNorm, not LayerNorm.",
		Family:      QKNorm,
		Kind:        Altered,
		Stage:       Projection,
		Needs:       "query and key norms",
		Refs:        []string{"I07"},
		Plant:       changeNorms(centerNorm),
	},
	{
		ID:          "qk-norm-on-values",
		Title:       "keys and values normed, queries not",
		Explanation: "q_norm is left out, and k_norm is applied to keys and values.",
		Fix:         "Apply q_norm to queries and k_norm to keys, and leave values alone.",
		Family:      QKNorm,
		Kind:        Altered,
		Stage:       Projection,
		Needs:       "query and key norms",
		Refs:        []string{"I08"},
		Evidence:    "https://github.com/kyegomez/MegaVIT/issues/17",
		Plant:       qkNormOnValues,
	},
}

// changeNorms applies change to the query norm and to the key norm.
func changeNorms(change func(n **oracle.Norm)) plant {
	return func(p *oracle.Problem, _ *rand.Rand) bool {
		if !hasQKNorm(p) {
			return false
		}
		change(&p.Layer.QueryNorm)
		change(&p.Layer.KeyNorm)
		return true
	}
}

func hasQKNorm(p *oracle.Problem) bool {
	return p.Layer != nil && p.Layer.QueryNorm != nil && p.Layer.KeyNorm != nil
}

func removeNorm(n **oracle.Norm) { *n = nil }

func centerNorm(n **oracle.Norm) { (*n).Centered = true }

// mapNormWeight applies change to every element of the norm's weight.
func mapNormWeight(change func(float64) float64) func(**oracle.Norm) {
	return func(n **oracle.Norm) {
		weight := slices.Clone((*n).Weight)
		for i, w := range weight {
			weight[i] = change(w)
		}
		(*n).Weight = weight
	}
}

func qkNormOverHeads(p *oracle.Problem, _ *rand.Rand) bool {
	if !hasQKNorm(p) || p.Layer.Heads == 1 {
		return false
	}
	p.Layer.QueryNorm.AcrossHeads, p.Layer.KeyNorm.AcrossHeads = true, true
	return true
}

func qkNormAfterRoPE(p *oracle.Problem, _ *rand.Rand) bool {
	if !hasQKNorm(p) || p.Layer.QueryRotary == nil && p.Layer.KeyRotary == nil {
		return false
	}
	p.Layer.NormLast = true
	return true
}

func qkNormOnValues(p *oracle.Problem, _ *rand.Rand) bool {
	if !hasQKNorm(p) {
		return false
	}
	p.Layer.QueryNorm, p.Layer.ValueNorm = nil, p.Layer.KeyNorm
	return true
}
