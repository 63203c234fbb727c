package catalogue

import (
	"math/rand/v2"
	"slices"

	"github.com/difftest/difftest/harness/internal/oracle"
)

// norms are those of query and key.
var norms = []Mistake{
	{
		ID: "qk-norm-missing", Title: "the norms of queries and keys missing",
		Explanation: "Queries and keys are as long as the projection makes them.",
		Fix:         "Apply q_norm and k_norm to each head before the rotation.",
		Family:      QKNorm, Kind: Missing, Stage: Projection, Needs: "norms of queries and keys", Refs: []string{"I01"},
		Evidence: "https://github.com/vllm-project/vllm-metal/pull/659",
		Plant:    normed(normMissing),
	},
	{
		ID: "qk-norm-weights-one", Title: "the weights of the norms of queries and keys left at one",
		Explanation: "q_norm.weight and k_norm.weight were never loaded.",
		Fix:         "Load q_norm.weight and k_norm.weight, and multiply by them.",
		Family:      QKNorm, Kind: Parameters, Stage: Projection, Needs: "norms of queries and keys", Refs: []string{"I02"},
		Evidence: "https://github.com/lucidrains/x-transformers/issues/352",
		Plant:    normed(weighted(func(float64) float64 { return 1 })),
	},
	{
		ID: "qk-norm-one-plus-weight", Title: "1 + weight in the norms of queries and keys",
		Explanation: "The weights were taken for the distance from one, as Gemma stores them.",
		Fix:         "Multiply by the weight as it is stored: only models of the Gemma family add one.",
		Family:      QKNorm, Kind: Altered, Stage: Projection, Needs: "norms of queries and keys", Refs: []string{"I03"},
		Evidence: "https://github.com/linkedin/Liger-Kernel/issues/74",
		Plant:    normed(weighted(func(w float64) float64 { return 1 + w })),
	},
	{
		ID: "qk-norm-over-heads", Title: "queries and keys normed over all heads of a position",
		Explanation: "The mean square is that of the whole projection, not that of each head.",
		Fix:         "Split the heads first, and norm the last dimension of (B, H, T, E).",
		Family:      QKNorm, Kind: Altered, Stage: Projection, Needs: "norms of queries and keys, of two heads or more", Refs: []string{"I04"},
		Evidence: "https://github.com/lablup/mlxcel/issues/316",
		Plant:    normWhole,
	},
	{
		ID: "qk-norm-after-rope", Title: "queries and keys normed after the rotation",
		Explanation: "The norm's weight meets features that the rotation has mixed.",
		Fix:         "Apply q_norm and k_norm first and rotate then.",
		Family:      QKNorm, Kind: Altered, Stage: Projection, Needs: "norms of queries and keys, and RoPE", Refs: []string{"I05"},
		Evidence: "https://github.com/vllm-project/vllm-metal/issues/660",
		Plant:    normLast,
	},
	{
		ID: "qk-norm-centered", Title: "a layer norm in the place of the root mean square norm of queries and keys",
		Explanation: "The mean is subtracted, and the variance divided by.",
		Fix:         "Divide by the root of the mean square: torch.nn.RMSNorm, not LayerNorm.",
		Family:      QKNorm, Kind: Altered, Stage: Projection, Needs: "norms of queries and keys", Refs: []string{"I07"},
		Plant: normed(centered),
	},
	{
		ID: "qk-norm-on-values", Title: "keys and values normed, queries not",
		Explanation: "q_norm is left out, and k_norm is applied to keys and values.",
		Fix:         "Apply q_norm to queries and k_norm to keys, and leave values as they are.",
		Family:      QKNorm, Kind: Altered, Stage: Projection, Needs: "norms of queries and keys", Refs: []string{"I08"},
		Evidence: "https://github.com/kyegomez/MegaVIT/issues/17",
		Plant:    normOnValues,
	},
}

// normed makes a mistake of both norms, one after the other.
func normed(change func(n **oracle.Norm)) func(*oracle.Problem, *rand.Rand) bool {
	return func(p *oracle.Problem, _ *rand.Rand) bool {
		if !hasNorms(p) {
			return false
		}
		change(&p.Layer.QueryNorm)
		change(&p.Layer.KeyNorm)
		return true
	}
}

func hasNorms(p *oracle.Problem) bool {
	return p.Layer != nil && p.Layer.QueryNorm != nil && p.Layer.KeyNorm != nil
}

func normMissing(n **oracle.Norm) { *n = nil }

func centered(n **oracle.Norm) { (*n).Centered = true }

func weighted(other func(float64) float64) func(**oracle.Norm) {
	return func(n **oracle.Norm) {
		weight := slices.Clone((*n).Weight)
		for i, w := range weight {
			weight[i] = other(w)
		}
		(*n).Weight = weight
	}
}

func normWhole(p *oracle.Problem, _ *rand.Rand) bool {
	if !hasNorms(p) || p.Layer.Heads == 1 {
		return false
	}
	p.Layer.QueryNorm.AcrossHeads, p.Layer.KeyNorm.AcrossHeads = true, true
	return true
}

func normLast(p *oracle.Problem, _ *rand.Rand) bool {
	if !hasNorms(p) || p.Layer.QueryRotary == nil && p.Layer.KeyRotary == nil {
		return false
	}
	p.Layer.NormLast = true
	return true
}

func normOnValues(p *oracle.Problem, _ *rand.Rand) bool {
	if !hasNorms(p) {
		return false
	}
	p.Layer.QueryNorm, p.Layer.ValueNorm = nil, p.Layer.KeyNorm
	return true
}
