package catalogue

import (
	"math"
	"math/rand/v2"
	"slices"

	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// weights holds mistakes that give the layer other weights than the state dict's.
var weights = []Mistake{
	{
		ID:          "weights-unit-normal",
		Title:       "weights left at N(0,1), never loaded",
		Explanation: "The state dict never reached the layer, which still holds its unscaled random initial values.",
		Fix:         "Check that load_state_dict is called and not assigned to, and that its errors are not swallowed.",
		Family:      Weights,
		Kind:        Unloaded,
		Stage:       Projection,
		Needs:       "parameters",
		Refs:        []string{"A01"},
		Evidence:    "https://github.com/huggingface/transformers/issues/46620",
		Random:      true,
		Plant:       weightsUnitNormal,
	},
	{
		ID:    "weights-random",
		Title: "other random weights of the case's own scale",
		Explanation: "The layer holds random values of the right size, not the state dict's. " +
			"It was never loaded, or was initialised again afterwards.",
		Fix: "Load the state dict last, and look for keys that it reports as missing. " +
			"One wrong prefix is enough.",
		Family:   Weights,
		Kind:     Unloaded,
		Stage:    Projection,
		Needs:    "parameters",
		Refs:     []string{"A01"},
		Evidence: "https://github.com/pytorch/examples/issues/1029",
		Random:   true,
		Plant:    weightsRandom,
	},
	{
		ID:          "weights-zero",
		Title:       "all weights zero",
		Explanation: "Every parameter is zero, like memory that was allocated and never filled.",
		Fix:         "Load the state dict before the first forward pass.",
		Family:      Weights,
		Kind:        Parameters,
		Stage:       Projection,
		Needs:       "parameters",
		Refs:        []string{"A02"},
		Evidence:    "https://github.com/TransformerLensOrg/TransformerLens/issues/1620",
		Plant:       weightsZero,
	},
	{
		ID:    "weights-transposed",
		Title: "every weight transposed: x W in place of x W^T",
		Explanation: "A Linear weight is stored as (out, in) and computes x W^T. " +
			"Without the transpose only square weights do not crash.",
		Fix:      "Compute x W^T with torch.nn.Linear weights, and x W with GPT-2's Conv1D weights.",
		Family:   Weights,
		Kind:     Parameters,
		Stage:    Projection,
		Needs:    "weights that are all square",
		Refs:     []string{"A16"},
		Evidence: "https://github.com/huggingface/transformers/issues/47031",
		Plant:    weightsTransposed,
	},
	{
		ID:    "query-weight-random",
		Title: "another random query weight",
		Explanation: "The query weight holds random values of the right size, not the state dict's. " +
			"The bias is loaded.",
		Fix:      "Load the state dict with strict=True, and look for the query weight among the missing keys.",
		Family:   Weights,
		Kind:     Parameters,
		Stage:    Projection,
		Needs:    "a layer",
		Refs:     []string{"A03"},
		Evidence: "https://github.com/pytorch/pytorch/issues/141256",
		Random:   true,
		Plant:    changeWeight(qProj, randomWeight),
	},
	{
		ID:          "key-weight-random",
		Title:       "another random key weight",
		Explanation: "The key weight holds random values of the right size, not the state dict's. The bias is loaded.",
		Fix:         "Load the state dict with strict=True, and look for the key weight among the missing keys.",
		Family:      Weights,
		Kind:        Parameters,
		Stage:       Projection,
		Needs:       "a layer",
		Refs:        []string{"A04"},
		Evidence:    "https://github.com/pytorch/pytorch/issues/141256",
		Random:      true,
		Plant:       changeWeight(kProj, randomWeight),
	},
	{
		ID:    "value-weight-random",
		Title: "another random value weight",
		Explanation: "The value weight holds random values of the right size, not the state dict's. " +
			"The bias is loaded.",
		Fix:      "Load the state dict with strict=True, and look for the value weight among the missing keys.",
		Family:   Weights,
		Kind:     Parameters,
		Stage:    Projection,
		Needs:    "a layer",
		Refs:     []string{"A05"},
		Evidence: "https://github.com/pytorch/pytorch/issues/141256",
		Random:   true,
		Plant:    changeWeight(vProj, randomWeight),
	},
	{
		ID:    "output-weight-random",
		Title: "another random output weight",
		Explanation: "The output weight holds random values of the right size, not the state dict's. " +
			"The bias is loaded.",
		Fix:      "Initialise the layer before loading the state dict, and check what writes out_proj.weight last.",
		Family:   Weights,
		Kind:     Parameters,
		Stage:    Context,
		Needs:    "a layer",
		Refs:     []string{"A06"},
		Evidence: "https://github.com/huggingface/transformers/pull/45591",
		Random:   true,
		Plant:    changeWeight(outProj, randomWeight),
	},
	{
		ID:          "key-weight-zero",
		Title:       "a key weight of zeros",
		Explanation: "Every key is the key bias alone. Without RoPE each query then weights all keys it sees equally.",
		Fix:         "Fill the key weight from the state dict. A missing tensor is an error, not zeros.",
		Family:      Weights,
		Kind:        Parameters,
		Stage:       Projection,
		Needs:       "a layer",
		Refs:        []string{"A04z"},
		Evidence:    "https://github.com/TransformerLensOrg/TransformerLens/issues/1620",
		Plant:       changeWeight(kProj, zeroWeight),
	},
	{
		ID:          "value-weight-zero",
		Title:       "a value weight of zeros",
		Explanation: "Every value is the value bias alone, whatever the input is.",
		Fix:         "Fill the value weight from the state dict. A missing tensor is an error, not zeros.",
		Family:      Weights,
		Kind:        Parameters,
		Stage:       Projection,
		Needs:       "a layer",
		Refs:        []string{"A05z"},
		Evidence:    "https://github.com/TransformerLensOrg/TransformerLens/issues/1620",
		Plant:       changeWeight(vProj, zeroWeight),
	},
	{
		ID:          "output-weight-zero",
		Title:       "an output weight of zeros",
		Explanation: "Every row of the output is the output bias alone.",
		Fix:         "Fill the output weight from the state dict. A missing tensor is an error, not zeros.",
		Family:      Weights,
		Kind:        Parameters,
		Stage:       Context,
		Needs:       "a layer",
		Refs:        []string{"A06z"},
		Plant:       changeWeight(outProj, zeroWeight),
	},
	{
		ID:          "output-projection-skipped",
		Title:       "the output projection skipped",
		Explanation: "The concatenated heads are returned as the result, without out_proj and its bias.",
		Fix:         "Multiply the concatenated heads by out_proj.weight and add out_proj.bias.",
		Family:      Weights,
		Kind:        Altered,
		Stage:       Context,
		Needs:       "concatenated heads as wide as the output",
		Refs:        []string{"A12"},
		Evidence:    "https://github.com/Kyubyong/transformer/issues/117",
		Plant:       outputProjectionSkipped,
	},
	{
		ID:          "query-key-swapped",
		Title:       "the query and key projections swapped",
		Explanation: "Queries are projected with the key's weight and bias, and keys with the query's.",
		Fix:         "Read the projections in the order query, key, value.",
		Family:      Weights,
		Kind:        Parameters,
		Stage:       Projection,
		Needs:       "query and key projections of the same shape",
		Refs:        []string{"A13"},
		Plant:       cycleProjections(qProj, kProj),
	},
	{
		ID:          "key-value-swapped",
		Title:       "the key and value projections swapped",
		Explanation: "Keys are projected with the value's weight and bias, and values with the key's.",
		Fix:         "Read the projections in the order query, key, value.",
		Family:      Weights,
		Kind:        Parameters,
		Stage:       Projection,
		Needs:       "key and value projections of the same shape",
		Refs:        []string{"A14"},
		Evidence:    "https://github.com/huggingface/diffusers/pull/92",
		Plant:       cycleProjections(kProj, vProj),
	},
	{
		ID:          "query-value-swapped",
		Title:       "the query and value projections swapped",
		Explanation: "Queries are projected with the value's weight and bias, and values with the query's.",
		Fix:         "Read the projections in the order query, key, value.",
		Family:      Weights,
		Kind:        Parameters,
		Stage:       Projection,
		Needs:       "query and value projections of the same shape",
		Refs:        []string{"A15"},
		Evidence:    "https://github.com/huggingface/diffusers/pull/92",
		Plant:       cycleProjections(qProj, vProj),
	},
	{
		ID:          "projections-rotated",
		Title:       "the projections read in the order key, value, query",
		Explanation: "Queries use the key's weight and bias, keys the value's, and values the query's.",
		Fix:         "Read in_proj_weight in the order query, key, value.",
		Family:      Weights,
		Kind:        Layout,
		Stage:       Projection,
		Needs:       "query, key and value projections of the same shape",
		Refs:        []string{"A15c"},
		Evidence:    "https://github.com/SandAI-org/MAGI-1/issues/123",
		Plant:       cycleProjections(qProj, kProj, vProj),
	},
	{
		ID:          "query-weight-transposed",
		Title:       "the query weight transposed",
		Explanation: "The query projection computes x W instead of x W^T. The other projections are right.",
		Fix:         "Compute x W^T with torch.nn.Linear weights, and x W with GPT-2's Conv1D weights.",
		Family:      Weights,
		Kind:        Parameters,
		Stage:       Projection,
		Needs:       "a square query weight",
		Refs:        []string{"A17q"},
		Evidence:    "https://github.com/pytorch/pytorch/issues/139598",
		Plant:       changeWeight(qProj, transposeWeight),
	},
	{
		ID:          "key-weight-transposed",
		Title:       "the key weight transposed",
		Explanation: "The key projection computes x W instead of x W^T. The other projections are right.",
		Fix:         "Compute x W^T with torch.nn.Linear weights, and x W with GPT-2's Conv1D weights.",
		Family:      Weights,
		Kind:        Parameters,
		Stage:       Projection,
		Needs:       "a square key weight",
		Refs:        []string{"A17k"},
		Evidence:    "https://github.com/pytorch/pytorch/issues/139598",
		Plant:       changeWeight(kProj, transposeWeight),
	},
	{
		ID:          "value-weight-transposed",
		Title:       "the value weight transposed",
		Explanation: "The value projection computes x W instead of x W^T. The other projections are right.",
		Fix:         "Compute x W^T with torch.nn.Linear weights, and x W with GPT-2's Conv1D weights.",
		Family:      Weights,
		Kind:        Parameters,
		Stage:       Projection,
		Needs:       "a square value weight",
		Refs:        []string{"A17v"},
		Evidence:    "https://github.com/pytorch/pytorch/issues/139598",
		Plant:       changeWeight(vProj, transposeWeight),
	},
	{
		ID:          "output-weight-transposed",
		Title:       "the output weight transposed",
		Explanation: "The output projection computes x W instead of x W^T. The other projections are right.",
		Fix:         "Compute x W^T with torch.nn.Linear weights, and x W with GPT-2's Conv1D weights.",
		Family:      Weights,
		Kind:        Parameters,
		Stage:       Context,
		Needs:       "a square output weight",
		Refs:        []string{"A17o"},
		Evidence:    "https://github.com/AutoGPTQ/AutoGPTQ/pull/139",
		Plant:       changeWeight(outProj, transposeWeight),
	},
	{
		ID:    "fused-read-per-head",
		Title: "a fused weight of [Q; K; V] read head by head",
		Explanation: "The rows hold all queries, then all keys, then all values. " +
			"They were read as query, key and value of each head in turn.",
		Fix:      "Split the rows of in_proj_weight into query, key and value first, and then into heads.",
		Family:   Weights,
		Kind:     Layout,
		Stage:    Projection,
		Needs:    "two or more heads, each with its own key and value",
		Refs:     []string{"A19a"},
		Evidence: "https://github.com/vllm-project/vllm/pull/53114",
		Plant:    fusedReadPerHead,
	},
	{
		ID:          "fused-read-stacked",
		Title:       "a fused weight stored head by head read as [Q; K; V]",
		Explanation: "The rows hold query, key and value of each head in turn. They were cut into three equal parts.",
		Fix:         "Split the rows of query_key_value.weight into heads first, as (H, 3, E, D), and then each head.",
		Family:      Weights,
		Kind:        Layout,
		Stage:       Projection,
		Needs:       "two or more heads, each with its own key and value",
		Refs:        []string{"A19b"},
		Evidence:    "https://github.com/lablup/mlxcel/pull/928",
		Plant:       fusedReadStacked,
	},
	{
		ID:    "fused-group-read-stacked",
		Title: "a fused weight stored by groups of one key head read as [Q; K; V]",
		Explanation: "The rows hold the queries, the key and the value of each key head in turn. " +
			"They were read as all queries, then all keys, then all values.",
		Fix:      "Split the rows into key heads first, as (Hk, H/Hk + 2, E, D), and then each group.",
		Family:   Weights,
		Kind:     Layout,
		Stage:    Projection,
		Needs:    "two or more key heads, shared by query heads",
		Refs:     []string{"A19c"},
		Evidence: "https://github.com/NVIDIA-NeMo/Megatron-Bridge/pull/1818",
		Plant:    fusedGroupReadStacked,
	},
	{
		ID:    "second-half-of-heads-zero",
		Title: "the second half of the heads zero",
		Explanation: "Only the first of two shards was loaded. " +
			"The rows of the other heads, and their columns in the output weight, are zero.",
		Fix:      "Load every shard of a tensor-parallel checkpoint, and concatenate the shards along the heads.",
		Family:   Weights,
		Kind:     Parameters,
		Stage:    Projection,
		Needs:    "even numbers of heads and key heads",
		Refs:     []string{"A29"},
		Evidence: "https://github.com/tenstorrent/tt-metal/pull/52818",
		Plant:    secondHalfOfHeadsZero,
	},
	{
		ID:          "value-aliased-to-key",
		Title:       "the key projection used for the values as well",
		Explanation: "Values are projected with the key's weight and bias.",
		Fix:         "Load the value weight under its own name, without falling back to the key's.",
		Family:      Weights,
		Kind:        Parameters,
		Stage:       Projection,
		Needs:       "keys and values of the same width",
		Refs:        []string{"A33"},
		Evidence:    "https://github.com/ml-explore/mlx-swift-lm/issues/300",
		Plant:       valueAliasedToKey,
	},
	{
		ID:          "values-scaled",
		Title:       "the values multiplied by sqrt(2)",
		Explanation: "A scale of the values was dropped or applied twice.",
		Fix:         "Leave the values as they are projected, unless the layer scales them.",
		Family:      Weights,
		Kind:        Altered,
		Stage:       Projection,
		Needs:       "a layer",
		Refs:        []string{"A37"},
		Evidence:    "https://github.com/NVIDIA-NeMo/Megatron-Bridge/pull/4155",
		Plant:       valuesScaled,
	},
	{
		ID:          "value-weight-last-head-random",
		Title:       "random values in the last head of the value weight",
		Explanation: "The last head's rows of the value weight are not the state dict's.",
		Fix:         "Load the whole tensor, and look for a missing shard.",
		Family:      Weights,
		Kind:        Parameters,
		Stage:       Projection,
		Needs:       "a layer",
		Refs:        []string{"A38"},
		Evidence:    "https://github.com/pytorch/pytorch/issues/141256",
		Random:      true,
		Plant:       changeWeight(vProj, randomLastHead),
	},
	{
		ID:          "query-weight-last-head-random",
		Title:       "random values in the last head of the query weight",
		Explanation: "The last head's rows of the query weight are not the state dict's.",
		Fix:         "Load the whole tensor, and look for a missing shard.",
		Family:      Weights,
		Kind:        Parameters,
		Stage:       Projection,
		Needs:       "a layer",
		Refs:        []string{"A39"},
		Evidence:    "https://github.com/pytorch/pytorch/issues/141256",
		Random:      true,
		Plant:       changeWeight(qProj, randomLastHead),
	},
}

// weightsUnitNormal draws every parameter from N(0, 1).
func weightsUnitNormal(p *oracle.Problem, r *rand.Rand) bool {
	return changeParameters(p, func(wrong, _ []float64) { fillRandom(wrong, 1, r) })
}

// weightsRandom draws every parameter from a normal distribution of its own RMS.
func weightsRandom(p *oracle.Problem, r *rand.Rand) bool {
	return changeParameters(p, func(wrong, right []float64) { fillRandom(wrong, num.RMS(right), r) })
}

func weightsZero(p *oracle.Problem, _ *rand.Rand) bool {
	return changeParameters(p, setToZero)
}

// changeParameters lets change write the wrong values of each learned parameter, given the right
// ones. It reports whether p has a layer; without one there are no parameters.
func changeParameters(p *oracle.Problem, change func(wrong, right []float64)) bool {
	for _, values := range p.Parameters() {
		if right := *values; right != nil {
			*values = p.Borrow(len(right))
			change(*values, right)
		}
	}
	return p.Layer != nil
}

// setToZero is a change of [changeParameters].
func setToZero(wrong, _ []float64) { clear(wrong) }

// fillRandom overwrites values with draws from N(0, scale²).
func fillRandom(values []float64, scale float64, r *rand.Rand) {
	for i := range values {
		values[i] = scale * r.NormFloat64()
	}
}

// weightsTransposed applies only if every weight is square: other shapes crash when transposed.
func weightsTransposed(p *oracle.Problem, _ *rand.Rand) bool {
	notSquare := func(m *oracle.Linear) bool { return m.In != m.Out }
	if p.Layer == nil || slices.ContainsFunc(p.Layer.Projections(), notSquare) {
		return false
	}
	return changeEveryWeight(p, transposeWeight)
}

// projection selects one of the four projections of a layer.
type projection func(*oracle.Layer) *oracle.Linear

func qProj(l *oracle.Layer) *oracle.Linear   { return &l.Query }
func kProj(l *oracle.Layer) *oracle.Linear   { return &l.Key }
func vProj(l *oracle.Layer) *oracle.Linear   { return &l.Value }
func outProj(l *oracle.Layer) *oracle.Linear { return &l.Output }

// newWeight returns an array that p borrows to replace m.Weight, (Out, In), or nil if the mistake
// is impossible.
type newWeight func(p *oracle.Problem, m oracle.Linear, r *rand.Rand) []float64

// changeWeight plants a mistake in the weight of one projection.
func changeWeight(which projection, change newWeight) plant {
	return func(p *oracle.Problem, r *rand.Rand) bool {
		if p.Layer == nil {
			return false
		}
		m := which(p.Layer)
		weight := change(p, *m, r)
		if weight == nil {
			return false
		}
		m.Weight = weight
		return true
	}
}

// changeEveryWeight changes the weights of all four projections, and leaves the biases alone.
func changeEveryWeight(p *oracle.Problem, change newWeight) bool {
	if p.Layer == nil {
		return false
	}
	for _, m := range p.Layer.Projections() {
		m.Weight = change(p, *m, nil)
	}
	return true
}

func randomWeight(p *oracle.Problem, m oracle.Linear, r *rand.Rand) []float64 {
	weight := p.Borrow(len(m.Weight))
	fillRandom(weight, num.RMS(m.Weight), r)
	return weight
}

// randomLastHead redraws the last E rows of a weight of (heads*E, In).
func randomLastHead(p *oracle.Problem, m oracle.Linear, r *rand.Rand) []float64 {
	weight := p.BorrowCopy(m.Weight)
	fillRandom(weight[(m.Out-layerHeadWidth(p.Layer))*m.In:], num.RMS(m.Weight), r)
	return weight
}

func zeroWeight(p *oracle.Problem, m oracle.Linear, _ *rand.Rand) []float64 {
	weight := p.Borrow(len(m.Weight))
	clear(weight)
	return weight
}

// transposeWeight returns nil if the weight is not square.
func transposeWeight(p *oracle.Problem, m oracle.Linear, r *rand.Rand) []float64 {
	if m.In != m.Out {
		return nil
	}
	return weightColumnMajor(p, m, r)
}

// outputProjectionSkipped applies only if the projection keeps the width.
func outputProjectionSkipped(p *oracle.Problem, _ *rand.Rand) bool {
	if p.Layer == nil || p.Layer.Output.In != p.Layer.Output.Out {
		return false
	}
	p.Layer.Output.Skipped = true
	return true
}

// cycleProjections replaces each projection by the next one listed, and the last by the first. It
// applies only if all have the same shape.
func cycleProjections(which ...projection) plant {
	return func(p *oracle.Problem, _ *rand.Rand) bool {
		if p.Layer == nil {
			return false
		}
		first := *which[0](p.Layer)
		for _, proj := range which {
			if m := proj(p.Layer); m.In != first.In || m.Out != first.Out {
				return false
			}
		}
		for i, next := range which[1:] {
			*which[i](p.Layer) = *next(p.Layer)
		}
		*which[len(which)-1](p.Layer) = first
		return true
	}
}

func fusedReadPerHead(p *oracle.Problem, _ *rand.Rand) bool {
	return p.Layer != nil && p.Layer.Heads == p.Layer.KVHeads && readFused(p, stackedOrder, groupedOrder)
}

func fusedReadStacked(p *oracle.Problem, _ *rand.Rand) bool {
	return p.Layer != nil && p.Layer.Heads == p.Layer.KVHeads && readFused(p, groupedOrder, stackedOrder)
}

func fusedGroupReadStacked(p *oracle.Problem, _ *rand.Rand) bool {
	return p.Layer != nil && p.Layer.Heads > p.Layer.KVHeads && readFused(p, groupedOrder, stackedOrder)
}

// headRows names the E rows of one head in the query, key or value projection.
type headRows struct {
	proj projection
	head int
}

// stackedOrder lists the rows of a fused weight stored as [Q; K; V].
func stackedOrder(l *oracle.Layer) (order []headRows) {
	for h := range l.Heads {
		order = append(order, headRows{qProj, h})
	}
	for _, proj := range []projection{kProj, vProj} {
		for h := range l.KVHeads {
			order = append(order, headRows{proj, h})
		}
	}
	return order
}

// groupedOrder lists the rows of a fused weight stored by key head: its queries, its key, its
// value.
func groupedOrder(l *oracle.Layer) (order []headRows) {
	group := l.Heads / l.KVHeads
	for k := range l.KVHeads {
		for h := range group {
			order = append(order, headRows{qProj, k*group + h})
		}
		order = append(order, headRows{kProj, k}, headRows{vProj, k})
	}
	return order
}

// readFused stores the query, key and value projections in one fused order and reads them back in
// another. It reports false if they cannot be fused, or if both orders are the same, as they are
// for one key head.
func readFused(p *oracle.Problem, stored, read func(*oracle.Layer) []headRows) bool {
	l := p.Layer
	if l.KVHeads == 1 || !fusible(l.Query, l.Key) || !fusible(l.Key, l.Value) {
		return false
	}
	right := *l
	for _, proj := range []projection{qProj, kProj, vProj} {
		m := proj(l)
		m.Weight, m.Bias = p.BorrowCopy(m.Weight), slices.Clone(m.Bias)
	}
	from, to := stored(l), read(l)
	for i := range from {
		weight, bias := from[i].parameters(&right)
		toWeight, toBias := to[i].parameters(l)
		copy(toWeight, weight)
		copy(toBias, bias)
	}
	return true
}

// fusible reports whether two projections fit into one weight: the same input width, and biases for
// both or for neither.
func fusible(a, b oracle.Linear) bool { return a.In == b.In && (a.Bias == nil) == (b.Bias == nil) }

// parameters returns the head's rows of the weight, and its part of the bias or nil.
func (h headRows) parameters(l *oracle.Layer) (weight, bias []float64) {
	m, e := h.proj(l), layerHeadWidth(l)
	weight = m.Weight[h.head*e*m.In:][:e*m.In]
	if m.Bias != nil {
		bias = m.Bias[h.head*e:][:e]
	}
	return weight, bias
}

func secondHalfOfHeadsZero(p *oracle.Problem, _ *rand.Rand) bool {
	l := p.Layer
	if l == nil || l.Heads%2 != 0 || l.KVHeads%2 != 0 {
		return false
	}
	for _, m := range []*oracle.Linear{&l.Query, &l.Key, &l.Value} {
		m.Weight, m.Bias = p.BorrowCopy(m.Weight), slices.Clone(m.Bias)
		clear(m.Weight[len(m.Weight)/2:])
		clear(m.Bias[len(m.Bias)/2:])
	}
	l.Output.Weight = p.BorrowCopy(l.Output.Weight)
	for row := range slices.Chunk(l.Output.Weight, l.Output.In) {
		clear(row[len(row)/2:])
	}
	return true
}

func valueAliasedToKey(p *oracle.Problem, _ *rand.Rand) bool {
	if p.Layer == nil || p.Layer.Key.In != p.Layer.Value.In {
		return false
	}
	p.Layer.Value.Weight, p.Layer.Value.Bias = p.Layer.Key.Weight, p.Layer.Key.Bias
	return true
}

func valuesScaled(p *oracle.Problem, _ *rand.Rand) bool {
	if p.Layer == nil {
		return false
	}
	v := &p.Layer.Value
	v.Weight, v.Bias = multiplied(v.Weight, math.Sqrt2), multiplied(v.Bias, math.Sqrt2)
	return true
}
