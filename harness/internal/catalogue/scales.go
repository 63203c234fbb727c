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
		ID:          "scale-missing",
		Title:       "the scores not scaled",
		Explanation: "The products of query and key enter the softmax unscaled.",
		Fix:         "Multiply them by 1/sqrt(E), or by the layer's own scale.",
		Family:      Scales,
		Kind:        Missing,
		Stage:       Score,
		Needs:       "a scale other than 1",
		Refs:        []string{"D01"},
		Evidence:    "https://github.com/mlc-ai/mlc-llm/pull/3426",
		Plant:       scale(func(*oracle.Problem) float64 { return 1 }),
	},
	{
		ID:          "scale-of-model",
		Title:       "the scale 1/sqrt(D) of the model in place of 1/sqrt(E) of a head",
		Explanation: "The model width was used as the width of a head.",
		Fix:         "Multiply the products of query and key by 1/sqrt(E), or by the layer's own scale.",
		Family:      Scales,
		Kind:        Altered,
		Stage:       Score,
		Needs:       "a scale other than 1/sqrt(D)",
		Refs:        []string{"D02"},
		Evidence:    "https://github.com/Graylab/DL4Proteins-notebooks/issues/12",
		Plant:       scale(func(p *oracle.Problem) float64 { return rootOf(modelWidth(p)) }),
	},
	{
		ID:          "scale-twice",
		Title:       "the scale applied twice",
		Explanation: "The queries are scaled, and then the scores are scaled again.",
		Fix:         "Scale the queries or the scores, not both. scaled_dot_product_attention scales by itself.",
		Family:      Scales,
		Kind:        Altered,
		Stage:       Score,
		Needs:       "a scale other than 1",
		Refs:        []string{"D03"},
		Evidence:    "https://github.com/huggingface/transformers/pull/38290",
		Plant:       scale(func(p *oracle.Problem) float64 { return p.Scale * p.Scale }),
	},
	{
		ID:          "scale-inverted",
		Title:       "the scores divided by the scale",
		Explanation: "The scores are divided by the factor instead of multiplied.",
		Fix:         "Multiply by 1/sqrt(E), or divide by sqrt(E).",
		Family:      Scales,
		Kind:        Altered,
		Stage:       Score,
		Needs:       "a scale other than 1",
		Refs:        []string{"D04"},
		Evidence:    "https://github.com/esceptico/perceiver-io/issues/9",
		Plant:       scale(func(p *oracle.Problem) float64 { return 1 / p.Scale }),
	},
	{
		ID:          "scale-of-heads",
		Title:       "the scale 1/sqrt(H) of the number of heads",
		Explanation: "The number of heads was used as the width of a head.",
		Fix:         "Multiply the products of query and key by 1/sqrt(E), or by the layer's own scale.",
		Family:      Scales,
		Kind:        Altered,
		Stage:       Score,
		Needs:       "a scale other than 1/sqrt(H)",
		Refs:        []string{"D05"},
		Evidence:    "https://github.com/tenstorrent/tt-metal/pull/56789",
		Plant:       scale(func(p *oracle.Problem) float64 { return rootOf(headCount(p)) }),
	},
	{
		ID:          "scale-hard-coded",
		Title:       "the scale 1/8, hard-coded for heads of width 64",
		Explanation: "The usual head width is hard-coded.",
		Fix:         "Multiply the products of query and key by 1/sqrt(E), or by the layer's own scale.",
		Family:      Scales,
		Kind:        Altered,
		Stage:       Score,
		Needs:       "a scale other than 1/8",
		Refs:        []string{"D06"},
		Evidence:    "https://github.com/pytorch/text/pull/1432",
		Plant:       scale(func(*oracle.Problem) float64 { return rootOf(64) }),
	},
	{
		ID:          "scale-of-model-per-head",
		Title:       "the scale of width D/H, or of the values' width, instead of the head's width E",
		Explanation: "The head width was computed from the model width, or taken from the values, and is wrong.",
		Fix:         "Multiply the products of query and key by 1/sqrt(E), or by the layer's own scale.",
		Family:      Scales,
		Kind:        Altered,
		Stage:       Score,
		Needs:       "a head width other than D/H, or values of another width",
		Refs:        []string{"D07"},
		Evidence:    "https://github.com/SafeAILab/EAGLE/issues/315",
		Plant:       scaleOfModelPerHead,
	},
	{
		ID:          "scale-default",
		Title:       "the scale 1/sqrt(E) instead of the layer's own",
		Explanation: "The layer's own scale is ignored.",
		Fix:         "Pass the layer's scale on. It need not be 1/sqrt(E).",
		Family:      Scales,
		Kind:        Altered,
		Stage:       Score,
		Needs:       "a scale other than 1/sqrt(E)",
		Refs:        []string{"D08s"},
		Evidence:    "https://github.com/huggingface/pytorch-image-models/issues/2280",
		Plant:       scale(func(p *oracle.Problem) float64 { return rootOf(headWidth(p)) }),
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
