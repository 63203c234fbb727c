package fit

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/oracletest"
)

func all(m ...Projection) freeSet { return freeSet{projections: m} }

func ofHead(m Projection, h int) freeSet {
	return freeSet{projections: []Projection{m}, heads: []int{h}}
}

func biasOf(m Projection) freeSet { return freeSet{projections: []Projection{m}, bias: true} }

// Free parameters are named as in the state dict: by rows or, in a weight that is (in, out), by
// columns.
func TestFreeParametersAreNamed(t *testing.T) {
	const value, output = ValueProjection, OutputProjection
	l := oracletest.Tall(1).Layer // 2 heads of 6 features, one key head
	behind := func(i int) int { return 24 + i }
	packed := [4]attention.Placement{
		value: {
			Weight: "in_proj_weight", Bias: "in_proj_bias", Part: "value part", BiasPart: "value part", Row: behind,
		},
		output: {Weight: "out_proj.weight", Bias: "out_proj.bias"},
	}
	separate := packed
	separate[value] = attention.Placement{Weight: "v_proj_weight", Bias: "in_proj_bias", BiasPart: "value part"}
	inOut := [4]attention.Placement{
		value:  {Weight: "c_attn.weight", Bias: "c_attn.bias", InOut: true, Row: behind},
		output: {Weight: "c_proj.weight", Bias: "c_proj.bias", InOut: true},
	}
	for _, tc := range []struct {
		free freeSet
		at   [4]attention.Placement
		want string
	}{
		{all(value), packed, "the value weight and bias (value part of in_proj_weight, in_proj_bias)"},
		{biasOf(value), packed, "the value bias (value part of in_proj_bias)"},
		{
			ofHead(value, 0), packed,
			"the value weight of key head 0 (rows 24-29 of in_proj_weight, and their part of in_proj_bias)",
		},
		{all(value), separate, "the value weight and bias (v_proj_weight, value part of in_proj_bias)"},
		{biasOf(value), separate, "the value bias (value part of in_proj_bias)"},
		{ofHead(output, 1), packed, "the output weight of head 1 (columns 6-11 of out_proj.weight)"},
		{ofHead(output, 1), inOut, "the output weight of head 1 (rows 6-11 of c_proj.weight)"},
		{
			ofHead(value, 0), inOut,
			"the value weight of key head 0 (columns 24-29 of c_attn.weight, and their part of c_attn.bias)",
		},
		{biasOf(output), packed, "the output bias (out_proj.bias)"},
		{
			all(value, output), separate,
			"the value and output weight and bias " +
				"(v_proj_weight, value part of in_proj_bias, out_proj.weight, out_proj.bias)",
		},
		{all(output), [4]attention.Placement{}, "the output weight and bias"},
		{
			ofHead(output, 1), [4]attention.Placement{output: {Weight: "o", Row: behind}},
			"the output weight of head 1 (columns 6-11 of o)",
		},
	} {
		require.Equal(t, tc.want, tc.free.text(l, tc.at))
	}
	require.Equal(t, []string{"in_proj_weight", "in_proj_bias"}, all(value).names(l, packed))
	require.Equal(t, []string{"in_proj_bias"}, biasOf(value).names(l, packed))
	require.Equal(t, []string{"out_proj.weight"}, ofHead(output, 1).names(l, packed))
	require.Equal(t, []string{"out_proj.weight", "out_proj.bias"}, all(output).names(l, packed))
	require.Equal(t, []string{"v_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias"},
		all(value, output).names(l, separate))
	require.Empty(t, all(value).names(l, [4]attention.Placement{}))
	l.Value.Bias = nil
	require.Equal(t, []string{"in_proj_weight"}, all(value).names(l, packed))
	require.Equal(t, "the value weight (value part of in_proj_weight)", all(value).text(l, packed))
}
