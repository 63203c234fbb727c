package catalogue

import (
	"math/rand/v2"

	"github.com/difftest/difftest/harness/internal/oracle"
)

// relativeBias holds mistakes with a learned bias by distance.
var relativeBias = []Mistake{
	{
		ID:          "relative-missing",
		Title:       "the relative bias missing",
		Explanation: "No bias by distance is added to the scores.",
		Fix:         "Add row j - i of relative_bias.weight, clipped to -R..R, to the scaled scores.",
		Family:      RelativeBias,
		Kind:        Missing,
		Stage:       Score,
		Needs:       "a relative bias",
		Refs:        []string{"F10"},
		Evidence:    "https://github.com/NVIDIA/TensorRT-LLM/pull/13870",
		Plant:       relativeMissing,
	},
	{
		ID:          "relative-transposed",
		Title:       "the relative bias of i - j in place of j - i",
		Explanation: "A key before the query gets the bias of a key after it.",
		Fix:         "Use the row for key minus query, j - i.",
		Family:      RelativeBias,
		Kind:        Altered,
		Stage:       Score,
		Needs:       "a relative bias",
		Refs:        []string{"F11"},
		Evidence:    "https://github.com/ml-explore/mlx-examples/pull/113",
		Plant:       relativeTransposed,
	},
	{
		ID:          "relative-past-ignored",
		Title:       "relative biases that ignore the query offset",
		Explanation: "Query i is treated as if it stood at key i, although earlier keys come before it.",
		Fix:         "Measure distances between positions: query i is at position i + offset.",
		Family:      RelativeBias,
		Kind:        Altered,
		Stage:       Score,
		Needs:       "a relative bias, and queries that start after the first key",
		Refs:        []string{"F12"},
		Evidence:    "https://github.com/NVIDIA/TensorRT-LLM/pull/13870",
		Plant:       relativePastIgnored,
	},
	{
		ID:          "relative-clipped-early",
		Title:       "the relative bias clipped at a distance of R - 1",
		Explanation: "The first and last rows of the table are never used.",
		Fix:         "Clip distances to -R..R, and add R to get the row of the table.",
		Family:      RelativeBias,
		Kind:        Altered,
		Stage:       Score,
		Needs:       "a relative bias",
		Refs:        []string{"F14"},
		Evidence:    "https://github.com/ml-explore/mlx-examples/pull/113",
		Plant:       relativeClippedEarly,
	},
}

func relativeMissing(p *oracle.Problem, _ *rand.Rand) bool {
	had := p.Relative != nil
	p.Relative = nil
	return had
}

func relativeTransposed(p *oracle.Problem, _ *rand.Rand) bool {
	if p.Relative == nil {
		return false
	}
	p.RelativeDistance = mapDistance(p.RelativeDistance, func(d int) int { return -d })
	return true
}

func relativePastIgnored(p *oracle.Problem, _ *rand.Rand) bool {
	if p.Relative == nil || p.Offset == 0 {
		return false
	}
	p.RelativeDistance = withoutOffset(p, p.RelativeDistance)
	return true
}

// relativeClippedEarly derives R from the table's shape, (2R+1, H).
func relativeClippedEarly(p *oracle.Problem, _ *rand.Rand) bool {
	if p.Relative == nil {
		return false
	}
	reach := len(p.Relative)/headCount(p)/2 - 1
	p.RelativeDistance = mapDistance(p.RelativeDistance, func(d int) int { return min(max(d, -reach), reach) })
	return true
}
