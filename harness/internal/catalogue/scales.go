package catalogue

import (
	"math"
	"math/rand/v2"

	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// scales holds mistakes with the factor that multiplies the scores.
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
		Plant:       withScale(func(*oracle.Problem) float64 { return 1 }),
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
		Plant:       withScale(func(p *oracle.Problem) float64 { return inverseRoot(modelWidth(p)) }),
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
		Plant:       withScale(func(p *oracle.Problem) float64 { return p.Scale * p.Scale }),
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
		Plant:       withScale(func(p *oracle.Problem) float64 { return 1 / p.Scale }),
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
		Plant:       withScale(func(p *oracle.Problem) float64 { return inverseRoot(headCount(p)) }),
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
		Plant:       withScale(func(*oracle.Problem) float64 { return inverseRoot(64) }),
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
		Plant:       withScale(func(p *oracle.Problem) float64 { return inverseRoot(headWidth(p)) }),
	},
	{
		ID:    "scale-by-position",
		Title: "the scores multiplied by the logarithm of the query's position",
		Explanation: "A temperature grows with the position: a query that sees n keys multiplies its scores by ln n. " +
			"The first query gives all keys the same weight.",
		Fix:      "Apply a temperature by position only in layers that have one, with their own constants.",
		Family:   Scales,
		Kind:     Altered,
		Stage:    Score,
		Evidence: "https://github.com/NVIDIA/TensorRT-LLM/pull/3491",
		Plant:    scaleByPosition,
	},
}

// withScale replaces the scale. It applies only if the scale changes by more than rounding.
func withScale(scaleOf func(*oracle.Problem) float64) plant {
	return func(p *oracle.Problem, _ *rand.Rand) bool {
		right := p.Scale
		if wrong := scaleOf(p); math.Abs(wrong-right) > 1e-9*right {
			p.Scale = wrong
		}
		return p.Scale != right
	}
}

// inverseRoot returns 1/sqrt(width).
func inverseRoot(width int) float64 { return 1 / math.Sqrt(float64(width)) }

// scaleOfModelPerHead uses 1/sqrt(D/H) for a layer, and 1/sqrt(Ev) for a function.
func scaleOfModelPerHead(p *oracle.Problem, r *rand.Rand) bool {
	width := float64(num.Last(p.Value.Shape))
	if p.Layer != nil {
		width = float64(modelWidth(p)) / float64(headCount(p))
	}
	if width == float64(headWidth(p)) {
		return false
	}
	return withScale(func(*oracle.Problem) float64 { return 1 / math.Sqrt(width) })(p, r)
}

// scaleByPosition multiplies the query at position i by ln(i + 1).
func scaleByPosition(p *oracle.Problem, _ *rand.Rand) bool {
	first := p.Offset
	p.Prepare = afterPrepare(p.Prepare, func(q, _, _ *oracle.Field) {
		length, width := q.Shape[len(q.Shape)-2], num.Last(q.Shape)
		*q = eachValue(*q, func(at int) float64 { return math.Log(float64(first + at/width%length + 1)) })
	})
	return true
}

// prepare is the type of [oracle.Hooks.Prepare].
type prepare = func(q, k, v *oracle.Field)

// afterPrepare runs a change after what another mistake prepared; before may be nil.
func afterPrepare(before, change prepare) prepare {
	return func(q, k, v *oracle.Field) {
		if before != nil {
			before(q, k, v)
		}
		change(q, k, v)
	}
}

// eachValue multiplies each value of a field by a factor that depends on its index.
func eachValue(f oracle.Field, factor func(at int) float64) oracle.Field {
	out := f.ZerosLike()
	for i, v := range f.Value {
		c := factor(i)
		out.Value[i] = c * v
		if f.Variance != nil {
			out.Variance[i] = c * c * f.Variance[i]
		}
	}
	return out
}
