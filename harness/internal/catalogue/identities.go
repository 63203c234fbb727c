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
		ID: "mask-after-softmax-renormalised", Title: "hidden keys taken out after the softmax, and the other weights divided by their sum",
		Why:   "The sum of all keys cancels: what is left is the softmax over the keys that are seen. Without the division it is the mistake mask-after-softmax.",
		Needs: "a mask, and a key for every query; no sink", Refs: []string{"C17"},
		Evidence: "https://github.com/abisee/pointer-generator/issues/88",
		Plant:    maskedAfterwards,
	},
	{
		ID: "mask-minus-billion", Title: "hidden scores of -1e9 or of the smallest finite number in place of -inf",
		Why:   "e^-1e9 is 0 in every precision. A query that sees no key shows the difference: mask-finite and mask-empty-row-nan are mistakes there.",
		Needs: "a mask, and a key for every query", Refs: []string{"C19b", "C22m", "C22n"},
		Evidence: "https://github.com/huggingface/transformers/pull/17306",
		Plant:    maskMinusBillion,
	},
	{
		ID: "mask-added-twice", Title: "a mask of 0 and -inf added twice",
		Why:   "Twice -inf is -inf, and twice 0 is 0. With any other number it is the mistake bias-twice.",
		Needs: "an additive mask of 0 and -inf alone", Refs: []string{"C21"},
		Evidence: "https://github.com/huggingface/transformers/pull/17306",
		Plant:    infiniteMaskTwice,
	},
	{
		ID: "scale-on-query", Title: "the queries scaled in place of the scores, or the keys, or both by the root",
		Why:   "A product does not care which factor is scaled. After a norm of queries and keys it is the same, before it is not.",
		Plant: scaleOnQuery,
	},
	{
		ID: "softmax-without-maximum", Title: "a softmax that does not subtract the largest score",
		Why:   "The factor e^maximum cancels, until e^score overflows: beyond a score of 88 in float32, or 11 in float16, the output is not finite, and the case fails as that.",
		Needs: "a score between -88 and 88 for every query, and none above", Refs: []string{"D15"},
		Plant: softmaxWithoutMaximum,
	},
	{
		ID: "sinks-as-sigmoid", Title: "sinks applied to the output, as sigmoid(logsumexp - sink)",
		Why:   "The share that the sink leaves to the keys is just that sigmoid.",
		Needs: "sinks", Evidence: "https://github.com/pytorch/torchtitan/pull/2211",
		Plant: sinksAsSigmoid,
	},
	{
		ID: "key-bias-missing-plain", Title: "the bias of the keys missing where scores are products of query and key alone",
		Why:   "The product of a query with the bias is the same for every key, and the softmax drops it. With RoPE, a norm, a softcap, sinks, appended or cached keys it is the mistake key-bias-missing.",
		Needs: "a key bias; no RoPE, norm, softcap, sink, appended or cached key", Refs: []string{"A09"},
		Evidence: "https://github.com/baaivision/EVA/issues/53",
		Plant:    keyBiasMissing,
	},
	{
		ID: "heads-permuted-together", Title: "the heads in another order in all four projections",
		Why:   "Heads are added up by the output projection: their order does not matter as long as everything that a head has of its own goes with it.",
		Needs: "a layer of two heads or more", Refs: []string{"A31g"},
		Plant: headsPermutedTogether,
	},
	{
		ID: "rope-positions-shifted", Title: "positions of RoPE that begin at 1, or anywhere, for queries and keys alike",
		Why:   "Rotated products depend on the distance alone. The shift may be another for each batch element: left padding that is counted, or not, is the same too.",
		Needs: "RoPE", Refs: []string{"E03", "E19"},
		Evidence: "https://github.com/huggingface/transformers/issues/22161",
		Plant:    positionsShifted,
	},
	{
		ID: "alibi-by-key", Title: "ALiBi as the slope times the key's position, or with any other number that a row has in common",
		Why:   "The softmax drops what all keys of a row have in common, so slope*j stands for -slope*(i-j). Where a query sees keys after it, or a sink, it does not.",
		Needs: "ALiBi and a causal mask; no sink", Refs: []string{"F05s"},
		Evidence: "https://github.com/mosaicml/llm-foundry/issues/186",
		Plant:    slopesByKey,
	},
	{
		ID: "cache-slots-permuted", Title: "cached keys and values in another order, as in a ring buffer, the padding with them",
		Why:   "The softmax and the weighted sum do not care in which order keys are stored, when nothing but the padding depends on a cached key's place.",
		Needs: "a cache; no window, no mask by place, no bias by distance", Refs: []string{"H09"},
		Plant: slotsPermuted,
	},
	{
		ID: "qk-norm-after-rope-constant", Title: "queries and keys normed after RoPE where the norm's weight is one number",
		Why:   "A rotation keeps the mean square, and one factor passes through it. With trained weights it is the mistake qk-norm-after-rope.",
		Needs: "norms of queries and keys whose weights are all the same number, and RoPE", Refs: []string{"I05u"},
		Evidence: "https://github.com/karpathy/nanochat/issues/743",
		Plant:    normConstantLast,
	},
}

func maskedAfterwards(p *oracle.Problem) bool {
	if !hides(p) || p.HasEmptyRow() || p.Sinks != nil {
		return false
	}
	p.MaskedScore = plus(0)
	p.Softmax = func(row oracle.Row) (weights, slopes []float64) {
		weights, left := softmax(row), 0.0
		for n, hidden := range row.Masked {
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
	if !hides(p) || p.HasEmptyRow() {
		return false
	}
	p.MaskedScore = constant(-1e9)
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
		weights = times(softmax(row), left)
		return weights, weights
	}
	return true
}

func keyBiasMissing(p *oracle.Problem) bool {
	l := p.Layer
	if l == nil || l.Key.Bias == nil || l.KeyRotary != nil || l.KeyNorm != nil || p.Softcap != 0 || p.Sinks != nil || p.Past != nil || appended(p) > 0 {
		return false
	}
	l.Key.Bias = nil
	return true
}

func headsPermutedTogether(p *oracle.Problem) bool {
	if p.Layer == nil || p.Layer.Heads == 1 || p.Layer.LearnedKey != nil || oneForEachHead(p) {
		return false
	}
	p.Layer.SplitIndex, p.Layer.MergeIndex = reversed, reversed
	return true
}

// positionsShifted turns cached keys, which are rotated already, by the shift alone.
func positionsShifted(p *oracle.Problem) bool {
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
	if p.Past == nil || p.Window > 0 || p.Slopes != nil || p.Relative != nil || p.Allow != nil || p.Block != nil || p.MisplacedPadding != nil || p.Bias != nil {
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
