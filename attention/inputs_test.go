package attention_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
)

// inputsCase is a configuration, inputs, and the error of CheckInputs, empty for none.
type inputsCase struct {
	name   string
	config attention.Config
	in     attention.Inputs
	err    string
}

// requireInputs requires the error of CheckInputs and Forward.
func requireInputs(t *testing.T, tc inputsCase) {
	t.Helper()
	t.Run(tc.name, func(t *testing.T) {
		err := tc.config.CheckInputs(tc.in)
		_, forwardErr := newLayer(t, tc.config).Forward(tc.in)
		require.Equal(t, err, forwardErr)
		if tc.err == "" {
			require.NoError(t, err)
			return
		}
		require.EqualError(t, err, tc.err)
	})
}

// groupedConfig has two key heads for four heads of width 3. learnedConfig appends a learned and a
// zero key.
var (
	groupedConfig = attention.Config{EmbedDim: 12, NumHeads: 4, NumKVHeads: 2, ParamLayout: attention.LlamaLayout}
	learnedConfig = attention.Config{EmbedDim: 12, NumHeads: 4, BiasKV: true, ZeroAttn: true}
)

func TestCheckInputsOfOneTensor(t *testing.T) {
	c := attention.Config{EmbedDim: 4, NumHeads: 2, KDim: 6, VDim: 7}
	q, k, v := attention.NewTensor(2, 3, 4), attention.NewTensor(2, 5, 6), attention.NewTensor(2, 5, 7)
	for _, tc := range []struct {
		name string
		in   attention.Inputs
		err  string
	}{
		{"nothing wrong", attention.Inputs{Query: q, Key: k, Value: v}, ""},
		{"all missing", attention.Inputs{}, "query: no tensor\nkey: no tensor\nvalue: no tensor"},
		{"no batch", attention.Inputs{Query: attention.NewTensor(0, 3, 4), Key: k, Value: v},
			"query: shape (0, 3, 4), want (B, L, 4) with no dimension 0"},
		{"two dimensions", attention.Inputs{Query: attention.NewTensor(3, 4), Key: k, Value: v},
			"query: shape (3, 4), want (B, L, 4) with no dimension 0"},
		{"widths swapped", attention.Inputs{Query: q, Key: v, Value: k},
			"key: shape (2, 5, 7), want (B, S, 6) with no dimension 0\n" +
				"value: shape (2, 5, 6), want (B, S, 7) with no dimension 0"},
		{"short data", attention.Inputs{Query: &attention.Tensor{Shape: q.Shape, Data: q.Data[1:]}, Key: k, Value: v},
			"query: shape (2, 3, 4) needs 24 elements, the data has 23"},
	} {
		requireInputs(t, inputsCase{tc.name, c, tc.in, tc.err})
	}
}

func TestCheckInputsTogether(t *testing.T) {
	c := attention.Config{EmbedDim: 4, NumHeads: 2, KDim: 6, VDim: 7}
	good := attention.Inputs{
		Query: attention.NewTensor(2, 3, 4), Key: attention.NewTensor(2, 5, 6), Value: attention.NewTensor(2, 5, 7),
	}
	for _, tc := range []struct {
		name   string
		change func(*attention.Inputs)
		err    string
	}{
		{"other batch", func(in *attention.Inputs) { in.Key = attention.NewTensor(1, 5, 6) },
			"key: shape (1, 5, 6), want (B, S, kdim) (2, 5, 6)"},
		{"other length", func(in *attention.Inputs) { in.Value = attention.NewTensor(2, 4, 7) },
			"value: shape (2, 4, 7), want (B, S, vdim) (2, 5, 7)"},
		{"masks", func(in *attention.Inputs) {
			in.Block, in.Padding = attention.NewMask(5, 3), attention.NewMask(2, 3)
		}, "block: shape (5, 3), want (L, S) (3, 5) or (B*H, L, S) (4, 3, 5)\n" +
			"padding: shape (2, 3), want (B, S) (2, 5)"},
		{"short mask", func(in *attention.Inputs) { in.Padding = &attention.Mask{Shape: []int{2, 5}} },
			"padding: shape (2, 5) needs 10 elements, the data has 0"},
	} {
		in := good
		tc.change(&in)
		requireInputs(t, inputsCase{tc.name, c, in, tc.err})
	}
}

func TestCheckInputsOfACache(t *testing.T) {
	x := attention.NewTensor(2, 5, 12)
	past := func(key, value *attention.Tensor) attention.Inputs {
		in := self(x)
		in.PastKey, in.PastValue = key, value
		return in
	}
	both := func(shape ...int) attention.Inputs {
		return past(attention.NewTensor(shape...), attention.NewTensor(shape...))
	}
	cache := attention.NewTensor(2, 2, 7, 3)
	unmasked := past(cache, cache)
	unmasked.Block, unmasked.Padding, unmasked.Bias =
		attention.NewMask(5, 5), attention.NewMask(2, 5), attention.NewTensor(5, 5)
	for _, tc := range []inputsCase{
		{"cache", groupedConfig, both(2, 2, 7, 3), ""},
		{"empty cache", groupedConfig, both(2, 2, 0, 3), ""},
		{"cache without values", groupedConfig, past(cache, nil), "past_key and past_value go together"},
		{"cache without keys", groupedConfig, past(nil, cache),
			"past_key and past_value go together\npast_value: shape (2, 2, 7, 3), want (B, Hk, P, E) (2, 2, 0, 3)"},
		{"cache of all heads", groupedConfig, both(2, 4, 7, 3),
			"past_key: shape (2, 4, 7, 3), want (B, Hk, P, E) (2, 2, 7, 3)\n" +
				"past_value: shape (2, 4, 7, 3), want (B, Hk, P, E) (2, 2, 7, 3)"},
		{"cache with the heads together", groupedConfig, both(2, 7, 6),
			"past_key: shape (2, 7, 6), want (B, Hk, P, E) (2, 2, 0, 3)\n" +
				"past_value: shape (2, 7, 6), want (B, Hk, P, E) (2, 2, 0, 3)"},
		{"cache of no batch", groupedConfig, both(0, 2, 1<<60, 3),
			"past_key: shape (0, 2, 1152921504606846976, 3), want (B, Hk, P, E) (2, 2, 1152921504606846976, 3)\n" +
				"past_value: shape (0, 2, 1152921504606846976, 3), want (B, Hk, P, E) (2, 2, 1152921504606846976, 3)"},
		{"values of another length", groupedConfig, past(cache, attention.NewTensor(2, 2, 6, 3)),
			"past_value: shape (2, 2, 6, 3), want (B, Hk, P, E) (2, 2, 7, 3)"},
		{"cache without data", groupedConfig, past(&attention.Tensor{Shape: []int{2, 2, 7, 3}}, cache),
			"past_key: shape (2, 2, 7, 3) needs 84 elements, the data has 0"},
		{"cache with a learned key", learnedConfig, both(2, 4, 7, 3),
			"past_key: not together with bias kv or zero attn"},
		{"masks leave the cache out", groupedConfig, unmasked,
			"block: shape (5, 5), want (L, S) (5, 12) or (B*H, L, S) (8, 5, 12)\n" +
				"bias: shape (5, 5), want (L, S) (5, 12) or (B*H, L, S) (8, 5, 12)\n" +
				"padding: shape (2, 5), want (B, S) (2, 12)"},
	} {
		requireInputs(t, tc)
	}
}

func TestCheckInputsOfMasks(t *testing.T) {
	x := attention.NewTensor(2, 5, 12)
	masked := func(block, padding *attention.Mask, bias *attention.Tensor) attention.Inputs {
		in := self(x)
		in.Block, in.Padding, in.Bias = block, padding, bias
		return in
	}
	for _, tc := range []inputsCase{
		{"masks count the learned key", learnedConfig, masked(attention.NewMask(5, 7), attention.NewMask(2, 7), nil),
			"block: shape (5, 7), want (L, S) (5, 5) or (B*H, L, S) (8, 5, 5)\n" +
				"padding: shape (2, 7), want (B, S) (2, 5)"},
		{"masks of each head", groupedConfig,
			masked(attention.NewMask(8, 5, 5), nil, attention.NewTensor(8, 5, 5)), ""},
		{"masks of each key head", groupedConfig, masked(nil, nil, attention.NewTensor(4, 5, 5)),
			"bias: shape (4, 5, 5), want (L, S) (5, 5) or (B*H, L, S) (8, 5, 5)"},
		{"masks of four dimensions", groupedConfig, masked(attention.NewMask(2, 4, 5, 5), nil, nil),
			"block: shape (2, 4, 5, 5), want (L, S) (5, 5) or (B*H, L, S) (8, 5, 5)"},
		{"masks of no dimension", groupedConfig,
			masked(attention.NewMask(), attention.NewMask(), attention.NewTensor()),
			"block: shape (), want (L, S) (5, 5) or (B*H, L, S) (8, 5, 5)\n" +
				"bias: shape (), want (L, S) (5, 5) or (B*H, L, S) (8, 5, 5)\n" +
				"padding: shape (), want (B, S) (2, 5)"},
	} {
		requireInputs(t, tc)
	}
}

func TestCheckInputsOfLayouts(t *testing.T) {
	sequenceFirst := attention.Config{EmbedDim: 12, NumHeads: 4, KDim: 5, InputLayout: attention.SequenceFirst}
	unbatched := attention.Config{EmbedDim: 12, NumHeads: 4, InputLayout: attention.Unbatched}
	single := attention.NewTensor(5, 12)
	for _, tc := range []inputsCase{
		{"sequence first", sequenceFirst, attention.Inputs{
			Query: attention.NewTensor(7, 2, 12), Key: attention.NewTensor(5, 2, 5),
			Value: attention.NewTensor(5, 2, 12), Padding: attention.NewMask(2, 5),
		}, ""},
		{"sequence first, other batch", sequenceFirst, attention.Inputs{
			Query: attention.NewTensor(7, 2, 12), Key: attention.NewTensor(2, 5, 5),
			Value: attention.NewTensor(2, 5, 12),
		}, "key: shape (2, 5, 5), want (S, B, kdim) (2, 2, 5)\nvalue: shape (2, 5, 12), want (S, B, vdim) (2, 2, 12)"},
		{"sequence first, wrong width", sequenceFirst, attention.Inputs{
			Query: attention.NewTensor(7, 2, 5), Key: attention.NewTensor(5, 2, 5),
			Value: attention.NewTensor(5, 2, 12),
		}, "query: shape (7, 2, 5), want (L, B, 12) with no dimension 0"},
		{"unbatched", unbatched, attention.Inputs{
			Query: single, Key: single, Value: single,
			Padding: attention.NewMask(5), Block: attention.NewMask(4, 5, 5),
		}, ""},
		{"unbatched, with a batch", unbatched, self(attention.NewTensor(2, 5, 12)),
			"query: shape (2, 5, 12), want (L, 12) with no dimension 0\n" +
				"key: shape (2, 5, 12), want (S, 12) with no dimension 0\n" +
				"value: shape (2, 5, 12), want (S, 12) with no dimension 0"},
		{"unbatched, padding with a batch", unbatched, attention.Inputs{
			Query: single, Key: single, Value: single, Padding: attention.NewMask(1, 5),
		}, "padding: shape (1, 5), want (S) (5,)"},
		{"unbatched, other length", unbatched, attention.Inputs{
			Query: single, Key: single, Value: attention.NewTensor(4, 12),
		}, "value: shape (4, 12), want (S, vdim) (5, 12)"},
	} {
		requireInputs(t, tc)
	}
}
