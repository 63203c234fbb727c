package catalogue

import (
	"math"
	"slices"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// Identity is another way to compute the same: no output tells it from the right one, so it is no
// mistake, although some are reported as one.
type Identity struct {
	ID       string
	Title    string // follows "computed with"
	Why      string // why the result is the same, a sentence or two
	Needs    string // where it is the same; "" is everywhere
	Refs     []string
	Evidence string // a public report of it as a mistake; "" where none was found

	// Plant computes a problem so. It says false where it is not the same, or nothing can be
	// computed so.
	Plant func(p *oracle.Problem) bool
}

// IdentityByID finds an identity.
func IdentityByID(id string) (Identity, bool) {
	i := slices.IndexFunc(Identities, func(other Identity) bool { return other.ID == id })
	if i < 0 {
		return Identity{}, false
	}
	return Identities[i], true
}

// Identities are all of them.
var Identities = []Identity{
	{
		ID:    "mask-after-softmax-renormalised",
		Title: "masked keys removed after the softmax, and the other weights renormalised",
		Why: "The sum over all keys cancels, leaving the softmax over the keys that are seen. " +
			"Without renormalising it is the mistake mask-after-softmax.",
		Needs:    "a mask, a key for every query, and no sink",
		Refs:     []string{"C17"},
		Evidence: "https://github.com/abisee/pointer-generator/issues/88",
		Plant:    maskedAfterwards,
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
		Plant:    infiniteMaskTwice,
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
		Plant:    keyBiasMissing,
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
		Plant:    positionsShifted,
	},
	{
		ID:    "alibi-by-key",
		Title: "ALiBi as the slope times the key's position, or plus any constant in a row",
		Why: "The softmax drops any constant in a row, so slope*j can replace -slope*(i-j). " +
			"This fails where a query sees later keys or a sink.",
		Needs:    "ALiBi, a causal mask, and no sink",
		Refs:     []string{"F05s"},
		Evidence: "https://github.com/mosaicml/llm-foundry/issues/186",
		Plant:    slopesByKey,
	},
	{
		ID:    "cache-slots-permuted",
		Title: "cached keys and values in another order, as in a ring buffer, and their padding with them",
		Why: "The softmax and the weighted sum ignore the order of the keys, if only the padding refers to a " +
			"cached key's slot.",
		Needs: "a cache, and no window, boolean or additive mask, ALiBi or relative bias",
		Refs:  []string{"H09"},
		Plant: slotsPermuted,
	},
	{
		ID:    "qk-norm-after-rope-constant",
		Title: "queries and keys normed after RoPE where the norm's weight is one number",
		Why: "RoPE preserves the mean square, and one factor passes through it. " +
			"With trained weights it is the mistake qk-norm-after-rope.",
		Needs:    "query and key norms whose weights are one number, and RoPE",
		Refs:     []string{"I05u"},
		Evidence: "https://github.com/karpathy/nanochat/issues/743",
		Plant:    normConstantLast,
	},
}

func maskedAfterwards(p *oracle.Problem) bool {
	if !hides(p) || p.Blank() || p.Sinks != nil {
		return false
	}
	p.Hidden = plus(0)
	p.Weigh = func(row oracle.Row) (weights, slopes []float64) {
		weights, left := softmax(row), 0.0
		for n, hidden := range row.Hidden {
			if hidden {
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
	if !hides(p) || p.Blank() {
		return false
	}
	p.Hidden = constant(-1e9)
	return true
}

func infiniteMaskTwice(p *oracle.Problem) bool {
	if p.Bias == nil || slices.ContainsFunc(p.Bias.Value, func(v float64) bool { return v != 0 && !math.IsInf(v, -1) }) {
		return false
	}
	p.Bias = &oracle.Array{Shape: p.Bias.Shape, Value: times(p.Bias.Value, 2)}
	return true
}

// scaleOnQuery leaves the queries themselves alone, which other problems share.
func scaleOnQuery(p *oracle.Problem) bool {
	scale := p.Scale
	p.Scale = 1
	p.Prepare = func(q, _, _ *oracle.Field) {
		q.Value, q.Variance = times(q.Value, scale), times(q.Variance, scale*scale)
	}
	return true
}

// softmaxWithoutMaximum leaves out masks of large finite numbers, of which a whole row may be made.
func softmaxWithoutMaximum(p *oracle.Problem) bool {
	if p.Bias != nil && slices.ContainsFunc(p.Bias.Value, func(v float64) bool { return math.Abs(v) > 88 && !math.IsInf(v, -1) }) {
		return false
	}
	p.Weigh = func(row oracle.Row) (weights, slopes []float64) {
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
	p.Weigh = func(row oracle.Row) (weights, slopes []float64) {
		sink := row.Sink
		row.Sink = math.Inf(-1)
		top, total := slices.Max(row.Scores), 0.0
		for _, s := range row.Scores {
			total += math.Exp(s - top)
		}
		left := 1 / (1 + math.Exp(sink-top-math.Log(total)))
		weights = times(softmax(row), left)
		return weights, weights
	}
	return true
}

func keyBiasMissing(p *oracle.Problem) bool {
	l := p.Layer
	if l == nil || l.Key.Bias == nil || l.KeyTurn != nil || l.KeyNorm != nil || p.Softcap != 0 || p.Sinks != nil || p.Past != nil || appended(p) > 0 {
		return false
	}
	l.Key.Bias = nil
	return true
}

func headsPermutedTogether(p *oracle.Problem) bool {
	if p.Layer == nil || p.Layer.Heads == 1 || p.Layer.LearnedKey != nil || oneForEachHead(p) {
		return false
	}
	p.Layer.Split, p.Layer.Merge = reversed, reversed
	return true
}

// positionsShifted turns cached keys, which are rotated already, by the shift alone.
func positionsShifted(p *oracle.Problem) bool {
	l := p.Layer
	if l == nil || l.QueryTurn == nil || l.KeyTurn == nil {
		return false
	}
	const shift = 3
	query, key, past := *l.QueryTurn, *l.KeyTurn, *l.KeyTurn
	query.First += shift
	key.First += shift
	past.Position = func(int, int) float64 { return shift / past.Factor }
	l.QueryTurn, l.KeyTurn, l.PastTurn = &query, &key, &past
	return true
}

// slopesByKey counts from behind the last key, so that what is lost is never negative.
func slopesByKey(p *oracle.Problem) bool {
	if p.Slopes == nil || p.Causal == nil || p.Sinks != nil {
		return false
	}
	last := keyCount(p)
	p.SlopeDistance = func(_, key int) int { return last - key }
	return true
}

func slotsPermuted(p *oracle.Problem) bool {
	if p.Past == nil || p.Window > 0 || p.Slopes != nil || p.Relative != nil || p.Allow != nil || p.Block != nil || p.Filler != nil || p.Bias != nil {
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
	return slots(from)(p, nil)
}

func normConstantLast(p *oracle.Problem) bool {
	if !hasNorms(p) || !one(p.Layer.QueryNorm.Weight) || !one(p.Layer.KeyNorm.Weight) {
		return false
	}
	return normLast(p, nil)
}

// one says whether all values are one number.
func one(values []float64) bool {
	return !slices.ContainsFunc(values, func(v float64) bool { return v != values[0] })
}
