package catalogue

import (
	"math/rand/v2"

	"github.com/difftest/difftest/harness/oracle"
)

// heads are features that stand in another head, or heads that are not those of the layer.
var heads = []Mistake{
	{
		ID: "heads-split-untransposed", Title: "the heads split by a reshape without the transpose",
		Explanation: "The projected rows were viewed as (B, H, T, E) at once, so that a head holds whole positions of all heads.",
		Fix:         "View the last dimension as (H, E) and then swap it with the sequence: view(B, T, H, E).transpose(1, 2).",
		Family:      Heads, Kind: Layout, Stage: Projection, Needs: "a layer of two heads or more", Refs: []string{"B01"},
		Evidence: "https://github.com/reczoo/FuxiCTR/issues/30",
		Plant:    rearranged(untransposed, nil),
	},
	{
		ID: "heads-merge-untransposed", Title: "the heads merged by a reshape without the transpose",
		Explanation: "The context (B, H, T, E) was reshaped to (B, T, H*E) at once, so that a position holds rows of one head.",
		Fix:         "Swap heads and sequence back before they are joined: transpose(1, 2).reshape(B, T, H*E).",
		Family:      Heads, Kind: Layout, Stage: Projection, Needs: "a layer of two heads or more", Refs: []string{"B02"},
		Evidence: "https://github.com/jsbaan/transformer-from-scratch/pull/6",
		Plant:    rearranged(nil, untransposed),
	},
	{
		ID: "heads-untransposed", Title: "the heads split and merged without transposes",
		Explanation: "Both reshapes leave out the transpose: shapes are right, heads attend over the wrong rows.",
		Fix:         "View the last dimension as (H, E) and then swap it with the sequence: view(B, T, H, E).transpose(1, 2).",
		Family:      Heads, Kind: Layout, Stage: Projection, Needs: "a layer of two heads or more", Refs: []string{"B03"},
		Evidence: "https://github.com/reczoo/FuxiCTR/issues/30",
		Plant:    rearranged(untransposed, untransposed),
	},
	{
		ID: "heads-split-strided", Title: "features dealt out to the heads in turn when they are split",
		Explanation: "Head h took features h, h+H, h+2H and so on.",
		Fix:         "A head is E features side by side: view(B, T, H, E), not (B, T, E, H).",
		Family:      Heads, Kind: Layout, Stage: Projection, Needs: "a layer of two heads or more", Refs: []string{"B04"},
		Plant: rearranged(strided, nil),
	},
	{
		ID: "heads-merge-strided", Title: "features of the heads taken in turn when they are merged",
		Explanation: "The joined row takes one feature of each head in turn.",
		Fix:         "Join heads whole, one after another.",
		Family:      Heads, Kind: Layout, Stage: Projection, Needs: "a layer of two heads or more", Refs: []string{"B05"},
		Plant: rearranged(nil, strided),
	},
	{
		ID: "heads-merge-reversed", Title: "the heads merged in reverse order",
		Explanation: "The last head's context stands first before the output projection.",
		Fix:         "Join the heads in their order, also when they come from several shards.",
		Family:      Heads, Kind: Layout, Stage: Projection, Needs: "a layer of two heads or more", Refs: []string{"A31"},
		Evidence: "https://github.com/alibaba/ChatLearn/pull/277",
		Plant:    rearranged(nil, reversed),
	},
	{
		ID: "heads-strided", Title: "features dealt out in turn and taken in turn",
		Explanation: "Split and merge agree with one another, but not with the weights.",
		Fix:         "A head is E features side by side: view(B, T, H, E), not (B, T, E, H).",
		Family:      Heads, Kind: Layout, Stage: Projection, Needs: "a layer of two heads or more", Refs: []string{"B06"},
		Plant: rearranged(strided, strided),
	},
}

// rearranged makes a mistake of the places of the heads' features. One head has no other places.
func rearranged(split, merge func(s oracle.Sizes, head, t, feature int) int) func(*oracle.Problem, *rand.Rand) bool {
	return func(p *oracle.Problem, _ *rand.Rand) bool {
		if p.Layer == nil || p.Layer.Heads == 1 {
			return false
		}
		p.Layer.Split, p.Layer.Merge = split, merge
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
