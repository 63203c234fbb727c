package oracle

import (
	"strings"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/num"
)

// layerOf reads the projections and the other parameters of a layer from a state dict. Package
// attention reads the same layouts by code of its own, on purpose: a mistake in one of the two
// readers shows as a difference.
func layerOf(c attention.Config, state attention.StateDict) *Layer {
	d := prefixed{state, c.Prefix}
	l := &Layer{Heads: c.NumHeads, KVHeads: c.NumKVHeads, ZeroKey: c.ZeroAttn}
	if l.KVHeads == 0 {
		l.KVHeads = l.Heads
	}
	width := c.HeadDim
	if width == 0 {
		width = c.EmbedDim / c.NumHeads
	}
	weights := inputProjections(c.ParamLayout, l, width, d.table)
	biases := inputProjections(c.ParamLayout, l, width, func(name string) table { return d.table(biasOf(name)) })
	l.Query = linear(weights[0], biases[0])
	l.Key = linear(weights[1], biases[1])
	l.Value = linear(weights[2], biases[2])
	output := outputNames[c.ParamLayout]
	w := d.table(output)
	if c.ParamLayout == attention.GPT2Layout {
		w = w.transposed()
	}
	l.Output = linear(w, d.table(biasOf(output)))
	l.LearnedKey, l.LearnedValue = d.table("bias_k").values, d.table("bias_v").values
	if c.QKNorm != nil {
		l.QueryNorm = &Norm{Weight: d.table("q_norm.weight").values, Epsilon: c.QKNorm.Epsilon}
		l.KeyNorm = &Norm{Weight: d.table("k_norm.weight").values, Epsilon: c.QKNorm.Epsilon}
	}
	return l
}

// prefixed is a state dict whose keys all begin with a prefix.
type prefixed struct {
	state  attention.StateDict
	prefix string
}

// table returns a parameter as rows, and no rows if there is none of that name. A vector has rows
// of one number.
func (d prefixed) table(name string) table {
	t, ok := d.state[d.prefix+name]
	if !ok {
		return table{}
	}
	columns := 1
	if len(t.Shape) > 1 {
		columns = num.Last(t.Shape)
	}
	return table{t.Float64s(), columns}
}

// table holds the rows of a matrix, one behind another. Its values are nil if it has no rows.
type table struct {
	values  []float64
	columns int
}

func (m table) rows() int {
	if m.values == nil {
		return 0
	}
	return len(m.values) / m.columns
}

// split returns the first rows and the others. Nothing can be appended to the first rows in place.
func (m table) split(rows int) (first, others table) {
	n := rows * m.columns
	return table{m.values[:n:n], m.columns}, table{m.values[n:], m.columns}
}

func (m table) transposed() table {
	rows := m.rows()
	out := table{make([]float64, len(m.values)), rows}
	for i, v := range m.values {
		out.values[i%m.columns*rows+i/m.columns] = v
	}
	return out
}

func linear(weight, bias table) Linear {
	return Linear{Weight: weight.values, Bias: bias.values, Out: weight.rows(), In: weight.columns}
}

// outputNames are the keys of the output projection.
var outputNames = map[attention.ParamLayout]string{
	attention.TorchLayout:         "out_proj.weight",
	attention.TorchSeparateLayout: "out_proj.weight",
	attention.SeedLayout:          "W_O",
	attention.LlamaLayout:         "o_proj.weight",
	attention.GPT2Layout:          "c_proj.weight",
	attention.NeoXLayout:          "dense.weight",
	attention.FusedLayout:         "o_proj.weight",
}

// biasOf returns the key of the bias that belongs to a weight. The seed layout has no biases: the
// key that its weights give ("W_Q.bias") is in no state dict.
func biasOf(weight string) string {
	switch weight {
	case "in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight":
		return "in_proj_bias"
	}
	return strings.TrimSuffix(weight, ".weight") + ".bias"
}

// inputProjections returns the rows of the query, key and value projections. find returns the
// parameter of a weight's key: the weight, or the bias that belongs to it. The rows of both are
// arranged in the same way.
func inputProjections(layout attention.ParamLayout, l *Layer, width int, find func(name string) table) [3]table {
	sizes := [3]int{l.Heads * width, l.KVHeads * width, l.KVHeads * width}
	switch layout {
	case attention.SeedLayout:
		return [3]table{find("W_Q"), find("W_K"), find("W_V")}
	case attention.LlamaLayout:
		return [3]table{find("q_proj.weight"), find("k_proj.weight"), find("v_proj.weight")}
	case attention.GPT2Layout:
		fused := find("c_attn.weight")
		if fused.rows() > 0 && fused.columns > 1 { // the weight is stored (in, out)
			fused = fused.transposed()
		}
		return stacked(fused, sizes)
	case attention.FusedLayout:
		return stacked(find("qkv_proj.weight"), sizes)
	case attention.NeoXLayout:
		return grouped(find("query_key_value.weight"), l, width)
	}
	if packed := find("in_proj_weight"); packed.rows() == 3*sizes[0] {
		return stacked(packed, sizes)
	}
	return [3]table{find("q_proj_weight"), find("k_proj_weight"), find("v_proj_weight")}
}

// stacked separates query, key and value rows that are stacked in this order.
func stacked(m table, sizes [3]int) (parts [3]table) {
	if m.values == nil {
		return parts
	}
	for i, n := range sizes {
		parts[i], m = m.split(n)
	}
	return parts
}

// grouped separates rows that are stored by key/value head: its query heads, its key, its value.
func grouped(m table, l *Layer, width int) (parts [3]table) {
	if m.values == nil {
		return parts
	}
	for range l.KVHeads {
		for i, heads := range [3]int{l.Heads / l.KVHeads, 1, 1} {
			var rows table
			rows, m = m.split(heads * width)
			parts[i] = table{append(parts[i].values, rows.values...), m.columns}
		}
	}
	return parts
}
