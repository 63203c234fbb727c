package catalogue

import (
	"math"
	"math/rand/v2"
	"slices"

	"github.com/difftest/difftest/harness/oracle"
)

// weights are parameters that are not those of the state dict.
var weights = []Mistake{
	{
		ID: "weights-unit-normal", Title: "weights left at N(0,1), never loaded",
		Explanation: "The state dict never reached the layer, which still has the unscaled random values it was made with.",
		Fix:         "Call load_state_dict, and look at what it returns: an assignment to it, or an error that is dropped, loads nothing.",
		Family:      Weights, Kind: Parameters, Stage: Projection, Needs: "parameters", Refs: []string{"A01"}, Random: true,
		Evidence: "https://github.com/huggingface/transformers/issues/46620",
		Plant:    unitNormal,
	},
	{
		ID: "weights-random", Title: "other random weights of the case's own scale",
		Explanation: "The layer holds other values than the state dict's, drawn at a sane scale: never loaded, or initialised again afterwards.",
		Fix:         "Load the state dict last, and look for keys that it reports as missing: a prefix is enough.",
		Family:      Weights, Kind: Parameters, Stage: Projection, Needs: "parameters", Refs: []string{"A01"}, Random: true,
		Evidence: "https://github.com/pytorch/examples/issues/1029",
		Plant:    ownScale,
	},
	{
		ID: "weights-zero", Title: "all weights zero",
		Explanation: "Every parameter is zero, as after an allocation that nothing filled.",
		Fix:         "Load the state dict before the first forward pass.",
		Family:      Weights, Kind: Parameters, Stage: Projection, Needs: "parameters", Refs: []string{"A02"},
		Evidence: "https://github.com/TransformerLensOrg/TransformerLens/issues/1620",
		Plant:    zeroWeights,
	},
	{
		ID: "weights-transposed", Title: "every weight transposed: x W in place of x W^T",
		Explanation: "A Linear's weight is (out, in) and multiplies from the right transposed; used as it is, only square ones do not crash.",
		Fix:         "Compute x W^T for weights of torch.nn.Linear, x W for those of GPT-2's Conv1D.",
		Family:      Weights, Kind: Parameters, Stage: Projection, Needs: "weights that are all square: others cannot be used transposed", Refs: []string{"A16"},
		Evidence: "https://github.com/huggingface/transformers/issues/47031",
		Plant:    transposedWeights,
	},
}

func unitNormal(p *oracle.Problem, r *rand.Rand) bool {
	return eachParameter(p, func(values []float64) { draw(values, 1, r) })
}

func ownScale(p *oracle.Problem, r *rand.Rand) bool {
	return eachParameter(p, func(values []float64) { draw(values, rms(values), r) })
}

func zeroWeights(p *oracle.Problem, _ *rand.Rand) bool {
	return eachParameter(p, func(values []float64) { clear(values) })
}

// transposedWeights can be made only where every weight is square; elsewhere it crashes.
func transposedWeights(p *oracle.Problem, _ *rand.Rand) bool {
	if p.Layer == nil {
		return false
	}
	for _, l := range p.Layer.Linears() {
		if l.In != l.Out {
			return false
		}
		was := slices.Clone(l.Weight)
		for i := range l.Weight {
			l.Weight[i] = was[i%l.In*l.In+i/l.In]
		}
	}
	return true
}

// eachParameter changes all that a layer has learned. Without a layer there is nothing.
func eachParameter(p *oracle.Problem, change func([]float64)) bool {
	for _, values := range p.Parameters() {
		change(*values)
	}
	return p.Layer != nil
}

func draw(values []float64, scale float64, r *rand.Rand) {
	for i := range values {
		values[i] = scale * r.NormFloat64()
	}
}

func rms(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sum := 0.0
	for _, v := range values {
		sum += v * v
	}
	return math.Sqrt(sum / float64(len(values)))
}
