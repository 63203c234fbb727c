package judge

import (
	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/diagnose"
)

// parametersOf tells where a layer's state dict holds its query, key, value and output projections.
func parametersOf(c attention.Config) [4]diagnose.Parameter {
	query, key := sizesOf(c)
	all := [4]diagnose.Parameter{}
	fused := func(weight, bias string, rows [3]func(int) int) {
		for i, part := range []string{"query part", "key part", "value part"} {
			all[i] = diagnose.Parameter{Weight: weight, Bias: bias, Part: part, BiasPart: part, Row: rows[i]}
		}
	}
	stacked := [3]func(int) int{behind(0), behind(query), behind(query + key)}
	separate := func(weights [4]string) {
		for i, name := range weights {
			all[i] = diagnose.Parameter{Weight: name + ".weight", Bias: name + ".bias"}
		}
	}
	switch c.ParamLayout {
	case attention.SeedLayout:
		for i, name := range []string{"W_Q", "W_K", "W_V", "W_O"} {
			all[i] = diagnose.Parameter{Weight: name}
		}
	case attention.LlamaLayout:
		separate([4]string{"q_proj", "k_proj", "v_proj", "o_proj"})
	case attention.GPT2Layout:
		fused("c_attn.weight", "c_attn.bias", stacked)
		all[3] = diagnose.Parameter{Weight: "c_proj.weight", Bias: "c_proj.bias"}
		for i := range all {
			all[i].InOut = true
		}
	case attention.NeoXLayout:
		fused("query_key_value.weight", "query_key_value.bias", grouped(c))
		all[3] = diagnose.Parameter{Weight: "dense.weight", Bias: "dense.bias"}
	case attention.FusedLayout:
		fused("qkv_proj.weight", "qkv_proj.bias", stacked)
		all[3] = diagnose.Parameter{Weight: "o_proj.weight", Bias: "o_proj.bias"}
	default:
		fused("in_proj_weight", "in_proj_bias", stacked)
		otherWidth := func(dim int) bool { return dim != 0 && dim != c.EmbedDim }
		if c.ParamLayout == attention.TorchSeparateLayout || otherWidth(c.KDim) || otherWidth(c.VDim) {
			for i, name := range []string{"q_proj_weight", "k_proj_weight", "v_proj_weight"} {
				all[i] = diagnose.Parameter{Weight: name, Bias: "in_proj_bias", BiasPart: all[i].BiasPart}
			}
		}
		all[3] = diagnose.Parameter{Weight: "out_proj.weight", Bias: "out_proj.bias"}
	}
	for i := range all {
		all[i].Weight = c.Prefix + all[i].Weight
		if all[i].Bias != "" {
			all[i].Bias = c.Prefix + all[i].Bias
		}
	}
	return all
}

// sizesOf returns the number of rows of the query projection, and of the key and value projections.
func sizesOf(c attention.Config) (query, key int) {
	heads, width := c.NumKVHeads, c.HeadDim
	if heads == 0 {
		heads = c.NumHeads
	}
	if width == 0 && c.NumHeads > 0 {
		width = c.EmbedDim / c.NumHeads
	}
	return c.NumHeads * width, heads * width
}

func behind(first int) func(int) int { return func(i int) int { return first + i } }

// grouped returns the rows of a projection that is stored by key head: its query heads, its key,
// its value.
func grouped(c attention.Config) [3]func(int) int {
	query, key := sizesOf(c)
	if c.NumHeads == 0 || key == 0 {
		return [3]func(int) int{}
	}
	width := query / c.NumHeads
	members := query / key
	at := func(kvHead, member, i int) int { return (kvHead*(members+2)+member)*width + i%width }
	return [3]func(int) int{
		func(i int) int { return at(i/width/members, i/width%members, i) },
		func(i int) int { return at(i/width, members, i) },
		func(i int) int { return at(i/width, members+1, i) },
	}
}
