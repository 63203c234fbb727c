package edits

import (
	"slices"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/graph"
)

// normStatistics holds mistakes with the elements over which norms take their statistics.
var normStatistics = []catalogue.Mistake{
	{
		ID: "qk-norm-per-head", Title: "the norms of queries and keys applied to each head", Family: catalogue.Norm, Kind: catalogue.Altered,
		Explanation: "Each head, or each shard, has a mean square of its own. The model takes it over all heads.",
		Fix:         "Normalise the whole output of q_proj and of k_proj before it is split into heads.",
		Refs:        []string{"N11"},
		Edit:        qkNormPerHead,
	},
	{
		ID: "norm-groups-ignored", Title: "a grouped RMSNorm over the whole width", Family: catalogue.Norm, Kind: catalogue.Altered,
		Explanation: "The mean square is taken over all groups.",
		Fix:         "Normalise each of the n_groups groups of features on its own.",
		Refs:        []string{"N34"},
		Edit: onlyIf(isGroupedNorm, func(v *graph.View, n graph.Node) []graph.Node {
			return overLast(v, n, 2)
		}),
	},
	{
		ID: "norm-before-gate", Title: "the gate multiplied behind the norm", Family: catalogue.Norm, Kind: catalogue.Altered,
		Explanation: "norm(x) silu(z) was computed, where the model has norm(x silu(z)).",
		Fix:         "Multiply by the gate first, then normalise: norm_before_gate is False.",
		Refs:        []string{"N34"},
		Edit: onlyIf(isOp("rms_norm"), func(v *graph.View, n graph.Node) []graph.Node {
			x, gate, ok := gatedValue(v, v.Maker(n.Operands[0]))
			if !ok {
				return nil
			}
			d := newDraft(v, n)
			return d.end(n.Become("mul", d.put(n.Shape, n.Put(0, x)), gate))
		}),
	},
	{
		ID: "norm-after-gate", Title: "the gate multiplied before the norm", Family: catalogue.Norm, Kind: catalogue.Altered,
		Explanation: "norm(x silu(z)) was computed, where the model has norm(x) silu(z).",
		Fix:         "Normalise first, then multiply by the gate.",
		Refs:        []string{"N34"},
		Edit: func(v *graph.View, n graph.Node) []graph.Node {
			x, gate, ok := gatedValue(v, &n)
			norm := v.Maker(x)
			if !ok || norm == nil || norm.Op != "rms_norm" {
				return nil
			}
			d := newDraft(v, n)
			return d.end(renamed(*norm, n).Put(0, d.op("mul", n.Shape, norm.Operands[0], gate)))
		},
	},
	{
		ID: "group-norm-one-group", Title: "GroupNorm with one group", Family: catalogue.Norm, Kind: catalogue.Altered,
		Explanation: "The statistics are taken over all channels.",
		Fix:         "Pass the model's number of groups.",
		Refs:        []string{"N23"},
		Edit:        groupsSet(func(int) int { return 1 }),
	},
	{
		ID: "group-norm-per-channel", Title: "GroupNorm with a group for each channel", Family: catalogue.Norm, Kind: catalogue.Altered,
		Explanation: "Each channel is normalised on its own, as InstanceNorm does.",
		Fix:         "Pass the model's number of groups.",
		Refs:        []string{"N23"},
		Edit:        groupsSet(func(channels int) int { return channels }),
	},
	{
		ID: "group-norm-interleaved", Title: "GroupNorm with interleaved groups", Family: catalogue.Norm, Kind: catalogue.Layout,
		Explanation: "Channel c belongs to group c mod G, where the groups are blocks of neighbours.",
		Fix:         "Reshape the channels to (groups, channels / groups), not to (channels / groups, groups).",
		Refs:        []string{"N22"},
		Edit:        groupsInterleaved,
	},
	{
		ID: "batch-norm-of-batch", Title: "BatchNorm with the statistics of the batch", Family: catalogue.Norm, Kind: catalogue.Altered,
		Explanation: "Mean and variance are taken from the input, as in training.",
		Fix:         "Use running_mean and running_var at inference.",
		Refs:        []string{"N28"},
		Edit:        onlyIf(isOp("batch_norm"), batchStatistics),
	},
	{
		ID: "batch-norm-statistics-missing", Title: "BatchNorm with mean 0 and variance 1", Family: catalogue.Norm, Kind: catalogue.Parameters,
		Explanation: "The running statistics were not loaded.",
		Fix:         "Load running_mean and running_var: they are buffers, not parameters.",
		Refs:        []string{"N30", "W17"},
		Edit: onlyIf(isOp("batch_norm"), func(v *graph.View, n graph.Node) []graph.Node {
			d, shape := newDraft(v, n), v.Shape(n.Operands[3])
			zero := d.op("mul", shape, n.Operands[3], graph.Number(0))
			return d.end(n.Put(3, zero).Put(4, d.op("add", shape, zero, graph.Number(1))))
		}),
	},
}

// qkNormPerHead normalises each of the heads into which the next node splits a norm's output.
func qkNormPerHead(v *graph.View, n graph.Node) []graph.Node {
	users := v.Users(n.Name)
	if !weighted(v, n) || n.Op != "rms_norm" || len(users) != 1 || users[0].Op != "reshape" || !feedsAttention(v, &n, 6) {
		return nil
	}
	heads, width := users[0].Shape, n.Shape[len(n.Shape)-1]
	if len(heads) != len(n.Shape)+1 || heads[len(heads)-2]*heads[len(heads)-1] != width || heads[len(heads)-2] == 1 {
		return nil
	}
	d := newDraft(v, n)
	normed := d.put(heads, n.Put(0, d.reshape(n.Operands[0], heads...)).Put(1, graph.None).
		Set(func(a *graph.Attributes) { a.Offset = 0 }))
	weight := n.Operands[1]
	if n.Attributes.Offset != 0 {
		weight = d.op("add", v.Shape(weight), weight, graph.Number(n.Attributes.Offset))
	}
	return d.end(n.Become("mul", d.reshape(normed, n.Shape...), weight))
}

// isHeadNorm reports whether an RMSNorm normalises each of several heads (B, T, H, E).
func isHeadNorm(v *graph.View, n graph.Node) bool {
	split := v.Maker(n.Operands[0])
	return n.Op == "rms_norm" && len(n.Shape) == 4 && n.Shape[2] > 1 && split != nil && split.Op == "reshape" &&
		v.Made(split.Operands[0], "linear") && feedsAttention(v, &n, 6)
}

// isGroupedNorm reports whether an RMSNorm without a weight normalises groups of features.
func isGroupedNorm(v *graph.View, n graph.Node) bool {
	split, rank := v.Maker(n.Operands[0]), len(n.Shape)
	return n.Op == "rms_norm" && n.Operands[1].Absent && rank > 2 && n.Shape[rank-2] > 1 &&
		split != nil && split.Op == "reshape" && len(v.Shape(split.Operands[0])) == rank-1 &&
		v.Shape(split.Operands[0])[rank-2] == n.Shape[rank-2]*n.Shape[rank-1]
}

// overLast writes an RMSNorm whose mean square is over several of the last dimensions.
func overLast(v *graph.View, n graph.Node, count int) []graph.Node {
	d, x, rank := newDraft(v, n), n.Operands[0], len(n.Shape)
	var dims []int
	for i := range count {
		dims = append(dims, rank-count+i)
	}
	variance := d.mean(d.op("mul", n.Shape, x, x), n.Shape, dims...)
	column := slices.Clone(n.Shape)
	for _, dim := range dims {
		column[dim] = 1
	}
	root := d.op("sqrt", column, d.op("add", column, variance, graph.Number(n.Attributes.Eps)))
	result := d.op("div", n.Shape, x, root)
	if weight := n.Operands[1]; !weight.Absent {
		if n.Attributes.Offset != 0 {
			weight = d.op("add", v.Shape(weight), weight, graph.Number(n.Attributes.Offset))
		}
		result = d.op("mul", n.Shape, result, weight)
	}
	return d.end(n.Pass(result))
}

// gatedValue splits a product of x and silu(z).
func gatedValue(v *graph.View, n *graph.Node) (x, gate graph.Operand, ok bool) {
	if n == nil || n.Op != "mul" {
		return x, gate, false
	}
	for i, o := range n.Operands {
		if v.Made(o, "silu") && v.Maker(n.Operands[1-i]) != nil && sameShape(v, o, n.Operands[1-i]) {
			return n.Operands[1-i], o, true
		}
	}
	return x, gate, false
}

// groupsSet returns an edit of the number of groups, given the number of channels.
func groupsSet(groups func(channels int) int) graph.Edit {
	fits := func(v *graph.View, n graph.Node) bool {
		return n.Op == "group_norm" && n.Attributes.Groups != groups(n.Shape[1])
	}
	return where(fits, func(n graph.Node) graph.Node {
		return n.Set(func(a *graph.Attributes) { a.Groups = groups(n.Shape[1]) })
	})
}

// groupsInterleaved normalises channels that were dealt out to the groups one by one.
func groupsInterleaved(v *graph.View, n graph.Node) []graph.Node {
	groups := n.Attributes.Groups
	if n.Op != "group_norm" || groups == 1 || groups == n.Shape[1] {
		return nil
	}
	d, channels := newDraft(v, n), n.Shape[1]
	rest := 1
	for _, size := range n.Shape[2:] {
		rest *= size
	}
	dealt := func(o graph.Operand, rows, columns int) graph.Operand {
		o = d.reshape(o, n.Shape[0], rows, columns, rest)
		o = d.permute(o, []int{n.Shape[0], rows, columns, rest}, 0, 2, 1, 3)
		return d.reshape(o, n.Shape...)
	}
	result := dealt(n.Operands[0], channels/groups, groups)
	result = dealt(d.put(n.Shape, n.With(result, graph.None, graph.None)), groups, channels/groups)
	column := append([]int{channels}, slices.Repeat([]int{1}, len(n.Shape)-2)...)
	for i, op := range []string{"mul", "add"} {
		if o := n.Operands[1+i]; !o.Absent {
			result = d.op(op, n.Shape, result, d.reshape(o, column...))
		}
	}
	return d.end(n.Pass(result))
}

// batchStatistics replaces running statistics by the statistics of the input.
func batchStatistics(v *graph.View, n graph.Node) []graph.Node {
	d, x, channels := newDraft(v, n), n.Operands[0], n.Shape[1]
	dims := []int{0}
	for dim := 2; dim < len(n.Shape); dim++ {
		dims = append(dims, dim)
	}
	mean := d.mean(x, n.Shape, dims...)
	centred := d.op("sub", n.Shape, x, mean)
	variance := d.mean(d.op("mul", n.Shape, centred, centred), n.Shape, dims...)
	return d.end(n.Put(3, d.reshape(mean, channels)).Put(4, d.reshape(variance, channels)))
}
