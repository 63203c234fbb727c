package catalogue

import (
	"math"
	"math/rand/v2"
	"slices"

	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// heads are features that stand in another head, or heads that are not those of the layer.
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
		Plant:       rearranged(untransposed, nil),
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
		Plant:       rearranged(nil, untransposed),
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
		Plant:       rearranged(untransposed, untransposed),
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
		Plant:       rearranged(strided, nil),
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
		Plant:       rearranged(nil, strided),
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
		Plant:       rearranged(nil, reversed),
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
		Plant:       rearranged(strided, strided),
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
		Plant:       headsTimes(1, 2),
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
		Plant:       headsTimes(2, 1),
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
		Plant: oneHead,
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
		Plant:       keysOfFirstBatch,
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
		Plant:       keyHeadsTiled,
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
		Plant:       keyHeadZero,
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
		Plant:       keyHeadsAveraged,
	},
}

// rearranged makes a mistake of the places of the heads' features. One head has no other places.
func rearranged(split, merge func(s oracle.Sizes, head, t, feature int) int) func(*oracle.Problem, *rand.Rand) bool {
	return func(p *oracle.Problem, _ *rand.Rand) bool {
		if p.Layer == nil || p.Layer.Heads == 1 {
			return false
		}
		if split != nil {
			p.Layer.Split = split
		}
		if merge != nil {
			p.Layer.Merge = merge
		}
		return true
	}
}

// untransposed reads (T, H*E) as (H, T, E).
func untransposed(s oracle.Sizes, head, t, feature int) int {
	return (head*s.Length+t)*s.Width + feature
}

// reversed is the place of each head's features when the last head comes first.
func reversed(s oracle.Sizes, head, t, feature int) int {
	return s.Concatenated(s.Heads-1-head, t, feature)
}

// strided reads (T, H*E) as (T, E, H).
func strided(s oracle.Sizes, head, t, feature int) int {
	return (t*s.Width+feature)*s.Heads + head
}

// headsTimes makes more heads of fewer features, or fewer of more: times more, over as many.
func headsTimes(more, over int) func(*oracle.Problem, *rand.Rand) bool {
	return func(p *oracle.Problem, _ *rand.Rand) bool {
		return p.Layer != nil && p.Layer.Heads*more%over == 0 && resplit(p, p.Layer.Heads*more/over)
	}
}

func oneHead(p *oracle.Problem, _ *rand.Rand) bool {
	return p.Layer != nil && p.Layer.Heads > 1 && resplit(p, 1)
}

// resplit makes another number of heads of the projected features, where whole key heads come of
// it. The scale follows the width unless the case has its own; the rotated features do not.
func resplit(p *oracle.Problem, heads int) bool {
	l, was := p.Layer, width(p.Layer)
	if l.Query.Out%heads != 0 || oneForEachHead(p) {
		return false
	}
	now := l.Query.Out / heads
	if l.Key.Out%now != 0 || l.QueryTurn != nil && l.QueryTurn.Dim > now {
		return false
	}
	l.Heads, l.KVHeads = heads, l.Key.Out/now
	if p.Scale == 1/math.Sqrt(float64(was)) {
		p.Scale = 1 / math.Sqrt(float64(now))
	}
	return true
}

// oneForEachHead says whether something beside the projections is made for the layer's number of
// heads or their width: with another one it crashes.
func oneForEachHead(p *oracle.Problem) bool {
	perHead := func(shape []int) bool { return len(shape) == 4 && shape[1] > 1 }
	return p.Past != nil || p.Slopes != nil || p.Relative != nil || p.Sinks != nil || p.Layer.QueryNorm != nil ||
		p.Block != nil && perHead(p.Block.Shape) || p.Bias != nil && perHead(p.Bias.Shape)
}

func headsAveraged(p *oracle.Problem, _ *rand.Rand) bool {
	if p.Layer == nil || p.Layer.Heads == 1 {
		return false
	}
	p.Mix = averagedOverHeads
	return true
}

// averagedOverHeads puts the mean over the heads, the last dimension but two, in the place of each.
func averagedOverHeads(f oracle.Field) oracle.Field {
	heads, size := f.Shape[len(f.Shape)-3], f.Shape[len(f.Shape)-2]*num.Last(f.Shape)
	batch := len(f.Value) / (heads * size)
	mean := oracle.Field{Shape: []int{batch, heads, f.Shape[len(f.Shape)-2], num.Last(f.Shape)}, Value: f.Value, Variance: f.Variance}.MeanOfHeads()
	out := f.Like()
	for n := range batch * heads {
		out.Take(n*size, mean, n/heads*size, size)
	}
	return out
}

func attentionOverBatch(p *oracle.Problem, _ *rand.Rand) bool {
	if p.Layer == nil || !selfAttention(p) || p.Query.Shape[0] == 1 || p.Past != nil || p.Padding != nil || p.Block != nil || p.Bias != nil {
		return false
	}
	shape := p.Query.Shape
	p.Query = oracle.Array{Shape: firstTwoSwapped(shape), Value: batchAndSequenceSwapped(shape, p.Query.Value)}
	p.Key, p.Value = p.Query, p.Query
	p.Finish = func(f oracle.Field) oracle.Field {
		swapped := oracle.Field{Shape: firstTwoSwapped(f.Shape), Value: batchAndSequenceSwapped(f.Shape, f.Value)}
		if f.Variance != nil {
			swapped.Variance = batchAndSequenceSwapped(f.Shape, f.Variance)
		}
		return swapped
	}
	return true
}

// selfAttention says whether keys and values come from the same numbers as queries.
func selfAttention(p *oracle.Problem) bool { return same(p.Query, p.Key) && same(p.Query, p.Value) }

func same(a, b oracle.Array) bool {
	return slices.Equal(a.Shape, b.Shape) && slices.Equal(a.Value, b.Value)
}

func firstTwoSwapped(shape []int) []int { return []int{shape[1], shape[0], shape[2]} }

// batchAndSequenceSwapped is (B, T, D) -> (T, B, D).
func batchAndSequenceSwapped(shape []int, values []float64) []float64 {
	out := make([]float64, 0, len(values))
	for t := range shape[1] {
		for b := range shape[0] {
			out = append(out, values[(b*shape[1]+t)*shape[2]:][:shape[2]]...)
		}
	}
	return out
}

func keysOfFirstBatch(p *oracle.Problem, _ *rand.Rand) bool {
	batches := batchOf(p)
	if batches == 1 {
		return false
	}
	p.Key, p.Value = firstRepeated(p.Key, batches), firstRepeated(p.Value, batches)
	if p.Past != nil {
		p.Past = &oracle.Past{Key: firstRepeated(p.Past.Key, batches), Value: firstRepeated(p.Past.Value, batches)}
	}
	return true
}

// firstRepeated puts the first batch element in the place of each.
func firstRepeated(a oracle.Array, batches int) oracle.Array {
	return oracle.Array{Shape: a.Shape, Value: slices.Repeat(a.Value[:len(a.Value)/batches], batches)}
}

func keyHeadsTiled(p *oracle.Problem, _ *rand.Rand) bool {
	heads, shared := headsOf(p)
	return shared < heads && partnered(p, func(head int) int { return head % shared })
}

func keyHeadZero(p *oracle.Problem, _ *rand.Rand) bool {
	return partnered(p, func(int) int { return 0 })
}

// partnered gives each query head of a batch element another key head, where there are two or more.
func partnered(p *oracle.Problem, partner func(head int) int) bool {
	heads, shared := headsOf(p)
	if shared == 1 {
		return false
	}
	p.Partner = func(n int) int { return n/heads*shared + partner(n%heads) }
	return true
}

func keyHeadsAveraged(p *oracle.Problem, _ *rand.Rand) bool {
	if _, shared := headsOf(p); shared == 1 {
		return false
	}
	p.Prepare = func(_, k, v *oracle.Field) { *k, *v = averagedOverHeads(*k), averagedOverHeads(*v) }
	return true
}

// headsOf are the numbers of heads of queries, and of keys and values.
func headsOf(p *oracle.Problem) (query, key int) {
	if p.Layer != nil {
		return p.Layer.Heads, p.Layer.KVHeads
	}
	return p.Query.Shape[len(p.Query.Shape)-3], p.Key.Shape[len(p.Key.Shape)-3]
}
