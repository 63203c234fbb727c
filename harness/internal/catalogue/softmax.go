package catalogue

import (
	"math"
	"math/rand/v2"
	"slices"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// softmax holds mistakes that run the softmax over the wrong numbers, or replace it.
var softmax = []Mistake{
	{
		ID:          "softmax-over-queries",
		Title:       "the softmax over the queries",
		Explanation: "Scores are normalised down the columns: the weights of each key, not of each query, add up to 1.",
		Fix:         "Apply the softmax over the keys, the last dimension: dim=-1.",
		Family:      Softmax,
		Kind:        Altered,
		Stage:       Score,
		Refs:        []string{"D08"},
		Evidence:    "https://github.com/labmlai/annotated_deep_learning_paper_implementations/issues/146",
		Plant:       softmaxOver(oracle.OverQueries),
	},
	{
		ID:          "softmax-over-heads",
		Title:       "the softmax over the heads",
		Explanation: "The heads compete for each key, instead of the keys within each head.",
		Fix:         "Apply the softmax over the keys, the last dimension: dim=-1.",
		Family:      Softmax,
		Kind:        Altered,
		Stage:       Score,
		Refs:        []string{"D09"},
		Evidence:    "https://github.com/nerdai/llms-from-scratch-rs/pull/30",
		Plant:       softmaxOver(oracle.OverHeads),
	},
	{
		ID:          "softmax-over-heads-and-keys",
		Title:       "one softmax over the keys of all heads",
		Explanation: "One dimension too many was flattened: the weights of all heads together add up to 1.",
		Fix:         "Apply the softmax over the keys, the last dimension: dim=-1.",
		Family:      Softmax,
		Kind:        Altered,
		Stage:       Score,
		Needs:       "two or more heads",
		Refs:        []string{"D10"},
		Evidence:    "https://github.com/facebookresearch/detr/issues/247",
		Plant:       softmaxOverHeadsAndKeys,
	},
	{
		ID:          "softmax-over-batch",
		Title:       "the softmax over the batch",
		Explanation: "Batch elements compete with one another, as with dim=0.",
		Fix:         "Apply the softmax over the keys, the last dimension: dim=-1.",
		Family:      Softmax,
		Kind:        Altered,
		Stage:       Score,
		Needs:       "a batch",
		Refs:        []string{"D11"},
		Evidence:    "https://github.com/PetrochukM/PyTorch-NLP/issues/2",
		Plant:       softmaxOverBatch,
	},
	{
		ID:          "softmax-missing",
		Title:       "no softmax: the scores are the weights",
		Explanation: "The raw scores are the weights, and masked keys have weight 0.",
		Fix:         "Apply the softmax over the keys.",
		Family:      Softmax,
		Kind:        Missing,
		Stage:       Score,
		Refs:        []string{"D12"},
		Evidence:    "https://github.com/PaddlePaddle/PaddleOCR/pull/4556",
		Plant:       softmaxMissing,
	},
	{
		ID:          "softmax-not-normalised",
		Title:       "the softmax not normalised",
		Explanation: "The weights are e^score, and are never divided by their sum.",
		Fix:         "Divide the weights by their sum over the keys.",
		Family:      Softmax,
		Kind:        Altered,
		Stage:       Score,
		Refs:        []string{"D13"},
		Plant:       softmaxNotNormalised,
	},
	{
		ID:          "softmax-base-two",
		Title:       "a softmax to the base 2 in place of e",
		Explanation: "The kernel computes 2^score, but the scores were not multiplied by log2(e).",
		Fix:         "Multiply scores and sinks by log2(e) when exp2 replaces exp.",
		Family:      Softmax,
		Kind:        Altered,
		Stage:       Score,
		Plant:       softmaxBaseTwo,
	},
	{
		ID:          "weights-uniform",
		Title:       "the same weight for every key that is seen",
		Explanation: "The context is the plain mean of the values. Scores have no effect.",
		Fix:         "Weight the values by the softmax of the scores.",
		Family:      Softmax,
		Kind:        Altered,
		Stage:       Score,
		Refs:        []string{"D25"},
		Evidence:    "https://github.com/huggingface/transformers/issues/5710",
		Plant:       weightsUniform,
	},
	{
		ID:          "weights-identity",
		Title:       "the value of each query's own position as its context",
		Explanation: "Attention is bypassed: the value projection feeds the output directly.",
		Fix:         "Sum the weighted values of all keys that a query sees.",
		Family:      Softmax,
		Kind:        Altered,
		Stage:       Score,
		Needs:       "queries at the positions of the last keys",
		Refs:        []string{"D24"},
		Plant:       weightsIdentity,
	},
	tiled(Mistake{
		ID: "tail-keys-of-zero",
		Explanation: "The last tile of keys is filled with zeros and not masked, " +
			"so each extra key has the score 0.",
		Fix:      "Mask the keys past the last one, also inside a kernel's tile.",
		Family:   Softmax,
		Kind:     Altered,
		Stage:    Score,
		Refs:     []string{"C33"},
		Evidence: "https://github.com/flashinfer-ai/flashinfer/pull/5090",
	}, "keys of zeros that fill the softmax up to a multiple of %d",
		"a number of keys that is not a multiple of %d",
		tailKeysOfZero, 8, 4, 16, 32, 64, 128),
	tiled(Mistake{
		ID: "tail-keys-repeated",
		Explanation: "The last tile reads past the last key. The index is limited to the last key, " +
			"which then counts several times.",
		Fix:    "Mask the keys past the last one. A limited index keeps a read in bounds, but hides nothing.",
		Family: Softmax,
		Kind:   Altered,
		Stage:  Score,
	}, "the last key repeated until the number of keys is a multiple of %d",
		"a number of keys that is not a multiple of %d",
		tailKeysRepeated, 8, 4, 16, 32, 64, 128),
	tiled(Mistake{
		ID: "last-tile-overlaps",
		Explanation: "The last tile was moved back so that it ends at the last key. " +
			"Keys that the tile before holds, too, count twice.",
		Fix:    "Mask the keys of the last tile that were processed before, or shorten the tile.",
		Family: Softmax,
		Kind:   Altered,
		Stage:  Score,
	}, "keys counted twice where the last tile of %d keys overlaps the tile before",
		"more than %d keys, and no multiple of it",
		lastTileOverlaps, 4, 8, 16, 32, 64, 128),
	tiled(Mistake{
		ID:          "online-softmax-not-rescaled",
		Explanation: "The sum of values keeps the scale of earlier maxima. Masked keys fill tiles, too.",
		Fix:         "For each tile, multiply the accumulator by exp(old maximum - new maximum).",
		Family:      Softmax,
		Kind:        Altered,
		Stage:       Score,
		Refs:        []string{"C34"},
		Evidence:    "https://github.com/Dao-AILab/flash-attention/issues/2082",
	}, "an online softmax, in tiles of %d keys, that does not rescale its accumulator when the maximum rises",
		"more than %d keys",
		onlineSoftmaxNotRescaled, 4, 8, 16, 32, 64, 128),
	{
		ID:          "zero-key-added",
		Title:       "an extra key and value of zeros in every softmax",
		Explanation: "The denominator has an extra term e^0, as with add_zero_attn or softmax1.",
		Fix:         "Set add_zero_attn only where the layer has it.",
		Family:      Softmax,
		Kind:        Altered,
		Stage:       Score,
		Refs:        []string{"C38"},
		Evidence:    "https://github.com/kyegomez/AttentionIsOFFByOne/issues/2",
		Plant:       zeroKeyAdded,
	},
}

// softmaxOver runs the softmax over another axis. A query that sees no key returns zeros: its
// scores are -inf, and other scores share its softmax.
func softmaxOver(axis oracle.Axis) plant {
	return func(p *oracle.Problem, _ *rand.Rand) bool {
		applies := softmaxUnchanged(p)
		p.Axis, p.EmptyRow = axis, attention.EmptyZero
		return applies
	}
}

// softmaxUnchanged reports whether no other mistake has replaced the softmax yet. A second
// replacement would undo the first.
func softmaxUnchanged(p *oracle.Problem) bool { return p.Softmax == nil && p.Axis == oracle.OverKeys }

func softmaxOverHeadsAndKeys(p *oracle.Problem, r *rand.Rand) bool {
	return headCount(p) > 1 && softmaxOver(oracle.OverHeadsAndKeys)(p, r)
}

func softmaxOverBatch(p *oracle.Problem, r *rand.Rand) bool {
	return (p.Layer != nil || len(p.Query.Shape) > 3) && softmaxOver(oracle.OverBatch)(p, r)
}

// withWeights replaces the softmax of a row. weigh returns the weights, and the derivative of each
// weight with respect to its score.
func withWeights(weigh func(row oracle.Row) (weights, slopes []float64)) plant {
	return func(p *oracle.Problem, _ *rand.Rand) bool {
		applies := softmaxUnchanged(p)
		p.Softmax = weigh
		return applies
	}
}

// softmaxMissing returns zeros for a query that sees no key: the sum is empty.
func softmaxMissing(p *oracle.Problem, r *rand.Rand) bool {
	p.EmptyRow = attention.EmptyZero
	return withWeights(func(row oracle.Row) (weights, slopes []float64) {
		return row.Scores, slices.Repeat([]float64{1}, len(row.Scores))
	})(p, r)
}

// softmaxNotNormalised overflows where float32 does.
func softmaxNotNormalised(p *oracle.Problem, r *rand.Rand) bool {
	p.EmptyRow = attention.EmptyZero
	return withWeights(func(row oracle.Row) (weights, slopes []float64) {
		for _, s := range row.Scores {
			w := math.Exp(s)
			if w > math.MaxFloat32 {
				w = math.Inf(1)
			}
			weights = append(weights, w)
		}
		return weights, weights
	})(p, r)
}

// softmaxBaseTwo multiplies scores and sinks by ln 2: 2^s = e^(s ln 2).
func softmaxBaseTwo(p *oracle.Problem, _ *rand.Rand) bool {
	p.VisibleScore = func(s float64) (float64, float64) { return s * math.Ln2, math.Ln2 }
	p.Sinks = multiplied(p.Sinks, math.Ln2)
	return true
}

func weightsUniform(p *oracle.Problem, _ *rand.Rand) bool {
	p.VisibleScore, p.Sinks = constantScore(0), nil
	return true
}

// weightsIdentity gives all weight to the key at the query's own position, whatever the masks say.
// Appended keys get weight 0.
func weightsIdentity(p *oracle.Problem, r *rand.Rand) bool {
	offset := p.Offset
	if p.Offsets != nil || queryCount(p)+offset != keyCount(p) {
		return false
	}
	p.Allow, p.Block, p.Padding, p.MisplacedPadding, p.Bias, p.Window = nil, nil, nil, nil, nil, 0
	p.Causal = func(query, key int) bool { return key == query }
	return withWeights(func(row oracle.Row) (weights, slopes []float64) {
		weights, slopes = make([]float64, len(row.Keys)), make([]float64, len(row.Keys))
		// A second mistake may hide the key.
		if own := slices.Index(row.Keys, row.Query+offset); own >= 0 {
			weights[own] = 1
		}
		return weights, slopes
	})(p, r)
}

// tailCount returns how many keys are missing in the last tile, and the number of all keys.
func tailCount(p *oracle.Problem, width int) (missing, keys int) {
	keys = keyCount(p) + appendedCount(p)
	return (width - keys%width) % width, keys
}

func tailKeysOfZero(width int) plant {
	return func(p *oracle.Problem, _ *rand.Rand) bool {
		missing, _ := tailCount(p, width)
		p.ZeroKeys += missing
		return missing > 0
	}
}

// tailKeysRepeated repeats the last key only for queries that see it.
func tailKeysRepeated(width int) plant {
	return func(p *oracle.Problem, r *rand.Rand) bool {
		missing, keys := tailCount(p, width)
		return missing > 0 && countingKeys(func(key int) int {
			if key == keys-1 {
				return 1 + missing
			}
			return 1
		})(p, r)
	}
}

func lastTileOverlaps(width int) plant {
	return func(p *oracle.Problem, r *rand.Rand) bool {
		missing, keys := tailCount(p, width)
		return missing > 0 && keys > width && countingKeys(func(key int) int {
			if key >= keys-width && key < keys+missing-width {
				return 2
			}
			return 1
		})(p, r)
	}
}

// countingKeys lets the softmax count each visible key several times. n e^s is e^(s + ln n).
func countingKeys(times func(key int) int) plant {
	return withWeights(func(row oracle.Row) (weights, slopes []float64) {
		row.Scores = slices.Clone(row.Scores)
		for n, key := range row.Keys {
			row.Scores[n] += math.Log(float64(times(key)))
		}
		weights = softmaxWeights(row)
		return weights, weights
	})
}

// onlineSoftmaxNotRescaled weights a key relative to the maximum of its own and earlier tiles. The
// denominator uses the maximum of all keys. Tiles hold key positions, whether masked or not; a sink
// comes after them.
func onlineSoftmaxNotRescaled(width int) plant {
	return func(p *oracle.Problem, r *rand.Rand) bool {
		return keyCount(p)+appendedCount(p) > width && withWeights(func(row oracle.Row) (weights, slopes []float64) {
			weights = softmaxWeights(row)
			top, soFar := slices.Max(row.Scores), math.Inf(-1)
			for at, end := 0, 0; at < len(weights); at = end {
				for end < len(weights) && row.Keys[end]/width == row.Keys[at]/width {
					end++
				}
				soFar = math.Max(soFar, slices.Max(row.Scores[at:end]))
				for n := range weights[at:end] {
					weights[at+n] *= math.Exp(top - soFar)
				}
			}
			return weights, weights
		})(p, r)
	}
}

// softmaxWeights returns the right weights of a row.
func softmaxWeights(row oracle.Row) []float64 {
	top := math.Max(slices.Max(row.Scores), row.Sink)
	total := math.Exp(row.Sink - top)
	weights := make([]float64, len(row.Scores))
	for n, s := range row.Scores {
		weights[n] = math.Exp(s - top)
		total += weights[n]
	}
	for n := range weights {
		weights[n] /= total
	}
	return weights
}

func zeroKeyAdded(p *oracle.Problem, _ *rand.Rand) bool {
	p.ZeroKeys++
	return true
}
