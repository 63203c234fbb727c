package attention_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
)

// place is a Placement whose functions are replaced by their first values, nil for a nil function.
type place struct {
	weight, part string
	rows         []int
	bias         string
	biasPart     string
	biasRows     []int
	inOut        bool
}

// own returns the places of projections in tensors of their own.
func own(names ...string) (all [4]place) {
	for i, name := range names {
		all[i] = place{weight: name + ".weight", bias: name + ".bias"}
	}
	return all
}

// fused returns the places of query, key and value at these rows of one tensor.
func fused(weight, bias, output string, rows ...[]int) [4]place {
	all := [4]place{3: {weight: output + ".weight", bias: output + ".bias"}}
	for i, part := range []string{"query part", "key part", "value part"} {
		all[i] = place{weight: weight, part: part, rows: rows[i], bias: bias, biasPart: part, biasRows: rows[i]}
	}
	return all
}

func TestPlacements(t *testing.T) {
	query, key, value := []int{0, 1, 2, 3}, []int{4, 5, 6, 7}, []int{8, 9, 10, 11}
	torch := fused("in_proj_weight", "in_proj_bias", "out_proj", query, key, value)
	separate := [4]place{
		{weight: "q_proj_weight", bias: "in_proj_bias", biasPart: "query part", biasRows: query},
		{weight: "k_proj_weight", bias: "in_proj_bias", biasPart: "key part", biasRows: key},
		{weight: "v_proj_weight", bias: "in_proj_bias", biasPart: "value part", biasRows: value},
		{weight: "out_proj.weight", bias: "out_proj.bias"},
	}
	gpt2 := fused("c_attn.weight", "c_attn.bias", "c_proj", query, key, value)
	for i := range gpt2 {
		gpt2[i].inOut = true
	}
	for _, tc := range []struct {
		name   string
		config attention.Config
		want   [4]place
	}{
		{"nn.MultiheadAttention", attention.Config{}, torch},
		{"kdim and vdim written out", attention.Config{KDim: 4, VDim: 4}, torch},
		{"without biases", attention.Config{WithoutBias: true}, torch},
		{"kdim", attention.Config{KDim: 3}, separate},
		{"vdim", attention.Config{VDim: 5}, separate},
		{"separate weights", attention.Config{ParamLayout: attention.TorchSeparateLayout}, separate},
		{"seed", attention.Config{ParamLayout: attention.SeedLayout, WithoutBias: true},
			[4]place{{weight: "W_Q"}, {weight: "W_K"}, {weight: "W_V"}, {weight: "W_O"}}},
		{"Llama", attention.Config{ParamLayout: attention.LlamaLayout, NumKVHeads: 1, KDim: 3},
			own("q_proj", "k_proj", "v_proj", "o_proj")},
		{"GPT-2", attention.Config{ParamLayout: attention.GPT2Layout}, gpt2},
		{"NeoX", attention.Config{ParamLayout: attention.NeoXLayout},
			fused("query_key_value.weight", "query_key_value.bias", "dense",
				[]int{0, 1, 6, 7}, []int{2, 3, 8, 9}, []int{4, 5, 10, 11})},
		{"NeoX, one key head", attention.Config{ParamLayout: attention.NeoXLayout, NumKVHeads: 1},
			fused("query_key_value.weight", "query_key_value.bias", "dense", query, []int{4, 5}, []int{6, 7})},
		{"NeoX, four heads for two key heads",
			attention.Config{ParamLayout: attention.NeoXLayout, NumHeads: 4, NumKVHeads: 2, HeadDim: 1},
			fused("query_key_value.weight", "query_key_value.bias", "dense",
				[]int{0, 1, 4, 5}, []int{2, 6}, []int{3, 7})},
		{"fused", attention.Config{ParamLayout: attention.FusedLayout},
			fused("qkv_proj.weight", "qkv_proj.bias", "o_proj", query, key, value)},
		{"fused, one key head", attention.Config{ParamLayout: attention.FusedLayout, NumKVHeads: 1},
			fused("qkv_proj.weight", "qkv_proj.bias", "o_proj", query, []int{4, 5}, []int{6, 7})},
		{"fused, wide heads", attention.Config{ParamLayout: attention.FusedLayout, NumHeads: 1, HeadDim: 6},
			fused("qkv_proj.weight", "qkv_proj.bias", "o_proj", []int{0, 1}, []int{6, 7}, []int{12, 13})},
	} {
		for _, prefix := range []string{"", "layers.0."} {
			t.Run(tc.name+prefix, func(t *testing.T) {
				c := tc.config
				c.EmbedDim, c.Prefix = 4, prefix
				if c.NumHeads == 0 {
					c.NumHeads = 2
				}
				require.NoError(t, c.Check())
				for i, got := range c.Placements() {
					want := tc.want[i]
					want.weight = prefix + want.weight
					if want.bias != "" {
						want.bias = prefix + want.bias
					}
					require.Equal(t, want, place{
						weight: got.Weight, part: got.Part, rows: firstRows(got.Row, len(want.rows)),
						bias: got.Bias, biasPart: got.BiasPart, biasRows: firstRows(got.BiasRow, len(want.biasRows)),
						inOut: got.InOut,
					}, "projection %d", i)
				}
			})
		}
	}
}

// firstRows writes out the first n rows of a Row or BiasRow, nil for nil.
func firstRows(row func(int) int, n int) []int {
	if row == nil {
		return nil
	}
	rows := make([]int, n)
	for i := range rows {
		rows[i] = row(i)
	}
	return rows
}

// Placements does not panic on a configuration that Check refuses, and neither do Row and BiasRow.
func TestPlacementsOfARefusedConfig(t *testing.T) {
	all := []attention.ParamLayout{
		attention.TorchLayout, attention.TorchSeparateLayout, attention.SeedLayout, attention.LlamaLayout,
		attention.GPT2Layout, attention.NeoXLayout, attention.FusedLayout,
	}
	for _, layout := range all {
		for _, c := range []attention.Config{
			{}, {EmbedDim: 4}, {NumHeads: 2}, {EmbedDim: 1, NumHeads: 2}, {EmbedDim: 4, NumHeads: -2},
			{EmbedDim: 4, NumHeads: 2, NumKVHeads: -1}, {EmbedDim: 4, NumHeads: 2, NumKVHeads: 4},
			{EmbedDim: 4, NumHeads: 2, HeadDim: -2},
		} {
			c.ParamLayout = layout
			name := fmt.Sprintf("%+v", c)
			require.Error(t, c.Check(), name)
			for _, p := range c.Placements() {
				require.NotEmpty(t, p.Weight, name)
				require.NotPanics(t, func() { firstRows(p.Row, 4); firstRows(p.BiasRow, 4) }, name)
			}
		}
	}
	require.Zero(t, attention.Config{EmbedDim: 4, NumHeads: 2, ParamLayout: 99}.Placements())
}
