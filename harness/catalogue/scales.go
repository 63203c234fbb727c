package catalogue

import (
	"math/rand/v2"

	"github.com/difftest/difftest/harness/oracle"
)

// scales are what the scores are multiplied by.
var scales = []Mistake{
	{
		ID: "scale-missing", Title: "the scores not scaled",
		Explanation: "The products of query and key go into the softmax as they are.",
		Fix:         "Multiply them by 1/sqrt(E), or by the scale that the layer has.",
		Family:      Scales, Kind: Missing, Stage: Score, Needs: "a scale other than 1", Refs: []string{"D01"},
		Evidence: "https://github.com/mlc-ai/mlc-llm/pull/3426",
		Plant:    scaleMissing,
	},
}

func scaleMissing(p *oracle.Problem, _ *rand.Rand) bool {
	was := p.Scale
	p.Scale = 1
	return was != 1
}
