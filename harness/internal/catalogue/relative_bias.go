package catalogue

import (
	"math/rand/v2"

	"github.com/difftest/difftest/harness/internal/oracle"
)

// relatives are biases by distance.
var relatives = []Mistake{
	{
		ID: "relative-missing", Title: "the relative bias missing",
		Explanation: "Nothing is added to the scores by distance.",
		Fix:         "Add the row of relative_bias.weight for the distance j - i, clipped to -R..R, to the scaled scores.",
		Family:      RelativeBias, Kind: Missing, Stage: Score, Needs: "a relative bias", Refs: []string{"F10"},
		Evidence: "https://github.com/NVIDIA/TensorRT-LLM/pull/13870",
		Plant:    relativeMissing,
	},
	{
		ID: "relative-transposed", Title: "the relative bias of i - j in place of j - i",
		Explanation: "A key before the query gets the bias of one behind it.",
		Fix:         "Take the row for key minus query, j - i.",
		Family:      RelativeBias, Kind: Altered, Stage: Score, Needs: "a relative bias", Refs: []string{"F11"},
		Evidence: "https://github.com/ml-explore/mlx-examples/pull/113",
		Plant:    relativeTransposed,
	},
	{
		ID: "relative-past-ignored", Title: "relative biases by the queries' places among the new ones",
		Explanation: "Query i is taken to stand at key i, although it stands behind earlier keys.",
		Fix:         "Take distances between positions: that of query i is i + offset.",
		Family:      RelativeBias, Kind: Altered, Stage: Score, Needs: "a relative bias, and queries that begin behind the first key", Refs: []string{"F12"},
		Evidence: "https://github.com/NVIDIA/TensorRT-LLM/pull/13870",
		Plant:    relativePastIgnored,
	},
	{
		ID: "relative-clipped-early", Title: "the relative bias clipped at a distance of R - 1",
		Explanation: "The first and the last row of the table are never used.",
		Fix:         "Clip distances to -R..R, and add R for the row of the table.",
		Family:      RelativeBias, Kind: Altered, Stage: Score, Needs: "a relative bias", Refs: []string{"F14"},
		Evidence: "https://github.com/ml-explore/mlx-examples/pull/113",
		Plant:    relativeClippedEarly,
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
	p.RelativeDistance = changed(p.RelativeDistance, func(distance int) int { return -distance })
	return true
}

func relativePastIgnored(p *oracle.Problem, _ *rand.Rand) bool {
	if p.Relative == nil || p.Offset == 0 {
		return false
	}
	p.RelativeDistance = pastIgnored(p, p.RelativeDistance)
	return true
}

// relativeClippedEarly takes R from the table, (2R+1, H).
func relativeClippedEarly(p *oracle.Problem, _ *rand.Rand) bool {
	if p.Relative == nil {
		return false
	}
	reach := len(p.Relative)/headCount(p)/2 - 1
	p.RelativeDistance = changed(p.RelativeDistance, func(distance int) int {
		return min(max(distance, -reach), reach)
	})
	return true
}
