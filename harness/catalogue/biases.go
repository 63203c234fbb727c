package catalogue

import (
	"math/rand/v2"

	"github.com/difftest/difftest/harness/oracle"
)

// biases are those of the projections.
var biases = []Mistake{
	{
		ID: "biases-missing", Title: "all biases missing",
		Explanation: "No projection adds its bias.",
		Fix:         "Add in_proj_bias to queries, keys and values, and out_proj.bias to the output.",
		Family:      Biases, Kind: Missing, Stage: Projection, Needs: "biases", Refs: []string{"A07"},
		Evidence: "https://github.com/shadowpa0327/Palu/pull/8",
		Plant:    biasesMissing,
	},
}

func biasesMissing(p *oracle.Problem, _ *rand.Rand) bool {
	if p.Layer == nil || p.Layer.Query.Bias == nil {
		return false
	}
	for _, l := range p.Layer.Linears() {
		l.Bias = nil
	}
	return true
}
