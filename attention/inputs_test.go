package attention_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
)

// self is self-attention over one input.
func self(x *attention.Tensor) attention.Inputs {
	return attention.Inputs{Query: x, Key: x, Value: x}
}

func TestCheckInputs(t *testing.T) {
	grouped := attention.Config{EmbedDim: 12, NumHeads: 4, NumKVHeads: 2, ParamLayout: attention.LlamaLayout}
	learned := attention.Config{EmbedDim: 12, NumHeads: 4, BiasKV: true, ZeroAttn: true}
	sequenceFirst := attention.Config{EmbedDim: 12, NumHeads: 4, KDim: 5, InputLayout: attention.SequenceFirst}
	unbatched := attention.Config{EmbedDim: 12, NumHeads: 4, InputLayout: attention.Unbatched}
	x, single := attention.NewTensor(2, 5, 12), attention.NewTensor(5, 12)
	past := func(shape ...int) attention.Inputs {
		in := self(x)
		in.PastKey, in.PastValue = attention.NewTensor(shape...), attention.NewTensor(shape...)
		return in
	}
	for _, tc := range []struct {
		name   string
		config attention.Config
		in     attention.Inputs
		err    string
	}{
		{"cache", grouped, past(2, 2, 7, 3), ""},
		{"empty cache", grouped, past(2, 2, 0, 3), ""},
		{"cache without values", grouped, attention.Inputs{Query: x, Key: x, Value: x, PastKey: attention.NewTensor(2, 2, 7, 3)},
			"past_key and past_value go together"},
		{"cache without keys", grouped, attention.Inputs{Query: x, Key: x, Value: x, PastValue: attention.NewTensor(2, 2, 7, 3)},
			"past_key and past_value go together\npast_value: shape (2, 2, 7, 3), want (B, Hk, P, E) (2, 2, 0, 3)"},
		{"cache of all heads", grouped, past(2, 4, 7, 3),
			"past_key: shape (2, 4, 7, 3), want (B, Hk, P, E) (2, 2, 7, 3)\npast_value: shape (2, 4, 7, 3), want (B, Hk, P, E) (2, 2, 7, 3)"},
		{"cache with the heads together", grouped, past(2, 7, 6),
			"past_key: shape (2, 7, 6), want (B, Hk, P, E) (2, 2, 0, 3)\npast_value: shape (2, 7, 6), want (B, Hk, P, E) (2, 2, 0, 3)"},
		{"cache of no batch", grouped, past(0, 2, 1<<60, 3),
			"past_key: shape (0, 2, 1152921504606846976, 3), want (B, Hk, P, E) (2, 2, 1152921504606846976, 3)\n" +
				"past_value: shape (0, 2, 1152921504606846976, 3), want (B, Hk, P, E) (2, 2, 1152921504606846976, 3)"},
		{"values of another length", grouped, attention.Inputs{Query: x, Key: x, Value: x, PastKey: attention.NewTensor(2, 2, 7, 3), PastValue: attention.NewTensor(2, 2, 6, 3)},
			"past_value: shape (2, 2, 6, 3), want (B, Hk, P, E) (2, 2, 7, 3)"},
		{"cache that lacks data", grouped, attention.Inputs{Query: x, Key: x, Value: x, PastKey: &attention.Tensor{Shape: []int{2, 2, 7, 3}}, PastValue: attention.NewTensor(2, 2, 7, 3)},
			"past_key: shape (2, 2, 7, 3) needs 84 elements, the data has 0"},
		{"cache with a learned key", learned, past(2, 4, 7, 3), "past_key: not together with bias kv or zero attn"},
		{"masks leave the cache out", grouped, attention.Inputs{Query: x, Key: x, Value: x, PastKey: attention.NewTensor(2, 2, 7, 3), PastValue: attention.NewTensor(2, 2, 7, 3),
			Block: attention.NewMask(5, 5), Padding: attention.NewMask(2, 5), Bias: attention.NewTensor(5, 5)},
			"block: shape (5, 5), want (L, S) (5, 12) or (B*H, L, S) (8, 5, 12)\n" +
				"bias: shape (5, 5), want (L, S) (5, 12) or (B*H, L, S) (8, 5, 12)\npadding: shape (2, 5), want (B, S) (2, 12)"},
		{"masks count the learned key", learned, attention.Inputs{Query: x, Key: x, Value: x, Block: attention.NewMask(5, 7), Padding: attention.NewMask(2, 7)},
			"block: shape (5, 7), want (L, S) (5, 5) or (B*H, L, S) (8, 5, 5)\npadding: shape (2, 7), want (B, S) (2, 5)"},
		{"masks of each head", grouped, attention.Inputs{Query: x, Key: x, Value: x, Block: attention.NewMask(8, 5, 5), Bias: attention.NewTensor(8, 5, 5)}, ""},
		{"masks of each key head", grouped, attention.Inputs{Query: x, Key: x, Value: x, Bias: attention.NewTensor(4, 5, 5)},
			"bias: shape (4, 5, 5), want (L, S) (5, 5) or (B*H, L, S) (8, 5, 5)"},
		{"masks of four dimensions", grouped, attention.Inputs{Query: x, Key: x, Value: x, Block: attention.NewMask(2, 4, 5, 5)},
			"block: shape (2, 4, 5, 5), want (L, S) (5, 5) or (B*H, L, S) (8, 5, 5)"},
		{"masks of no dimension", grouped, attention.Inputs{Query: x, Key: x, Value: x, Block: attention.NewMask(), Bias: attention.NewTensor(), Padding: attention.NewMask()},
			"block: shape (), want (L, S) (5, 5) or (B*H, L, S) (8, 5, 5)\nbias: shape (), want (L, S) (5, 5) or (B*H, L, S) (8, 5, 5)\npadding: shape (), want (B, S) (2, 5)"},

		{"sequence first", sequenceFirst, attention.Inputs{Query: attention.NewTensor(7, 2, 12), Key: attention.NewTensor(5, 2, 5), Value: attention.NewTensor(5, 2, 12), Padding: attention.NewMask(2, 5)}, ""},
		{"sequence first, other batch", sequenceFirst, attention.Inputs{Query: attention.NewTensor(7, 2, 12), Key: attention.NewTensor(2, 5, 5), Value: attention.NewTensor(2, 5, 12)},
			"key: shape (2, 5, 5), want (S, B, kdim) (2, 2, 5)\nvalue: shape (2, 5, 12), want (S, B, vdim) (2, 2, 12)"},
		{"sequence first, wrong width", sequenceFirst, attention.Inputs{Query: attention.NewTensor(7, 2, 5), Key: attention.NewTensor(5, 2, 5), Value: attention.NewTensor(5, 2, 12)},
			"query: shape (7, 2, 5), want (L, B, 12) with no dimension 0"},
		{"unbatched", unbatched, attention.Inputs{Query: single, Key: single, Value: single, Padding: attention.NewMask(5), Block: attention.NewMask(4, 5, 5)}, ""},
		{"unbatched, with a batch", unbatched, self(x),
			"query: shape (2, 5, 12), want (L, 12) with no dimension 0\nkey: shape (2, 5, 12), want (S, 12) with no dimension 0\nvalue: shape (2, 5, 12), want (S, 12) with no dimension 0"},
		{"unbatched, padding with a batch", unbatched, attention.Inputs{Query: single, Key: single, Value: single, Padding: attention.NewMask(1, 5)},
			"padding: shape (1, 5), want (S) (5,)"},
		{"unbatched, other length", unbatched, attention.Inputs{Query: single, Key: single, Value: attention.NewTensor(4, 12)},
			"value: shape (4, 12), want (S, vdim) (5, 12)"},
	} {
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
}

func TestCheckSDPA(t *testing.T) {
	q, k, v := attention.NewTensor(2, 4, 3, 6), attention.NewTensor(2, 2, 5, 6), attention.NewTensor(2, 2, 5, 7)
	all := attention.NewTensor(2, 4, 5, 6)
	grouped := attention.SDPAOptions{GroupedQuery: true}
	for _, tc := range []struct {
		name    string
		q, k, v *attention.Tensor
		o       attention.SDPAOptions
		err     string
	}{
		{"grouped", q, k, v, grouped, ""},
		{"one head for all", q, attention.NewTensor(2, 1, 5, 6), attention.NewTensor(2, 1, 5, 7), grouped, ""},
		{"grouped, without a batch", attention.NewTensor(4, 3, 6), attention.NewTensor(2, 5, 6), attention.NewTensor(2, 5, 7), grouped, ""},
		{"grouped, not said so", q, k, v, attention.SDPAOptions{}, "key: shape (2, 2, 5, 6) does not fit query (2, 4, 3, 6): the leading dimensions do not broadcast"},
		{"no divisor", q, attention.NewTensor(2, 3, 5, 6), attention.NewTensor(2, 3, 5, 7), grouped,
			"key: shape (2, 3, 5, 6) does not fit query (2, 4, 3, 6): grouped query wants (..., Hk, S, width) with Hk a divisor of 4, the same in key and value"},
		{"more key heads", k, all, all, grouped,
			"key: shape (2, 4, 5, 6) does not fit query (2, 2, 5, 6): grouped query wants (..., Hk, S, width) with Hk a divisor of 2, the same in key and value"},
		{"other heads of the value", q, k, attention.NewTensor(2, 4, 5, 7), grouped,
			"value: shape (2, 4, 5, 7) does not fit query (2, 4, 3, 6): grouped query wants (..., Hk, S, width) with Hk a divisor of 4, the same in key and value"},
		{"other batch of the value", all, all, attention.NewTensor(3, 4, 5, 6), attention.SDPAOptions{},
			"value: shape (3, 4, 5, 6) does not fit query (2, 4, 5, 6): the leading dimensions do not broadcast"},
		{"window", all, all, all, attention.SDPAOptions{Window: -1}, "window -1, want 0 (none) or at least 1"},
		{"negative softcap", all, all, all, attention.SDPAOptions{Softcap: -2}, "softcap -2, want 0 (none) or a positive number"},
		{"softcap NaN", all, all, all, attention.SDPAOptions{Softcap: math.NaN()}, "softcap NaN, want 0 (none) or a positive number"},
		{"sinks of another number of heads", q, k, v, attention.SDPAOptions{GroupedQuery: true, Sinks: attention.NewTensor(2)},
			"sinks: shape (2,), want (H), one for each head of (2, 4, 3, 5) scores"},
		{"sinks with a batch", all, all, all, attention.SDPAOptions{Sinks: attention.NewTensor(1, 4)},
			"sinks: shape (1, 4), want (H), one for each head of (2, 4, 5, 5) scores"},
		{"sinks without data", all, all, all, attention.SDPAOptions{Sinks: &attention.Tensor{Shape: []int{4}}}, "sinks: shape (4,) needs 4 elements, the data has 0"},
		{"negative choices", all, all, all, attention.SDPAOptions{Causality: -1, EmptyRow: -1}, "unknown causality -1\nunknown empty row -1"},
		{"mask with a dimension of 0", all, all, all, attention.SDPAOptions{Allow: attention.NewMask(0, 5)},
			"allow: shape (0, 5) does not broadcast to the scores' (2, 4, 5, 5)"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := attention.CheckSDPA(tc.q, tc.k, tc.v, tc.o)
			_, ownErr := attention.SDPA(tc.q, tc.k, tc.v, tc.o)
			require.Equal(t, err, ownErr)
			if tc.err == "" {
				require.NoError(t, err)
				return
			}
			require.EqualError(t, err, tc.err)
		})
	}
}
