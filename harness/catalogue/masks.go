package catalogue

import (
	"math/rand/v2"
	"slices"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/oracle"
)

// masks are keys that are seen and should not be, or the reverse.
var masks = []Mistake{
	{
		ID: "causal-missing", Title: "the causal mask missing",
		Explanation: "Every query sees the keys after it.",
		Fix:         "Hide key j from query i where j > i, before the softmax, also where a padding mask is given.",
		Family:      Masks, Kind: Missing, Stage: Score, Needs: "a causal mask", Refs: []string{"C01"},
		Evidence: "https://github.com/facebookresearch/xformers/issues/103",
		Plant:    causalMissing,
	},
	{
		ID: "causal-inverted", Title: "the causal mask inverted: only later keys are seen",
		Explanation: "What the mask hides is seen, and what it shows is hidden.",
		Fix:         "True takes part in scaled_dot_product_attention, true is ignored in nn.MultiheadAttention.",
		Family:      Masks, Kind: Altered, Stage: Score, Needs: "a causal mask", Refs: []string{"C04a"},
		Evidence: "https://github.com/rasbt/LLMs-from-scratch/issues/1061",
		Plant:    causal(func(i, j int) bool { return j > i }),
	},
	{
		ID: "causal-transposed", Title: "the causal mask transposed: a query sees itself and later keys",
		Explanation: "The upper triangle was taken for the lower.",
		Fix:         "Use tril where true takes part, triu(diagonal=1) where true is ignored.",
		Family:      Masks, Kind: Altered, Stage: Score, Needs: "a causal mask", Refs: []string{"C04b"},
		Evidence: "https://github.com/karpathy/nanoGPT/issues/170",
		Plant:    causal(func(i, j int) bool { return j >= i }),
	},
	{
		ID: "causal-self-hidden", Title: "the causal mask off by one: a query does not see itself",
		Explanation: "The diagonal is hidden, so the first query sees nothing.",
		Fix:         "Hide j > i, not j >= i.",
		Family:      Masks, Kind: Altered, Stage: Score, Needs: "a causal mask", Refs: []string{"C02"},
		Evidence: "https://github.com/pytorch/tutorials/issues/2250",
		Plant:    causal(func(i, j int) bool { return j < i }),
	},
	{
		ID: "causal-next-seen", Title: "the causal mask off by one: a query sees the next key",
		Explanation: "The mask begins one diagonal too late.",
		Fix:         "Hide j > i, not j > i+1.",
		Family:      Masks, Kind: Altered, Stage: Score, Needs: "a causal mask", Refs: []string{"C03"},
		Evidence: "https://github.com/RVC-Boss/GPT-SoVITS/issues/965",
		Plant:    causal(func(i, j int) bool { return j <= i+1 }),
	},
	{
		ID: "causal-added", Title: "a causal mask that does not belong",
		Explanation: "A query of a bidirectional or cross attention sees only keys up to its own index.",
		Fix:         "Leave the causal mask to the layers that ask for it.",
		Family:      Masks, Kind: Altered, Stage: Score, Needs: "no causal mask", Refs: []string{"C06"},
		Evidence: "https://github.com/lucidrains/RETRO-pytorch/issues/35",
		Plant:    causalAdded,
	},
	{
		ID: "padding-ignored", Title: "the padding mask ignored",
		Explanation: "Queries see filler keys.",
		Fix:         "Hide the keys that key_padding_mask marks, for every head and query.",
		Family:      Masks, Kind: Missing, Stage: Score, Needs: "padding", Refs: []string{"C07"},
		Evidence: "https://github.com/huggingface/transformers/pull/16243",
		Plant:    paddingIgnored,
	},
	{
		ID: "padding-inverted", Title: "the padding mask inverted: only padding is seen",
		Explanation: "Filler is seen and real keys are hidden.",
		Fix:         "In key_padding_mask true is ignored; in SDPA's attn_mask true takes part.",
		Family:      Masks, Kind: Altered, Stage: Score, Needs: "padding", Refs: []string{"C08"},
		Evidence: "https://github.com/pytorch/pytorch/pull/170404",
		Plant:    paddingInverted,
	},
	{
		ID: "mask-ignored", Title: "the boolean mask ignored",
		Explanation: "attn_mask has no effect.",
		Fix:         "Hide the keys that the mask hides, before the softmax.",
		Family:      Masks, Kind: Missing, Stage: Score, Needs: "a boolean mask",
		Plant: maskIgnored,
	},
	{
		ID: "mask-inverted", Title: "the boolean mask inverted: true taken for false",
		Explanation: "What the mask hides is seen, and what it shows is hidden.",
		Fix:         "True takes part in scaled_dot_product_attention, true is ignored in nn.MultiheadAttention.",
		Family:      Masks, Kind: Altered, Stage: Score, Needs: "a boolean mask",
		Plant: maskInverted,
	},
	{
		ID: "bias-ignored", Title: "the additive mask ignored",
		Explanation: "attn_mask is not added to the scores.",
		Fix:         "Add it after the scale and before the softmax.",
		Family:      Masks, Kind: Missing, Stage: Score, Needs: "an additive mask",
		Plant: biasIgnored,
	},
}

func causalMissing(p *oracle.Problem, _ *rand.Rand) bool {
	had := p.Causal != nil
	p.Causal = nil
	return had
}

// causal puts another mask in the place of the causal one.
func causal(sees func(query, key int) bool) func(*oracle.Problem, *rand.Rand) bool {
	return func(p *oracle.Problem, _ *rand.Rand) bool {
		had := p.Causal != nil
		p.Causal = sees
		return had
	}
}

func causalAdded(p *oracle.Problem, _ *rand.Rand) bool {
	had := p.Causal != nil
	p.Causal = func(query, key int) bool { return key <= query }
	return !had
}

func paddingIgnored(p *oracle.Problem, _ *rand.Rand) bool {
	had := p.Padding != nil
	p.Padding = nil
	return had
}

func paddingInverted(p *oracle.Problem, _ *rand.Rand) bool {
	p.Padding = inverted(p.Padding)
	return p.Padding != nil
}

func maskIgnored(p *oracle.Problem, _ *rand.Rand) bool {
	had := p.Allow != nil || p.Block != nil
	p.Allow, p.Block = nil, nil
	return had
}

func maskInverted(p *oracle.Problem, _ *rand.Rand) bool {
	p.Allow, p.Block = inverted(p.Allow), inverted(p.Block)
	return p.Allow != nil || p.Block != nil
}

func biasIgnored(p *oracle.Problem, _ *rand.Rand) bool {
	had := p.Bias != nil
	p.Bias = nil
	return had
}

func inverted(m *attention.Mask) *attention.Mask {
	if m == nil {
		return nil
	}
	n := &attention.Mask{Shape: m.Shape, Data: slices.Clone(m.Data)}
	for i, v := range n.Data {
		n.Data[i] = !v
	}
	return n
}
