package oracle

import (
	"slices"
	"strings"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/num"
)

// dict is a state dict whose names all begin with a prefix.
type dict struct {
	state  attention.StateDict
	prefix string
}

// matrix gives a parameter as rows; of one dimension each row is a number.
func (d dict) matrix(name string) table {
	t, ok := d.state[d.prefix+name]
	if !ok {
		return nil
	}
	columns := 1
	if len(t.Shape) > 1 {
		columns = num.Last(t.Shape)
	}
	return slices.Collect(slices.Chunk(t.Float64s(), columns))
}

type table [][]float64

func (m table) flat() []float64 { return slices.Concat(m...) }

func (m table) transposed() table {
	out := make(table, len(m[0]))
	for _, row := range m {
		for i, v := range row {
			out[i] = append(out[i], v)
		}
	}
	return out
}

// layer finds the four linear maps, and what else is learned, in a state dict.
func layer(c attention.Config, state attention.StateDict) *Layer {
	d := dict{state, c.Prefix}
	l := &Layer{Heads: c.NumHeads, KVHeads: c.NumKVHeads, ZeroKey: c.ZeroAttn}
	if l.KVHeads == 0 {
		l.KVHeads = l.Heads
	}
	width := c.HeadDim
	if width == 0 {
		width = c.EmbedDim / c.NumHeads
	}
	weights := inputs(c.ParamLayout, l, width, d.matrix)
	biases := inputs(c.ParamLayout, l, width, func(name string) table { return d.matrix(biasOf(name)) })
	l.Query, l.Key, l.Value = linear(weights[0], biases[0]), linear(weights[1], biases[1]), linear(weights[2], biases[2])
	output := outputNames[c.ParamLayout]
	w := d.matrix(output)
	if c.ParamLayout == attention.GPT2Layout {
		w = w.transposed()
	}
	l.Output = linear(w, d.matrix(biasOf(output)))
	l.LearnedKey, l.LearnedValue = d.matrix("bias_k").flat(), d.matrix("bias_v").flat()
	if c.QKNorm != nil {
		l.QueryNorm = &Norm{Weight: d.matrix("q_norm.weight").flat(), Epsilon: c.QKNorm.Epsilon}
		l.KeyNorm = &Norm{Weight: d.matrix("k_norm.weight").flat(), Epsilon: c.QKNorm.Epsilon}
	}
	return l
}

func linear(weight, bias table) Linear {
	return Linear{Weight: weight.flat(), Bias: bias.flat(), Out: len(weight), In: len(weight[0])}
}

var outputNames = map[attention.ParamLayout]string{
	attention.TorchLayout: "out_proj.weight", attention.TorchSeparateLayout: "out_proj.weight", attention.SeedLayout: "W_O", attention.LlamaLayout: "o_proj.weight",
	attention.GPT2Layout: "c_proj.weight", attention.NeoXLayout: "dense.weight", attention.FusedLayout: "o_proj.weight",
}

// biasOf names the bias that belongs to a weight; the seed's have none, under any name.
func biasOf(weight string) string {
	switch weight {
	case "in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight":
		return "in_proj_bias"
	}
	return strings.TrimSuffix(weight, ".weight") + ".bias"
}

// inputs gives the rows of query, key and value. find gives the matrix of a name: a weight, or in
// its place the bias that belongs to it, which has rows of the same meaning.
func inputs(keys attention.ParamLayout, l *Layer, width int, find func(name string) table) [3]table {
	sizes := [3]int{l.Heads * width, l.KVHeads * width, l.KVHeads * width}
	switch keys {
	case attention.SeedLayout:
		return [3]table{find("W_Q"), find("W_K"), find("W_V")}
	case attention.LlamaLayout:
		return [3]table{find("q_proj.weight"), find("k_proj.weight"), find("v_proj.weight")}
	case attention.GPT2Layout:
		fused := find("c_attn.weight")
		if len(fused) > 0 && len(fused[0]) > 1 {
			fused = fused.transposed()
		}
		return stacked(fused, sizes)
	case attention.FusedLayout:
		return stacked(find("qkv_proj.weight"), sizes)
	case attention.NeoXLayout:
		return grouped(find("query_key_value.weight"), l, width)
	}
	if packed := find("in_proj_weight"); packed != nil && len(packed) == 3*sizes[0] {
		return stacked(packed, sizes)
	}
	return [3]table{find("q_proj_weight"), find("k_proj_weight"), find("v_proj_weight")}
}

// stacked takes three parts that stand one below the other.
func stacked(m table, sizes [3]int) (parts [3]table) {
	if m == nil {
		return parts
	}
	for i, n := range sizes {
		parts[i], m = m[:n], m[n:]
	}
	return parts
}

// grouped takes the parts of each key head in turn: its query heads, its key, its value.
func grouped(m table, l *Layer, width int) (parts [3]table) {
	if m == nil {
		return parts
	}
	for range l.KVHeads {
		for i, heads := range [3]int{l.Heads / l.KVHeads, 1, 1} {
			parts[i] = append(parts[i], m[:heads*width]...)
			m = m[heads*width:]
		}
	}
	return parts
}
