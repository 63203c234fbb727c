package diagnose

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// What is free is named as the state dict has it: by rows, or by columns where those are the map's rows.
func TestFreedomIsNamed(t *testing.T) {
	l := surplusLayer(1).Layer // 2 heads of 6 features, one of keys
	behind := func(i int) int { return 24 + i }
	packed := [4]Parameter{ValueMap: {Weight: "in_proj_weight", Bias: "in_proj_bias", Part: "value part", BiasPart: "value part", Row: behind}, OutputMap: {Weight: "out_proj.weight", Bias: "out_proj.bias"}}
	separate := packed
	separate[ValueMap] = Parameter{Weight: "v_proj_weight", Bias: "in_proj_bias", BiasPart: "value part"}
	turned := [4]Parameter{ValueMap: {Weight: "c_attn.weight", Bias: "c_attn.bias", InOut: true, Row: behind}, OutputMap: {Weight: "c_proj.weight", Bias: "c_proj.bias", InOut: true}}
	for _, tc := range []struct {
		free  freedom
		names [4]Parameter
		want  string
	}{
		{freedom{maps: []Projection{ValueMap}}, packed, "the value weight and bias (value part of in_proj_weight, in_proj_bias)"},
		{freedom{maps: []Projection{ValueMap}, bias: true}, packed, "the value bias (value part of in_proj_bias)"},
		{freedom{maps: []Projection{ValueMap}, heads: []int{0}}, packed, "the value weight of key head 0 (rows 24-29 of in_proj_weight, and their part of in_proj_bias)"},
		{freedom{maps: []Projection{ValueMap}}, separate, "the value weight and bias (v_proj_weight, value part of in_proj_bias)"},
		{freedom{maps: []Projection{ValueMap}, bias: true}, separate, "the value bias (value part of in_proj_bias)"},
		{freedom{maps: []Projection{OutputMap}, heads: []int{1}}, packed, "the output weight of head 1 (columns 6-11 of out_proj.weight)"},
		{freedom{maps: []Projection{OutputMap}, heads: []int{1}}, turned, "the output weight of head 1 (rows 6-11 of c_proj.weight)"},
		{freedom{maps: []Projection{ValueMap}, heads: []int{0}}, turned, "the value weight of key head 0 (columns 24-29 of c_attn.weight, and their part of c_attn.bias)"},
		{freedom{maps: []Projection{OutputMap}, bias: true}, packed, "the output bias (out_proj.bias)"},
		{freedom{maps: []Projection{ValueMap, OutputMap}}, separate, "the value and output weight and bias (v_proj_weight, value part of in_proj_bias, out_proj.weight, out_proj.bias)"},
		{freedom{maps: []Projection{OutputMap}}, [4]Parameter{}, "the output weight and bias"},
	} {
		require.Equal(t, tc.want, tc.free.text(l, tc.names))
	}
	require.Equal(t, []string{"in_proj_weight", "in_proj_bias"}, freedom{maps: []Projection{ValueMap}}.names(l, packed))
	require.Equal(t, []string{"out_proj.weight"}, freedom{maps: []Projection{OutputMap}, heads: []int{1}}.names(l, packed))
}
