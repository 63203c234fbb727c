package fit

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracle"
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
		{
			all(value, output), packed,
			"the value and output weight and bias " +
				"(value part of in_proj_weight, in_proj_bias, out_proj.weight, out_proj.bias)",
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

// A set of some heads frees their rows of a weight and their elements of a bias, and of the output
// projection their columns. A set of a bias frees no weight.
func TestFrees(t *testing.T) {
	l := &oracle.Layer{Heads: 4, KVHeads: 2}
	for _, linear := range l.Projections() {
		*linear = oracle.Linear{In: 8, Out: 8, Bias: make([]float64, 8)}
	}
	free := func(f freeSet, m Projection) (places [][2]int) {
		for o := range 8 {
			for i := range 9 {
				if f.frees(l, m, o, i) {
					places = append(places, [2]int{o, i})
				}
			}
		}
		return places
	}
	of := func(rows, columns []int) (places [][2]int) {
		for _, o := range rows {
			for _, i := range columns {
				places = append(places, [2]int{o, i})
			}
		}
		return places
	}
	for m := range allProjections {
		require.Equal(t, of(num.UpTo(8), num.UpTo(9)), free(all(Projection(m)), Projection(m)))
		require.Equal(t, of(num.UpTo(8), []int{8}), free(biasOf(Projection(m)), Projection(m)))
	}
	require.Equal(t, of([]int{2, 3}, num.UpTo(9)), free(ofHead(QueryProjection, 1), QueryProjection))
	require.Equal(t, of([]int{4, 5, 6, 7}, num.UpTo(9)), free(ofHead(KeyProjection, 1), KeyProjection))
	require.Equal(t, of(num.UpTo(8), []int{2, 3}), free(ofHead(OutputProjection, 1), OutputProjection))
	for _, linear := range l.Projections() {
		linear.Bias = nil
	}
	require.Equal(t, of(num.UpTo(8), num.UpTo(8)), free(all(ValueProjection), ValueProjection))
	require.Empty(t, free(biasOf(ValueProjection), ValueProjection))
	require.Equal(t, of(num.UpTo(4), num.UpTo(8)), free(ofHead(ValueProjection, 0), ValueProjection))
}

// A set has the kind of one projection, and no part of it is whole.
func TestKindsOfSets(t *testing.T) {
	require.True(t, all(ValueProjection).is(ValueProjection))
	require.False(t, all(ValueProjection).is(OutputProjection))
	require.False(t, all(ValueProjection, OutputProjection).is(ValueProjection))
	require.True(t, all(ValueProjection).whole())
	require.False(t, biasOf(ValueProjection).whole())
	require.False(t, ofHead(ValueProjection, 0).whole())
}

// The counterpart of a set in another projection is its bias if there is one, and the heads that
// serve the same queries.
func TestCounterpart(t *testing.T) {
	l := grouped(1).Layer
	heads := func(m Projection, heads ...int) freeSet { return freeSet{projections: []Projection{m}, heads: heads} }
	for _, tc := range []struct{ set, want freeSet }{
		{all(ValueProjection), all(QueryProjection)},
		{biasOf(ValueProjection), biasOf(QueryProjection)},
		{ofHead(ValueProjection, 1), heads(QueryProjection, 2, 3)},
		{ofHead(QueryProjection, 1), heads(KeyProjection, 0)},
		{heads(OutputProjection, 1, 2, 3), heads(ValueProjection, 0, 1)},
		{ofHead(KeyProjection, 1), heads(ValueProjection, 1)},
	} {
		require.Equal(t, tc.want, tc.set.counterpart(l, tc.want.projections[0]))
	}
	l.Query.Bias = nil
	require.Equal(t, all(QueryProjection), biasOf(ValueProjection).counterpart(l, QueryProjection))
	require.Equal(t, all(QueryProjection), all(ValueProjection).counterpart(l, QueryProjection))
}
