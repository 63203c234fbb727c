package catalogue

import (
	"math"
	"slices"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// Identity is another way to compute the same result. No output tells it from the right way, so it
// is no mistake, although some people report it as one.
type Identity struct {
	ID       string
	Title    string // follows "computed with"
	Why      string // why the result is the same, in one or two sentences
	Needs    string // when the result is the same; empty if always
	Refs     []string
	Evidence string // the address of a public report as a mistake; empty if none was found

	// Plant changes p to compute in this way. It reports whether p can be computed so with the same
	// result.
	Plant func(p *oracle.Problem) bool
}

// IdentityByID returns the identity with the given id, and whether there is one.
func IdentityByID(id string) (Identity, bool) {
	i := slices.IndexFunc(Identities, func(other Identity) bool { return other.ID == id })
	if i < 0 {
		return Identity{}, false
	}
	return Identities[i], true
}

// Identities lists all identities.
var Identities = []Identity{
	{
		ID:    "mask-after-softmax-renormalised",
		Title: "masked keys removed after the softmax, and the other weights renormalised",
		Why: "The sum over all keys cancels, leaving the softmax over the keys that are seen. " +
			"Without renormalising it is the mistake mask-after-softmax.",
		Needs:    "a mask, a key for every query, and no sink",
		Refs:     []string{"C17"},
		Evidence: "https://github.com/abisee/pointer-generator/issues/88",
		Plant:    maskAfterSoftmaxRenormalised,
	},
	{
		ID:    "mask-minus-billion",
		Title: "masked scores of -1e9, or of the lowest finite number, instead of -inf",
		Why: "e^-1e9 is 0 in every precision. Only a query that sees no key shows the difference: " +
			"there mask-finite and mask-empty-row-nan are mistakes.",
		Needs:    "a mask, and a key for every query",
		Refs:     []string{"C19b", "C22m", "C22n"},
		Evidence: "https://github.com/huggingface/transformers/pull/17306",
		Plant:    maskMinusBillion,
	},
	{
		ID:       "mask-added-twice",
		Title:    "a mask of 0 and -inf added twice",
		Why:      "Twice -inf is -inf, and twice 0 is 0. With any other number it is the mistake bias-twice.",
		Needs:    "an additive mask of only 0 and -inf",
		Refs:     []string{"C21"},
		Evidence: "https://github.com/huggingface/transformers/pull/17306",
		Plant:    maskAddedTwice,
	},
	{
		ID:    "scale-on-query",
		Title: "the scale applied to the queries or the keys instead of the scores, or its root to both",
		Why: "Scaling one factor scales the product. " +
			"It must follow any norm of queries and keys, which would undo it.",
		Plant: scaleOnQuery,
	},
	{
		ID:    "softmax-without-maximum",
		Title: "a softmax that does not subtract the largest score",
		Why: "The factor e^maximum cancels unless e^score overflows. " +
			"With a score above 88 in float32, or 11 in float16, the output is not finite and the case fails.",
		Needs: "a score between -88 and 88 for every query, and none above",
		Refs:  []string{"D15"},
		Plant: softmaxWithoutMaximum,
	},
	{
		ID:       "sinks-as-sigmoid",
		Title:    "sinks applied to the output, as sigmoid(logsumexp - sink)",
		Why:      "That sigmoid is the share of the softmax that the sink leaves to the keys.",
		Needs:    "sinks",
		Evidence: "https://github.com/pytorch/torchtitan/pull/2211",
		Plant:    sinksAsSigmoid,
	},
	{
		ID:    "key-bias-missing-plain",
		Title: "the key bias missing where scores are plain products of query and key",
		Why: "A query's product with the bias is the same for every key, so the softmax drops it. " +
			"With RoPE, a norm, a softcap, sinks, or appended or cached keys it is the mistake key-bias-missing.",
		Needs:    "a key bias, and no RoPE, norm, softcap, sink, appended or cached key",
		Refs:     []string{"A09"},
		Evidence: "https://github.com/baaivision/EVA/issues/53",
		Plant:    keyBiasMissingPlain,
	},
	{
		ID:    "heads-permuted-together",
		Title: "the heads in another order in all four projections",
		Why: "The output projection sums over the heads, so their order does not matter if everything that " +
			"belongs to a head moves with it.",
		Needs: "a layer with two or more heads",
		Refs:  []string{"A31g"},
		Plant: headsPermutedTogether,
	},
	{
		ID:    "rope-positions-shifted",
		Title: "RoPE positions that start at 1, or anywhere else, for queries and keys alike",
		Why: "Rotated products depend on the distance alone. " +
			"Each batch element may have its own shift, so left padding may be counted or not.",
		Needs:    "RoPE",
		Refs:     []string{"E03", "E19"},
		Evidence: "https://github.com/huggingface/transformers/issues/22161",
		Plant:    ropePositionsShifted,
	},
	{
		ID:    "alibi-by-key",
		Title: "ALiBi as the slope times the key's position, or plus any constant in a row",
		Why: "The softmax drops any constant in a row, so slope*j can replace -slope*(i-j). " +
			"This fails where a query sees later keys, a sink or an appended key.",
		Needs:    "ALiBi, a causal mask, and no sink or appended key",
		Refs:     []string{"F05s"},
		Evidence: "https://github.com/mosaicml/llm-foundry/issues/186",
		Plant:    alibiByKey,
	},
	{
		ID:    "cache-slots-permuted",
		Title: "cached keys and values in another order, as in a ring buffer, and their padding with them",
		Why: "The softmax and the weighted sum ignore the order of the keys, if only the padding refers to a " +
			"cached key's slot.",
		Needs: "a cache, and no window, boolean or additive mask, ALiBi or relative bias",
		Refs:  []string{"H09"},
		Plant: cacheSlotsPermuted,
	},
	{
		ID:    "qk-norm-after-rope-constant",
		Title: "queries and keys normed after RoPE where the norm's weight is one number",
		Why: "RoPE preserves the mean square, and one factor passes through it. " +
			"With trained weights it is the mistake qk-norm-after-rope.",
		Needs:    "query and key norms whose weights are one number, and RoPE",
		Refs:     []string{"I05u"},
		Evidence: "https://github.com/karpathy/nanochat/issues/743",
		Plant:    qkNormAfterRoPEConstant,
	},
}

func maskAfterSoftmaxRenormalised(p *oracle.Problem) bool {
	if !hasMask(p) || p.HasEmptyRow() || p.Sinks != nil {
		return false
	}
	p.MaskedScore = addToScore(0)
	p.Softmax = func(row oracle.Row) (weights, slopes []float64) {
		weights, left := softmaxWeights(row), 0.0
		for n, masked := range row.Masked {
			if masked {
				weights[n] = 0
			}
			left += weights[n]
		}
		for n := range weights {
			weights[n] /= left
		}
		return weights, weights
	}
	return true
}

func maskMinusBillion(p *oracle.Problem) bool {
	if !hasMask(p) || p.HasEmptyRow() {
		return false
	}
	p.MaskedScore = constantScore(-1e9)
	return true
}

func maskAddedTwice(p *oracle.Problem) bool {
	neither := func(v float64) bool { return v != 0 && !math.IsInf(v, -1) }
	if p.Bias == nil || slices.ContainsFunc(p.Bias.Value, neither) {
		return false
	}
	p.Bias = &oracle.Array{Shape: p.Bias.Shape, Value: multiplied(p.Bias.Value, 2)}
	return true
}

// scaleOnQuery scales copies of the queries: other problems share the originals.
func scaleOnQuery(p *oracle.Problem) bool {
	scale := p.Scale
	p.Scale = 1
	p.Prepare = func(q, _, _ *oracle.Field) {
		q.Value, q.Variance = multiplied(q.Value, scale), multiplied(q.Variance, scale*scale)
	}
	return true
}

// softmaxWithoutMaximum does not apply to additive masks with large finite numbers: they could make
// every e^score of a row 0 or infinite.
func softmaxWithoutMaximum(p *oracle.Problem) bool {
	large := func(v float64) bool { return math.Abs(v) > 88 && !math.IsInf(v, -1) }
	if p.Bias != nil && slices.ContainsFunc(p.Bias.Value, large) {
		return false
	}
	p.Softmax = func(row oracle.Row) (weights, slopes []float64) {
		total := math.Exp(row.Sink)
		for _, s := range row.Scores {
			weights = append(weights, math.Exp(s))
			total += math.Exp(s)
		}
		for n := range weights {
			weights[n] /= total
		}
		return weights, weights
	}
	return true
}

func sinksAsSigmoid(p *oracle.Problem) bool {
	if p.Sinks == nil {
		return false
	}
	p.Softmax = func(row oracle.Row) (weights, slopes []float64) {
		sink := row.Sink
		row.Sink = math.Inf(-1)
		top, total := slices.Max(row.Scores), 0.0
		for _, s := range row.Scores {
			total += math.Exp(s - top)
		}
		left := 1 / (1 + math.Exp(sink-top-math.Log(total)))
		weights = multiplied(softmaxWeights(row), left)
		return weights, weights
	}
	return true
}

func keyBiasMissingPlain(p *oracle.Problem) bool {
	l := p.Layer
	if l == nil || l.Key.Bias == nil || l.KeyRotary != nil || l.KeyNorm != nil {
		return false
	}
	if p.Softcap != 0 || p.Sinks != nil || p.Past != nil || appendedCount(p) > 0 {
		return false
	}
	l.Key.Bias = nil
	return true
}

func headsPermutedTogether(p *oracle.Problem) bool {
	if p.Layer == nil || p.Layer.Heads == 1 || p.Layer.LearnedKey != nil || dependsOnHeads(p) {
		return false
	}
	p.Layer.SplitIndex, p.Layer.MergeIndex = reversedIndex, reversedIndex
	return true
}

// ropePositionsShifted adds 3 to every position. Cached keys are rotated already, so they are
// rotated by the shift alone.
func ropePositionsShifted(p *oracle.Problem) bool {
	l := p.Layer
	if l == nil || l.QueryRotary == nil || l.KeyRotary == nil {
		return false
	}
	const shift = 3
	query, key, past := *l.QueryRotary, *l.KeyRotary, *l.KeyRotary
	query.First += shift
	key.First += shift
	past.Position = func(int, int) float64 { return shift / past.Factor }
	l.QueryRotary, l.KeyRotary, l.PastRotary = &query, &key, &past
	return true
}

// alibiByKey measures distances from a position after the last key, so that they are never
// negative.
func alibiByKey(p *oracle.Problem) bool {
	if p.Slopes == nil || p.Causal == nil || p.Sinks != nil || appendedCount(p) > 0 {
		return false
	}
	last := keyCount(p)
	p.SlopeDistance = func(_, key int) int { return last - key }
	return true
}

// cacheSlotsPermuted reverses the cached keys and values, and their padding.
func cacheSlotsPermuted(p *oracle.Problem) bool {
	if p.Past == nil || p.Window > 0 || p.Slopes != nil || p.Relative != nil {
		return false
	}
	if p.Allow != nil || p.Block != nil || p.MisplacedPadding != nil || p.Bias != nil {
		return false
	}
	from := func(past, _, slot int) int {
		if slot < past {
			return past - 1 - slot
		}
		return slot
	}
	if p.Padding != nil {
		keys, past := keyCount(p), pastCount(p)
		padding := attention.Mask{Shape: p.Padding.Shape, Data: slices.Clone(p.Padding.Data)}
		for i := range padding.Data {
			padding.Data[i] = p.Padding.Data[i-i%keys+from(past, 0, i%keys)]
		}
		p.Padding = &padding
	}
	return writeSlots(from)(p, nil)
}

func qkNormAfterRoPEConstant(p *oracle.Problem) bool {
	if !hasQKNorm(p) || !allEqual(p.Layer.QueryNorm.Weight) || !allEqual(p.Layer.KeyNorm.Weight) {
		return false
	}
	return qkNormAfterRoPE(p, nil)
}

// allEqual reports whether all values are the same number.
func allEqual(values []float64) bool {
	return !slices.ContainsFunc(values, func(v float64) bool { return v != values[0] })
}
