package catalogue

import (
	"math"
	"math/rand/v2"

	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// scales are what the scores are multiplied by.
var scales = []Mistake{
	{
		ID: "scale-missing", Title: "the scores not scaled",
		Explanation: "The products of query and key go into the softmax as they are.",
		Fix:         "Multiply them by 1/sqrt(E), or by the scale that the layer has.",
		Family:      Scales, Kind: Missing, Stage: Score, Needs: "a scale other than 1", Refs: []string{"D01"},
		Evidence: "https://github.com/mlc-ai/mlc-llm/pull/3426",
		Plant:    scale(func(*oracle.Problem) float64 { return 1 }),
	},
	{
		ID: "scale-of-model", Title: "the scale 1/sqrt(D) of the model in place of 1/sqrt(E) of a head",
		Explanation: "The width of all heads together was taken for that of one.",
		Fix:         "Multiply the products of query and key by 1/sqrt(E), or by the scale that the layer has.",
		Family:      Scales, Kind: Altered, Stage: Score, Needs: "a scale other than this", Refs: []string{"D02"},
		Evidence: "https://github.com/Graylab/DL4Proteins-notebooks/issues/12",
		Plant:    scale(func(p *oracle.Problem) float64 { return rootOf(modelWidth(p)) }),
	},
	{
		ID: "scale-twice", Title: "the scale applied twice",
		Explanation: "Queries are scaled, and then the scores again.",
		Fix:         "Scale the queries or the scores, once: scaled_dot_product_attention has a scale of its own.",
		Family:      Scales, Kind: Altered, Stage: Score, Needs: "a scale other than 1", Refs: []string{"D03"},
		Evidence: "https://github.com/huggingface/transformers/pull/38290",
		Plant:    scale(func(p *oracle.Problem) float64 { return p.Scale * p.Scale }),
	},
	{
		ID: "scale-inverted", Title: "the scores divided by the scale",
		Explanation: "A factor was taken for a divisor.",
		Fix:         "Multiply by 1/sqrt(E), or divide by sqrt(E).",
		Family:      Scales, Kind: Altered, Stage: Score, Needs: "a scale other than 1", Refs: []string{"D04"},
		Evidence: "https://github.com/esceptico/perceiver-io/issues/9",
		Plant:    scale(func(p *oracle.Problem) float64 { return 1 / p.Scale }),
	},
	{
		ID: "scale-of-heads", Title: "the scale 1/sqrt(H) of the number of heads",
		Explanation: "The number of heads was taken for the width of one.",
		Fix:         "Multiply the products of query and key by 1/sqrt(E), or by the scale that the layer has.",
		Family:      Scales, Kind: Altered, Stage: Score, Needs: "a scale other than this", Refs: []string{"D05"},
		Evidence: "https://github.com/tenstorrent/tt-metal/pull/56789",
		Plant:    scale(func(p *oracle.Problem) float64 { return rootOf(headCount(p)) }),
	},
	{
		ID: "scale-hard-coded", Title: "the scale 1/8 of heads of 64",
		Explanation: "The usual head width is written into the code.",
		Fix:         "Multiply the products of query and key by 1/sqrt(E), or by the scale that the layer has.",
		Family:      Scales, Kind: Altered, Stage: Score, Needs: "a scale other than 1/8", Refs: []string{"D06"},
		Evidence: "https://github.com/pytorch/text/pull/1432",
		Plant:    scale(func(*oracle.Problem) float64 { return rootOf(64) }),
	},
	{
		ID: "scale-of-model-per-head", Title: "the scale of D/H, or of the values' width, in place of that of the head",
		Explanation: "The width of a head was worked out from the model's, or taken from the values, and is another.",
		Fix:         "Multiply the products of query and key by 1/sqrt(E), or by the scale that the layer has.",
		Family:      Scales, Kind: Altered, Stage: Score, Needs: "heads whose width is not D/H, or values of another width", Refs: []string{"D07"},
		Evidence: "https://github.com/SafeAILab/EAGLE/issues/315",
		Plant:    scaleOfModelPerHead,
	},
	{
		ID: "scale-default", Title: "the scale 1/sqrt(E) in place of the one that is set",
		Explanation: "The layer's own scale is ignored.",
		Fix:         "Pass the scale on: it need not be 1/sqrt(E).",
		Family:      Scales, Kind: Altered, Stage: Score, Needs: "a scale other than 1/sqrt(E)", Refs: []string{"D08s"},
		Evidence: "https://github.com/huggingface/pytorch-image-models/issues/2280",
		Plant:    scale(func(p *oracle.Problem) float64 { return rootOf(headWidth(p)) }),
	},
}

// scale puts another in the place of the case's.
func scale(to func(*oracle.Problem) float64) func(*oracle.Problem, *rand.Rand) bool {
	return func(p *oracle.Problem, _ *rand.Rand) bool {
		was := p.Scale
		if wrong := to(p); math.Abs(wrong-was) > 1e-9*was {
			p.Scale = wrong
		}
		return p.Scale != was
	}
}

// rootOf is 1/sqrt(width).
func rootOf(width int) float64 { return 1 / math.Sqrt(float64(width)) }

// scaleOfModelPerHead is of a layer 1/sqrt(D/H), of a function 1/sqrt(Ev).
func scaleOfModelPerHead(p *oracle.Problem, r *rand.Rand) bool {
	width := float64(num.Last(p.Value.Shape))
	if p.Layer != nil {
		width = float64(modelWidth(p)) / float64(headCount(p))
	}
	if width == float64(headWidth(p)) {
		return false
	}
	return scale(func(*oracle.Problem) float64 { return 1 / math.Sqrt(width) })(p, r)
}
