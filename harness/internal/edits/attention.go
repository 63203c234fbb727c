package edits

import (
	"math"
	"slices"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/graph"
)

// attention holds mistakes with attention inside a model, in every layer at once.
var attention = []catalogue.Mistake{
	{
		ID: "model-scale-missing", Title: "the attention scores without their scale", Family: catalogue.ModelAttention, Kind: catalogue.Missing,
		Explanation: "The products of queries and keys go to the softmax as they are.",
		Fix:         "Multiply the scores by 1/sqrt(head size), or by the model's own factor.",
		Edit:        attentionSet(func(a *graph.Attributes, _ int) { a.Scale = 1 }),
	},
	{
		ID: "model-scale-by-size", Title: "the attention scores divided by the head size", Family: catalogue.ModelAttention, Kind: catalogue.Altered,
		Explanation: "The scale is 1/d, and the model has another one.",
		Fix:         "Multiply the scores by 1/sqrt(head size), or by the model's own factor.",
		Edit:        attentionSet(func(a *graph.Attributes, size int) { a.Scale = 1 / float64(size) }),
	},
	{
		ID: "model-scale-by-root", Title: "the attention scores divided by sqrt(head size)", Family: catalogue.ModelAttention, Kind: catalogue.Altered,
		Explanation: "The scale is 1/sqrt(d), and the model has another one, or none as T5.",
		Fix:         "Read the factor from the configuration: query_pre_attn_scalar, attention_multiplier.",
		Edit:        attentionSet(func(a *graph.Attributes, size int) { a.Scale = 1 / math.Sqrt(float64(size)) }),
	},
	{
		ID: "model-softcap-missing", Title: "the attention scores without their softcap", Family: catalogue.ModelAttention, Kind: catalogue.Missing,
		Explanation: "c tanh(score / c) was left out.",
		Fix:         "Apply the softcap before the mask: attn_logit_softcapping.",
		Edit:        attentionSet(func(a *graph.Attributes, _ int) { a.Softcap = nil }),
	},
	{
		ID: "model-mask-missing", Title: "attention without any mask", Family: catalogue.ModelAttention, Kind: catalogue.Missing,
		Explanation: "Every query sees every key.",
		Fix:         "Apply the model's mask in every layer.",
		Edit: where(masked, func(n graph.Node) graph.Node {
			n = n.Put(3, graph.None)
			return n.Set(func(a *graph.Attributes) { a.Causal = false })
		}),
	},
	{
		ID: "model-causal-missing", Title: "attention without the causal mask", Family: catalogue.ModelAttention, Kind: catalogue.Missing,
		Explanation: "A query sees later keys. Padded keys stay hidden.",
		Fix:         "Hide every key that stands after the query.",
		Edit:        overMask(causalMissing),
	},
	{
		ID: "model-padding-ignored", Title: "attention that sees padded keys", Family: catalogue.ModelAttention, Kind: catalogue.Missing,
		Explanation: "The attention mask of the input is not applied.",
		Fix:         "Hide the keys where attention_mask is 0.",
		Edit:        overMask(paddingIgnored),
	},
	{
		ID: "model-causal-added", Title: "attention with a causal mask", Family: catalogue.ModelAttention, Kind: catalogue.Altered,
		Explanation: "A query sees no later key, and the model sees them all.",
		Fix:         "Use no causal mask: the model is an encoder.",
		Edit: where(square, func(n graph.Node) graph.Node {
			return n.Set(func(a *graph.Attributes) { a.Causal = true })
		}),
	},
	{
		ID: "model-window-missing", Title: "attention without its window", Family: catalogue.ModelAttention, Kind: catalogue.Missing,
		Explanation: "A query sees all earlier keys, where the model has a sliding window.",
		Fix:         "Apply sliding_window in the layers that have one.",
		Edit:        overMask(windowMissing),
	},
	{
		ID: "model-query-key-exchanged", Title: "queries and keys exchanged", Family: catalogue.ModelAttention, Kind: catalogue.Parameters,
		Explanation: "The scores are transposed.",
		Fix:         "Look at the order of q_proj and k_proj, or of the parts of a fused projection.",
		Edit: where(sameTokens, func(n graph.Node) graph.Node {
			return n.Put(0, n.Operands[1]).Put(1, n.Operands[0])
		}),
	},
	{
		ID: "model-key-value-exchanged", Title: "keys and values exchanged", Family: catalogue.ModelAttention, Kind: catalogue.Parameters,
		Explanation: "Queries are compared with values, and keys are added up.",
		Fix:         "Look at the order of k_proj and v_proj, or of the parts of a fused projection.",
		Edit: where(isOp("attention"), func(n graph.Node) graph.Node {
			return n.Put(1, n.Operands[2]).Put(2, n.Operands[1])
		}),
	},
	{
		ID: "model-kv-heads-tiled", Title: "key and value heads repeated as 0 1 0 1 for 0 0 1 1",
		Family: catalogue.ModelAttention, Kind: catalogue.Layout,
		Explanation: "The key and value heads were tiled, so that query heads take another group's keys.",
		Fix:         "Repeat each head next to itself: repeat_interleave, not repeat.",
		Edit: func(v *graph.View, n graph.Node) []graph.Node {
			if n.Op != "repeat_interleave" || n.Attributes.Dim != 1 || v.Shape(n.Operands[0])[1] == 1 {
				return nil
			}
			tiled := n.Become("cat", slices.Repeat(n.Operands, n.Attributes.Times)...)
			tiled.Attributes.Dim = 1
			return nodes(tiled)
		},
	},
	{
		ID: "model-heads-not-merged", Title: "heads merged without the transpose", Family: catalogue.ModelAttention, Kind: catalogue.Layout,
		Explanation: "(batch, heads, tokens, features) was reshaped to (batch, tokens, heads x features) as it lay in memory.",
		Fix:         "Transpose to (batch, tokens, heads, features) first, then reshape.",
		Edit: where(func(v *graph.View, n graph.Node) bool {
			return n.Op == "permute" && v.Made(n.Operands[0], "attention")
		}, func(n graph.Node) graph.Node { return n.Pass(n.Operands[0]) }),
	},
	{
		ID: "model-rotary-missing", Title: "no rotary embedding", Family: catalogue.ModelAttention, Kind: catalogue.Missing,
		Explanation: "Queries and keys are not rotated.",
		Fix:         "Rotate queries and keys by their positions.",
		Edit:        where(isOp("rotary"), func(n graph.Node) graph.Node { return n.Pass(n.Operands[0]) }),
	},
	{
		ID: "model-rotary-reversed", Title: "the rotary embedding in the other direction", Family: catalogue.ModelAttention, Kind: catalogue.Altered,
		Explanation: "The sine has the other sign.",
		Fix:         "Compute x cos + rotate_half(x) sin, with rotate_half = (-second half, first half).",
		Edit: func(v *graph.View, n graph.Node) []graph.Node {
			if n.Op != "rotary" {
				return nil
			}
			sin := n.Before(1, "neg", v.Shape(n.Operands[2]), n.Operands[2])
			return nodes(sin, n.With(n.Operands[0], n.Operands[1], graph.Value(sin.Name)))
		},
	},
	{
		ID: "model-rotary-interleaved", Title: "the rotary embedding over neighbours, not halves",
		Family: catalogue.ModelAttention, Kind: catalogue.Layout,
		Explanation: "Features were rotated in pairs of neighbours, as GPT-J does.",
		Fix:         "Rotate pairs of one feature from each half, or permute the weights of q_proj and k_proj.",
		Edit:        interleaved,
	},
	{
		ID: "model-rotary-query-alone", Title: "the rotary embedding on queries alone", Family: catalogue.ModelAttention, Kind: catalogue.Missing,
		Explanation: "Keys are not rotated.",
		Fix:         "Rotate keys, too.",
		Edit:        rotaryOf(1),
	},
	{
		ID: "model-rotary-key-alone", Title: "the rotary embedding on keys alone", Family: catalogue.ModelAttention, Kind: catalogue.Missing,
		Explanation: "Queries are not rotated.",
		Fix:         "Rotate queries, too.",
		Edit:        rotaryOf(0),
	},
	{
		ID: "model-qk-norm-over-heads", Title: "the norms of queries and keys over all heads", Family: catalogue.ModelAttention, Kind: catalogue.Altered,
		Explanation: "The mean square is taken over all heads of a token. The model normalises each head.",
		Fix:         "Split queries and keys into heads first, then normalise each.",
		Refs:        []string{"N11"},
		Edit: onlyIf(isHeadNorm, func(v *graph.View, n graph.Node) []graph.Node {
			return overLast(v, n, 2)
		}),
	},
}

// attentionSet returns an edit of the attributes of attention, for a size of the heads.
func attentionSet(change func(a *graph.Attributes, size int)) graph.Edit {
	return func(v *graph.View, n graph.Node) []graph.Node {
		if n.Op != "attention" {
			return nil
		}
		q := v.Shape(n.Operands[0])
		return nodes(n.Set(func(a *graph.Attributes) { change(a, q[len(q)-1]) }))
	}
}

func masked(_ *graph.View, n graph.Node) bool {
	return n.Op == "attention" && (!n.Operands[3].Absent || n.Attributes.Causal)
}

// sameTokens reports whether the queries of attention are as many as its keys.
func sameTokens(v *graph.View, n graph.Node) bool {
	return n.Op == "attention" && sameShape(v, n.Operands[0], n.Operands[1])
}

// square reports whether attention without a causal attribute has as many queries as keys.
func square(v *graph.View, n graph.Node) bool { return sameTokens(v, n) && !n.Attributes.Causal }

// overMask returns an edit that makes another mask from the mask of attention.
func overMask(change func(v *graph.View, n graph.Node, mask []int) (graph.Node, bool)) graph.Edit {
	return func(v *graph.View, n graph.Node) []graph.Node {
		if n.Op != "attention" || n.Operands[3].Absent {
			return nil
		}
		mask := v.Shape(n.Operands[3])
		if len(mask) < 2 || mask[len(mask)-2] == 1 {
			return nil
		}
		made, ok := change(v, n, mask)
		if !ok {
			return nil
		}
		seeing := n.Put(3, graph.Value(made.Name))
		return nodes(made, seeing.Set(func(a *graph.Attributes) { a.Causal = made.Attributes.Causal }))
	}
}

// most returns the largest element of a mask along a dimension: what any query, or any batch
// element, may see.
func most(n graph.Node, mask []int, dim int) graph.Node {
	shape := slices.Clone(mask)
	shape[dim] = 1
	made := n.Before(1, "max", shape, n.Operands[3])
	made.Attributes.Dims, made.Attributes.Keep = []int{dim}, true
	return made
}

func causalMissing(_ *graph.View, n graph.Node, mask []int) (graph.Node, bool) {
	return most(n, mask, len(mask)-2), true
}

func paddingIgnored(_ *graph.View, n graph.Node, mask []int) (graph.Node, bool) {
	return most(n, mask, 0), len(mask) == 4 && mask[0] > 1
}

// windowMissing sees all earlier keys that the last queries do not hide for another reason.
func windowMissing(v *graph.View, n graph.Node, mask []int) (graph.Node, bool) {
	made := most(n, mask, len(mask)-2)
	made.Attributes.Causal = true
	return made, sameTokens(v, n)
}

// interleaved rotates neighbours, by tables whose angles stand twice next to each other.
func interleaved(v *graph.View, n graph.Node) []graph.Node {
	if n.Op != "rotary" || n.Attributes.Pairs != "halves" {
		return nil
	}
	var made []graph.Node
	table := func(o graph.Operand) graph.Operand {
		shape := v.Shape(o)
		rank, width := len(shape), shape[len(shape)-1]
		outer := slices.Clone(shape[:rank-1])
		put := func(op string, shape []int, o graph.Operand, set func(a *graph.Attributes)) graph.Operand {
			made = append(made, n.Before(len(made)+1, op, shape, o).Set(set))
			return graph.Value(made[len(made)-1].Name)
		}
		half := append(slices.Clone(outer), width/2)
		column := append(slices.Clone(half), 1)
		pairs := append(slices.Clone(half), 2)
		o = put("slice", half, o, func(a *graph.Attributes) { a.Dim, a.Stop, a.Step = rank-1, width/2, 1 })
		o = put("reshape", column, o, func(a *graph.Attributes) { a.Shape = column })
		o = put("expand", pairs, o, func(a *graph.Attributes) { a.Shape = pairs })
		return put("reshape", shape, o, func(a *graph.Attributes) { a.Shape = shape })
	}
	rotary := n.With(n.Operands[0], table(n.Operands[1]), table(n.Operands[2]))
	return append(made, rotary.Set(func(a *graph.Attributes) { a.Pairs = "neighbours" }))
}

// rotaryOf returns an edit that leaves out the rotation of an operand of attention.
func rotaryOf(operand int) graph.Edit {
	return func(v *graph.View, n graph.Node) []graph.Node {
		if n.Op != "rotary" {
			return nil
		}
		for user := &n; ; {
			users := v.Users(user.Name)
			if len(users) != 1 {
				return nil
			}
			if users[0].Op == "attention" {
				if users[0].Operands[operand].Name != user.Name {
					return nil
				}
				return nodes(n.Pass(n.Operands[0]))
			}
			user = users[0]
		}
	}
}
