package catalogue

import (
	"math"
	"math/rand/v2"
	"slices"

	"github.com/difftest/difftest/harness/internal/oracle"
)

// scores holds mistakes with the softcap, the sinks and dropout.
var scores = []Mistake{
	{
		ID:          "softcap-missing",
		Title:       "the softcap missing",
		Explanation: "Scores are not capped.",
		Fix:         "Replace each score s by c tanh(s/c), after scaling and before masks and biases.",
		Family:      Scores,
		Kind:        Missing,
		Stage:       Score,
		Needs:       "a softcap",
		Refs:        []string{"C24"},
		Evidence:    "https://github.com/dphnAI/sonar/pull/688",
		Plant:       softcapMissing,
	},
	{
		ID:          "softcap-after-mask",
		Title:       "the softcap applied after the mask",
		Explanation: "Masked scores of -inf become -c, so masked keys take part.",
		Fix:         "Cap the scores before masking them.",
		Family:      Scores,
		Kind:        Altered,
		Stage:       Score,
		Needs:       "a softcap and a mask that hides keys",
		Refs:        []string{"C23"},
		Evidence:    "https://github.com/Dao-AILab/flash-attention/pull/1025",
		Plant:       softcapAfterMask,
	},
	{
		ID:          "softcap-after-bias",
		Title:       "the softcap applied after the additive mask or position bias",
		Explanation: "The sum of the score and the additive mask or position bias is capped. Masked keys stay hidden.",
		Fix:         "Cap the scores first, then add.",
		Family:      Scores,
		Kind:        Altered,
		Stage:       Score,
		Needs:       "a softcap, and an additive mask, ALiBi or a relative bias",
		Evidence:    "https://github.com/onnx/onnx/issues/7865",
		Plant:       softcapAfterBias,
	},
	{
		ID:          "softcap-times-score",
		Title:       "the softcap as s tanh(s/c) in place of c tanh(s/c)",
		Explanation: "The score multiplies tanh instead of the cap: nothing is capped, and no score is negative.",
		Fix:         "Replace each score s by c tanh(s/c).",
		Family:      Scores,
		Kind:        Altered,
		Stage:       Score,
		Needs:       "a softcap",
		Refs:        []string{"C25b"},
		Evidence:    "https://github.com/unslothai/unsloth-zoo/pull/593",
		Plant:       softcapTimesScore,
	},
	{
		ID:          "softcap-before-scale",
		Title:       "the softcap applied before the scale",
		Explanation: "The products of query and key are capped before they are scaled.",
		Fix:         "Scale first, then cap.",
		Family:      Scores,
		Kind:        Altered,
		Stage:       Score,
		Needs:       "a softcap and a scale other than 1",
		Refs:        []string{"C26"},
		Evidence:    "https://github.com/ROCm/rocm-libraries/pull/12229",
		Plant:       softcapBeforeScale,
	},
	{
		ID:          "sinks-missing",
		Title:       "the sinks missing",
		Explanation: "The softmax runs over the keys alone.",
		Fix:         "Add each head's sink to the softmax's denominator.",
		Family:      Scores,
		Kind:        Missing,
		Stage:       Score,
		Needs:       "sinks",
		Refs:        []string{"D18"},
		Evidence:    "https://github.com/TransformerLensOrg/TransformerLens/pull/1621",
		Plant:       withSinks(func(*oracle.Problem) []float64 { return nil }),
	},
	{
		ID:          "sinks-scaled",
		Title:       "the sinks multiplied by the scale",
		Explanation: "The sink was treated as a product of query and key.",
		Fix:         "Use the sink unscaled: it is a score.",
		Family:      Scores,
		Kind:        Altered,
		Stage:       Score,
		Needs:       "sinks and a scale other than 1",
		Refs:        []string{"D19"},
		Evidence:    "https://github.com/ROCm/rocm-libraries/pull/12229",
		Plant:       sinksScaled,
	},
	{
		ID:          "sinks-of-first-head",
		Title:       "the first head's sink for all heads",
		Explanation: "Every head uses the sink of head 0.",
		Fix:         "Use each head's own sink.",
		Family:      Scores,
		Kind:        Altered,
		Stage:       Score,
		Needs:       "sinks, and two or more heads",
		Refs:        []string{"D20"},
		Plant:       sinksOfFirstHead,
	},
	withVariants(Mistake{
		ID:    "head-constants-by-batch",
		Title: "the ALiBi slope, relative bias or sink of head b in all heads of batch element b",
		Explanation: "Batch and heads are exchanged: an array with one number per head was indexed by the batch element. " +
			"If there are more elements than heads, it starts again at the first.",
		Fix:    "Index by the head: the shape is (1, H, 1, 1), not (H, 1, 1, 1).",
		Family: Scores,
		Kind:   Layout,
		Stage:  Score,
		Needs:  "ALiBi, a relative bias or sinks, and two or more heads and batch elements",
		Plant:  headConstantsFrom(func(b, _, _, heads int) int { return b % heads }),
	}, variant{
		id:    "interleaved",
		title: "ALiBi slopes, relative biases or sinks repeated over the batch in the wrong order",
		plant: headConstantsFrom(func(b, h, batch, heads int) int { return (b*heads + h) / batch }),
	}),
	{
		ID:    "dropout-active",
		Title: "dropout of 0.1 on the attention weights",
		Explanation: "The layer is in training mode, or dropout_p is set. " +
			"A tenth of the weights are 0, and the others are divided by 0.9.",
		Fix:      "Call eval(), and pass dropout_p only in training.",
		Family:   Scores,
		Kind:     Altered,
		Stage:    Score,
		Refs:     []string{"D22"},
		Evidence: "https://github.com/pytorch/pytorch/issues/124464",
		Random:   true,
		Plant:    dropoutActive,
	},
}

func softcapMissing(p *oracle.Problem, _ *rand.Rand) bool {
	had := p.Softcap > 0
	p.Softcap = 0
	return had
}

func softcapAfterMask(p *oracle.Problem, r *rand.Rand) bool {
	return p.Softcap > 0 && rescore(p.VisibleScore, constantScore(-p.Softcap))(p, r)
}

// softcapAfterBias moves the softcap behind everything that is added to the scores.
func softcapAfterBias(p *oracle.Problem, _ *rand.Rand) bool {
	limit := p.Softcap
	if limit == 0 || p.VisibleScore != nil || p.Bias == nil && p.Slopes == nil && p.Relative == nil {
		return false
	}
	p.Softcap = 0
	p.VisibleScore = func(s float64) (float64, float64) {
		t := math.Tanh(s / limit)
		return limit * t, 1 - t*t
	}
	return true
}

// softcapTimesScore returns s tanh(s/c) for s = scale x, and the derivative
// scale (tanh(s/c) + s/c (1 - tanh²(s/c))).
func softcapTimesScore(p *oracle.Problem, _ *rand.Rand) bool {
	scale, limit := p.Scale, p.Softcap
	if limit == 0 {
		return false
	}
	p.Score = func(product float64) (score, slope float64) {
		s := scale * product
		t := math.Tanh(s / limit)
		return s * t, scale * (t + s/limit*(1-t*t))
	}
	return true
}

// softcapBeforeScale returns scale c tanh(x/c), and the derivative scale (1 - tanh²(x/c)).
func softcapBeforeScale(p *oracle.Problem, _ *rand.Rand) bool {
	scale, limit := p.Scale, p.Softcap
	if limit == 0 || scale == 1 {
		return false
	}
	p.Score = func(product float64) (score, slope float64) {
		t := math.Tanh(product / limit)
		return scale * limit * t, scale * (1 - t*t)
	}
	return true
}

// withSinks replaces the sinks, one per head.
func withSinks(sinksOf func(*oracle.Problem) []float64) plant {
	return func(p *oracle.Problem, _ *rand.Rand) bool {
		if p.Sinks == nil {
			return false
		}
		p.Sinks = sinksOf(p)
		return true
	}
}

func sinksScaled(p *oracle.Problem, r *rand.Rand) bool {
	return p.Scale != 1 && withSinks(func(p *oracle.Problem) []float64 { return multiplied(p.Sinks, p.Scale) })(p, r)
}

func sinksOfFirstHead(p *oracle.Problem, r *rand.Rand) bool {
	return len(p.Sinks) > 1 && withSinks(func(p *oracle.Problem) []float64 {
		return slices.Repeat(p.Sinks[:1], len(p.Sinks))
	})(p, r)
}

// dropoutActive drops the same weights each time the problem runs. It does not apply if r is nil.
func dropoutActive(p *oracle.Problem, r *rand.Rand) bool {
	const rate = 0.1
	if r == nil {
		return false
	}
	seed, queries := r.Uint64(), uint64(queryCount(p))
	return withWeights(func(row oracle.Row) (weights, slopes []float64) {
		weights = softmaxWeights(row)
		own := rand.New(rand.NewPCG(seed, uint64(row.Head)*queries+uint64(row.Query)))
		for n := range weights {
			weights[n] /= 1 - rate
			if own.Float64() < rate {
				weights[n] = 0
			}
		}
		return weights, weights
	})(p, r)
}

// headSource returns the head whose constants head h of batch element b gets.
type headSource func(b, h, batch, heads int) int

// headConstantsFrom gives heads the ALiBi slopes, relative biases and sinks of other heads, which
// may depend on the batch element. The relative bias becomes an additive mask.
func headConstantsFrom(of headSource) plant {
	return func(p *oracle.Problem, _ *rand.Rand) bool {
		batch, heads := batchSize(p), headCount(p)
		if batch == 1 || heads == 1 || p.Slopes == nil && p.Relative == nil && p.Sinks == nil {
			return false
		}
		if p.Relative != nil && p.Bias != nil {
			return false
		}
		from := make([]int, batch*heads)
		for n := range from {
			from[n] = of(n/heads, n%heads, batch, heads)
		}
		if p.Relative != nil {
			p.Bias, p.Relative = relativeAsBias(p, from), nil
		}
		p.Slopes, p.Sinks = pick(p.Slopes, from), pick(p.Sinks, from)
		return true
	}
}

// pick returns the values of some heads, or nil for nil.
func pick(values []float64, heads []int) []float64 {
	if values == nil {
		return nil
	}
	var picked []float64
	for _, head := range heads {
		picked = append(picked, values[head])
	}
	return picked
}

// relativeAsBias returns the relative bias as an additive mask (..., H, L, S). Head n of the whole
// batch has the biases of head from[n].
func relativeAsBias(p *oracle.Problem, from []int) *oracle.Array {
	lead := []int{batchSize(p), headCount(p)}
	if p.Layer == nil {
		lead = p.Query.Shape[:len(p.Query.Shape)-2]
	}
	length, keys, reach := queryCount(p), keyCount(p), relativeReach(p)
	distance := mapDistance(p.RelativeDistance, func(d int) int { return min(max(d, -reach), reach) })
	bias := &oracle.Array{Shape: append(slices.Clone(lead), length, keys)}
	for _, head := range from {
		for at := range length * keys {
			d := distance(p.Offset+at/keys, at%keys)
			bias.Value = append(bias.Value, p.Relative[(d+reach)*headCount(p)+head])
		}
	}
	return bias
}
