package catalogue

import (
	"math/rand/v2"
	"slices"

	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// heads holds mistakes in splitting features into heads, merging them, and repeating key heads.
var heads = []Mistake{
	{
		ID:          "heads-split-untransposed",
		Title:       "the heads split by a reshape without the transpose",
		Explanation: "The projected rows were viewed directly as (B, H, T, E): a head holds whole positions.",
		Fix:         "View the rows as (B, T, H, E), then swap sequence and heads: view(B, T, H, E).transpose(1, 2).",
		Family:      Heads,
		Kind:        Layout,
		Stage:       Projection,
		Needs:       "a layer with two or more heads",
		Refs:        []string{"B01"},
		Evidence:    "https://github.com/reczoo/FuxiCTR/issues/30",
		Plant:       withHeadLayout(untransposedIndex, nil),
	},
	{
		ID:          "heads-merge-untransposed",
		Title:       "the heads merged by a reshape without the transpose",
		Explanation: "The context (B, H, T, E) was reshaped directly: a position holds rows of one head.",
		Fix:         "Swap heads and sequence back before merging: transpose(1, 2).reshape(B, T, H*E).",
		Family:      Heads,
		Kind:        Layout,
		Stage:       Context,
		Needs:       "a layer with two or more heads",
		Refs:        []string{"B02"},
		Evidence:    "https://github.com/jsbaan/transformer-from-scratch/pull/6",
		Plant:       withHeadLayout(nil, untransposedIndex),
	},
	{
		ID:          "heads-untransposed",
		Title:       "the heads split and merged without transposes",
		Explanation: "Both reshapes lack the transpose. Shapes are right, but heads attend over the wrong rows.",
		Fix:         "Split with view(B, T, H, E).transpose(1, 2), and merge with transpose(1, 2).reshape(B, T, H*E).",
		Family:      Heads,
		Kind:        Layout,
		Stage:       Projection,
		Needs:       "a layer with two or more heads",
		Refs:        []string{"B03"},
		Evidence:    "https://github.com/reczoo/FuxiCTR/issues/30",
		Plant:       withHeadLayout(untransposedIndex, untransposedIndex),
	},
	{
		ID:          "heads-split-strided",
		Title:       "features interleaved across the heads when they are split",
		Explanation: "Head h took features h, h+H, h+2H and so on.",
		Fix:         "A head is E adjacent features: use view(B, T, H, E), not (B, T, E, H).",
		Family:      Heads,
		Kind:        Layout,
		Stage:       Projection,
		Needs:       "a layer with two or more heads",
		Refs:        []string{"B04"},
		Plant:       withHeadLayout(stridedIndex, nil),
	},
	{
		ID:          "heads-merge-strided",
		Title:       "features interleaved across the heads when they are merged",
		Explanation: "The merged row takes one feature of each head in turn.",
		Fix:         "Concatenate whole heads, one after another.",
		Family:      Heads,
		Kind:        Layout,
		Stage:       Context,
		Needs:       "a layer with two or more heads",
		Refs:        []string{"B05"},
		Plant:       withHeadLayout(nil, stridedIndex),
	},
	{
		ID:          "heads-merge-reversed",
		Title:       "the heads merged in reverse order",
		Explanation: "The last head's context comes first before the output projection.",
		Fix:         "Concatenate the heads in order, also when they come from several shards.",
		Family:      Heads,
		Kind:        Layout,
		Stage:       Context,
		Needs:       "a layer with two or more heads",
		Refs:        []string{"A31"},
		Evidence:    "https://github.com/alibaba/ChatLearn/pull/277",
		Plant:       withHeadLayout(nil, reversedIndex),
	},
	{
		ID:          "heads-strided",
		Title:       "features interleaved across the heads when they are split and when they are merged",
		Explanation: "Split and merge agree with each other, but not with the weights.",
		Fix:         "A head is E adjacent features: use view(B, T, H, E), not (B, T, E, H).",
		Family:      Heads,
		Kind:        Layout,
		Stage:       Projection,
		Needs:       "a layer with two or more heads",
		Refs:        []string{"B06"},
		Plant:       withHeadLayout(stridedIndex, stridedIndex),
	},
	{
		ID:          "heads-halved",
		Title:       "half as many heads, each twice as wide",
		Explanation: "The features of two heads were taken for one head, and scaled for the doubled width.",
		Fix:         "Check that num_heads is used as the number of heads, not as the width of a head.",
		Family:      Heads,
		Kind:        Layout,
		Stage:       Projection,
		Needs:       "an even number of heads, and nothing else that depends on the number of heads",
		Refs:        []string{"B08"},
		Evidence:    "https://github.com/huggingface/diffusers/issues/2011",
		Plant:       headsMultiplied(1, 2),
	},
	{
		ID:          "heads-doubled",
		Title:       "twice as many heads, each half as wide",
		Explanation: "The features of one head were taken for two heads, and scaled for the halved width.",
		Fix:         "Check that num_heads is used as the number of heads, not as the width of a head.",
		Family:      Heads,
		Kind:        Layout,
		Stage:       Projection,
		Needs:       "an even head width, and nothing else that depends on the number of heads",
		Refs:        []string{"B09"},
		Evidence:    "https://github.com/huggingface/diffusers/issues/2011",
		Plant:       headsMultiplied(2, 1),
	},
	{
		ID:          "heads-one",
		Title:       "a single head over all features",
		Explanation: "The features were not split into heads, and are scaled for the whole width.",
		Fix:         "Split query, key and value into num_heads heads before computing the scores.",
		Family:      Heads,
		Kind:        Layout,
		Stage:       Projection,
		Needs: "two or more heads, each with its own key and value, and nothing else that depends on the " +
			"number of heads",
		Refs:  []string{"B10"},
		Plant: headsOne,
	},
	{
		ID:          "heads-averaged",
		Title:       "the context averaged over the heads",
		Explanation: "Every head passes the mean of all heads' contexts to the output projection.",
		Fix:         "Concatenate the heads, and let the output projection mix them.",
		Family:      Heads,
		Kind:        Altered,
		Stage:       Context,
		Needs:       "a layer with two or more heads",
		Refs:        []string{"B12"},
		Evidence:    "https://github.com/awf/functional-transformer/issues/8",
		Plant:       headsAveraged,
	},
	{
		ID:          "attention-over-batch",
		Title:       "batch and sequence exchanged: attention over the batch",
		Explanation: "Each position attends to the same position of the other batch elements.",
		Fix:         "Set batch_first as the PyTorch module does. The default of nn.MultiheadAttention is (T, B, D).",
		Family:      Heads,
		Kind:        Layout,
		Stage:       Projection,
		Needs:       "self-attention of two or more batch elements, without a cache and with no mask but a causal one",
		Refs:        []string{"B13"},
		Evidence:    "https://github.com/aipixel/AEMatter/issues/3",
		Plant:       attentionOverBatch,
	},
	{
		ID:          "keys-of-first-batch-element",
		Title:       "the first batch element's keys and values used for all elements",
		Explanation: "Every batch element attends to the keys and values of element 0.",
		Fix:         "Take keys and values from the query's own batch element.",
		Family:      Heads,
		Kind:        Layout,
		Stage:       Projection,
		Needs:       "two or more batch elements",
		Refs:        []string{"B14"},
		Plant:       keysOfFirstBatchElement,
	},
	{
		ID:          "kv-heads-tiled",
		Title:       "the key heads tiled over the query heads: head h takes key head h mod Hk",
		Explanation: "The key heads were tiled as a block, so neighbouring query heads do not share a key head.",
		Fix:         "Repeat each key head H/Hk times in a row, as repeat_kv does: repeat_interleave, not repeat.",
		Family:      Heads,
		Kind:        Layout,
		Stage:       Score,
		Needs:       "two or more key heads, fewer than query heads",
		Refs:        []string{"G01"},
		Evidence:    "https://github.com/ekzhang/jax-js/pull/180",
		Plant:       kvHeadsTiled,
	},
	{
		ID:          "kv-head-zero-for-all",
		Title:       "key head 0 for all query heads",
		Explanation: "Every query head attends to the keys and values of key head 0.",
		Fix:         "Let query head h use key head h // (H/Hk).",
		Family:      Heads,
		Kind:        Layout,
		Stage:       Score,
		Needs:       "two or more key heads",
		Refs:        []string{"G02"},
		Evidence:    "https://github.com/EricLBuehler/candle-vllm/pull/52",
		Plant:       kvHeadZeroForAll,
	},
	{
		ID:          "kv-heads-averaged",
		Title:       "the key heads averaged",
		Explanation: "Keys and values are averaged over all key heads, as in a conversion to multi-query attention.",
		Fix:         "Keep the key heads apart. There are num_key_value_heads of them.",
		Family:      Heads,
		Kind:        Altered,
		Stage:       Projection,
		Needs:       "two or more key heads",
		Refs:        []string{"G03"},
		Plant:       kvHeadsAveraged,
	},
	withVariants(Mistake{
		ID:          "head-features-first-half",
		Title:       "the first half of each head's features alone",
		Explanation: "A kernel for narrower heads: only the first half of query, key and value takes part, and the rest is zero.",
		Fix:         "Loop over the whole head width. Do not hard-code it.",
		Family:      Heads,
		Kind:        Altered,
		Stage:       Score,
		Needs:       "heads of two or more features",
		Evidence:    "https://github.com/triton-lang/triton/issues/621",
		Plant:       fewerFeatures(firstHalf, queries|values),
	}, variant{
		id:    "in-scores",
		title: "scores from the first half of each head's features alone",
		plant: fewerFeatures(firstHalf, queries),
	}),
	withVariants(Mistake{
		ID:          "head-features-every-second",
		Title:       "scores from every second feature of a head alone",
		Explanation: "Only the first of two neighbouring features takes part in the product of query and key.",
		Fix:         "Add both products of a pair of features, also where a vector holds two of them.",
		Family:      Heads,
		Kind:        Altered,
		Stage:       Score,
		Needs:       "heads of two or more features",
		Plant:       fewerFeatures(firstOfTwo, queries),
	}, variant{
		id:    "and-values",
		title: "every second feature of each head alone, in scores and values",
		plant: fewerFeatures(firstOfTwo, queries|values),
	}),
}

// headIndex returns the place of a feature in the rows of one batch element, (T, H*E).
type headIndex func(s oracle.Sizes, head, t, feature int) int

// withHeadLayout moves features between heads when the heads are split or merged; nil changes
// nothing. It applies to two or more heads.
func withHeadLayout(split, merge headIndex) plant {
	return func(p *oracle.Problem, _ *rand.Rand) bool {
		if p.Layer == nil || p.Layer.Heads == 1 {
			return false
		}
		if split != nil {
			p.Layer.SplitIndex = split
		}
		if merge != nil {
			p.Layer.MergeIndex = merge
		}
		return true
	}
}

// untransposedIndex reads (T, H*E) as (H, T, E).
func untransposedIndex(s oracle.Sizes, head, t, feature int) int {
	return (head*s.Length+t)*s.Width + feature
}

// reversedIndex puts the last head first.
func reversedIndex(s oracle.Sizes, head, t, feature int) int {
	return s.Concatenated(s.Heads-1-head, t, feature)
}

// stridedIndex reads (T, H*E) as (T, E, H).
func stridedIndex(s oracle.Sizes, head, t, feature int) int {
	return (t*s.Width+feature)*s.Heads + head
}

// headsMultiplied changes the number of heads by the factor times/over.
func headsMultiplied(times, over int) plant {
	return func(p *oracle.Problem, _ *rand.Rand) bool {
		return p.Layer != nil && p.Layer.Heads*times%over == 0 && splitIntoHeads(p, p.Layer.Heads*times/over)
	}
}

func headsOne(p *oracle.Problem, _ *rand.Rand) bool {
	return p.Layer != nil && p.Layer.Heads > 1 && splitIntoHeads(p, 1)
}

// splitIntoHeads splits the projected features into another number of heads. It applies only if the
// key features split into whole heads of the new width, and the rotated features fit into one.
// The default scale follows the new width; any other scale stays.
func splitIntoHeads(p *oracle.Problem, heads int) bool {
	l, was := p.Layer, layerHeadWidth(p.Layer)
	if l.Query.Out%heads != 0 || dependsOnHeads(p) {
		return false
	}
	width := l.Query.Out / heads
	if l.Key.Out%width != 0 || l.QueryRotary != nil && l.QueryRotary.Dim > width {
		return false
	}
	l.Heads, l.KVHeads = heads, l.Key.Out/width
	if p.Scale == inverseRoot(was) {
		p.Scale = inverseRoot(width)
	}
	return true
}

// dependsOnHeads reports whether anything but the projections depends on the number of heads or
// their width. With another number of heads such a layer crashes.
func dependsOnHeads(p *oracle.Problem) bool {
	perHead := func(shape []int) bool { return len(shape) == 4 && shape[1] > 1 }
	return p.Past != nil || p.Slopes != nil || p.Relative != nil || p.Sinks != nil || p.Layer.QueryNorm != nil ||
		p.Block != nil && perHead(p.Block.Shape) || p.Bias != nil && perHead(p.Bias.Shape)
}

func headsAveraged(p *oracle.Problem, _ *rand.Rand) bool {
	if p.Layer == nil || p.Layer.Heads == 1 {
		return false
	}
	p.Mix = averageHeads
	return true
}

// averageHeads replaces each head of (..., H, T, E) by the mean of all heads.
func averageHeads(f oracle.Field) oracle.Field {
	heads, length, width := f.Shape[len(f.Shape)-3], f.Shape[len(f.Shape)-2], num.Last(f.Shape)
	size := length * width
	batch := len(f.Value) / (heads * size)
	batched := oracle.Field{Shape: []int{batch, heads, length, width}, Value: f.Value, Variance: f.Variance}
	mean := batched.MeanOfHeads()
	out := f.ZerosLike()
	for n := range batch * heads {
		out.Take(n*size, mean, n/heads*size, size)
	}
	return out
}

func attentionOverBatch(p *oracle.Problem, _ *rand.Rand) bool {
	if p.Layer == nil || !isSelfAttention(p) || p.Query.Shape[0] == 1 || p.Past != nil {
		return false
	}
	if p.Padding != nil || p.Block != nil || p.Bias != nil {
		return false
	}
	shape := p.Query.Shape
	p.Query = oracle.Array{Shape: swappedShape(shape), Value: swapBatchAndSequence(shape, p.Query.Value)}
	p.Key, p.Value = p.Query, p.Query
	p.Finish = func(f oracle.Field) oracle.Field {
		swapped := oracle.Field{Shape: swappedShape(f.Shape), Value: swapBatchAndSequence(f.Shape, f.Value)}
		if f.Variance != nil {
			swapped.Variance = swapBatchAndSequence(f.Shape, f.Variance)
		}
		return swapped
	}
	return true
}

// isSelfAttention reports whether the key and value inputs equal the query input.
func isSelfAttention(p *oracle.Problem) bool {
	return sameArray(p.Query, p.Key) && sameArray(p.Query, p.Value)
}

func sameArray(a, b oracle.Array) bool {
	return slices.Equal(a.Shape, b.Shape) && slices.Equal(a.Value, b.Value)
}

func swappedShape(shape []int) []int { return []int{shape[1], shape[0], shape[2]} }

// swapBatchAndSequence transposes (B, T, D) to (T, B, D).
func swapBatchAndSequence(shape []int, values []float64) []float64 {
	out := make([]float64, 0, len(values))
	for t := range shape[1] {
		for b := range shape[0] {
			out = append(out, values[(b*shape[1]+t)*shape[2]:][:shape[2]]...)
		}
	}
	return out
}

func keysOfFirstBatchElement(p *oracle.Problem, _ *rand.Rand) bool {
	batch := batchSize(p)
	if batch == 1 {
		return false
	}
	p.Key, p.Value = repeatFirstElement(p.Key, batch), repeatFirstElement(p.Value, batch)
	if p.Past != nil {
		repeatFirstPast(p)
	}
	return true
}

// repeatFirstElement replaces every batch element by the first one.
func repeatFirstElement(a oracle.Array, batch int) oracle.Array {
	return oracle.Array{Shape: a.Shape, Value: slices.Repeat(a.Value[:len(a.Value)/batch], batch)}
}

func kvHeadsTiled(p *oracle.Problem, _ *rand.Rand) bool {
	kvHeads := kvHeadCount(p)
	return kvHeads < headCount(p) && repeatKV(p, func(head int) int { return head % kvHeads })
}

func kvHeadZeroForAll(p *oracle.Problem, _ *rand.Rand) bool {
	return repeatKV(p, func(int) int { return 0 })
}

// repeatKV gives query head h of a batch element the key head kvHead(h). It applies to two or more
// key heads.
func repeatKV(p *oracle.Problem, kvHead func(head int) int) bool {
	heads, kvHeads := headCount(p), kvHeadCount(p)
	if kvHeads == 1 {
		return false
	}
	p.KVHead = func(n int) int { return n/heads*kvHeads + kvHead(n%heads) }
	return true
}

func kvHeadsAveraged(p *oracle.Problem, _ *rand.Rand) bool {
	if kvHeadCount(p) == 1 {
		return false
	}
	p.Prepare = afterPrepare(p.Prepare, func(_, k, v *oracle.Field) { *k, *v = averageHeads(*k), averageHeads(*v) })
	return true
}

// featureUse reports whether a feature of a head of some width takes part.
type featureUse func(feature, width int) bool

func firstHalf(feature, width int) bool { return feature < width/2 }
func firstOfTwo(feature, _ int) bool    { return feature%2 == 0 }

// parts are the arrays that a mistake changes. Without a feature of the queries, scores lack it.
type parts int

const (
	queries parts = 1 << iota
	values
)

// fewerFeatures sets the features of each head that take no part to zero.
func fewerFeatures(takesPart featureUse, which parts) plant {
	clear := func(f oracle.Field) oracle.Field {
		width := num.Last(f.Shape)
		return eachValue(f, func(at int) float64 {
			if takesPart(at%width, width) {
				return 1
			}
			return 0
		})
	}
	return func(p *oracle.Problem, _ *rand.Rand) bool {
		if headWidth(p) < 2 {
			return false
		}
		p.Prepare = afterPrepare(p.Prepare, func(q, _, v *oracle.Field) {
			*q = clear(*q)
			if which&values != 0 {
				*v = clear(*v)
			}
		})
		return true
	}
}
