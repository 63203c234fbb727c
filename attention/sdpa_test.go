package attention_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
)

// requireSDPA requires the error of CheckSDPA and SDPA, empty for none.
func requireSDPA(t *testing.T, q, k, v *attention.Tensor, o attention.SDPAOptions, want string) {
	t.Helper()
	err := attention.CheckSDPA(q, k, v, o)
	_, sdpaErr := attention.SDPA(q, k, v, o)
	require.Equal(t, err, sdpaErr)
	if want == "" {
		require.NoError(t, err)
		return
	}
	require.EqualError(t, err, want)
}

func TestCheckSDPAOfShapes(t *testing.T) {
	q, k, v := attention.NewTensor(2, 3, 4), attention.NewTensor(2, 5, 4), attention.NewTensor(2, 5, 6)
	for _, tc := range []struct {
		name    string
		q, k, v *attention.Tensor
		err     string
	}{
		{"nothing wrong", q, k, v, ""},
		{"no value", q, k, nil, "value: no tensor"},
		{"two dimensions", attention.NewTensor(3, 4), k, v,
			"query: shape (3, 4), want 3 or more dimensions, none of them 0"},
		{"no query", attention.NewTensor(2, 0, 4), k, v,
			"query: shape (2, 0, 4), want 3 or more dimensions, none of them 0"},
		{"key width", q, attention.NewTensor(2, 5, 3), v,
			"key: shape (2, 5, 3) does not fit query (2, 3, 4): want (..., S, 4)"},
		{"key batch", q, attention.NewTensor(3, 5, 4), v,
			"key: shape (3, 5, 4) does not fit query (2, 3, 4): the leading dimensions do not broadcast"},
		{"value length", q, k, attention.NewTensor(2, 4, 6),
			"value: shape (2, 4, 6) does not fit key (2, 5, 4): want (..., 5, Ev)"},
		{"value batch", q, k, attention.NewTensor(3, 5, 6),
			"value: shape (3, 5, 6) does not fit query (2, 3, 4): the leading dimensions do not broadcast"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			requireSDPA(t, tc.q, tc.k, tc.v, attention.SDPAOptions{}, tc.err)
		})
	}
}

func TestCheckSDPAOfGroupedQueries(t *testing.T) {
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
		{"grouped, without a batch",
			attention.NewTensor(4, 3, 6), attention.NewTensor(2, 5, 6), attention.NewTensor(2, 5, 7), grouped, ""},
		{"grouped, without the option", q, k, v, attention.SDPAOptions{},
			"key: shape (2, 2, 5, 6) does not fit query (2, 4, 3, 6): the leading dimensions do not broadcast"},
		{"no divisor", q, attention.NewTensor(2, 3, 5, 6), attention.NewTensor(2, 3, 5, 7), grouped,
			"key: shape (2, 3, 5, 6) does not fit query (2, 4, 3, 6): grouped query wants (..., Hk, S, width) " +
				"with Hk a divisor of 4, the same in key and value"},
		{"more key heads", k, all, all, grouped,
			"key: shape (2, 4, 5, 6) does not fit query (2, 2, 5, 6): grouped query wants (..., Hk, S, width) " +
				"with Hk a divisor of 2, the same in key and value"},
		{"other heads of the value", q, k, attention.NewTensor(2, 4, 5, 7), grouped,
			"value: shape (2, 4, 5, 7) does not fit query (2, 4, 3, 6): grouped query wants (..., Hk, S, width) " +
				"with Hk a divisor of 4, the same in key and value"},
		{"other batch of the value", all, all, attention.NewTensor(3, 4, 5, 6), attention.SDPAOptions{},
			"value: shape (3, 4, 5, 6) does not fit query (2, 4, 5, 6): the leading dimensions do not broadcast"},
	} {
		t.Run(tc.name, func(t *testing.T) { requireSDPA(t, tc.q, tc.k, tc.v, tc.o, tc.err) })
	}
}

func TestCheckSDPAOfOptions(t *testing.T) {
	const exclude = "a mask and causality exclude each other, as attn_mask and is_causal in PyTorch"
	q, k := attention.NewTensor(2, 4, 3, 6), attention.NewTensor(2, 4, 5, 6)
	for _, tc := range []struct {
		name string
		o    attention.SDPAOptions
		err  string
	}{
		{"mask shape", attention.SDPAOptions{Allow: attention.NewMask(5, 3)},
			"allow: shape (5, 3) does not broadcast to the scores' (2, 4, 3, 5)"},
		{"mask rank", attention.SDPAOptions{Bias: attention.NewTensor(1, 1, 1, 3, 5)},
			"bias: shape (1, 1, 1, 3, 5) does not broadcast to the scores' (2, 4, 3, 5)"},
		{"mask with a dimension of 0", attention.SDPAOptions{Allow: attention.NewMask(0, 5)},
			"allow: shape (0, 5) does not broadcast to the scores' (2, 4, 3, 5)"},
		{"short mask", attention.SDPAOptions{Allow: &attention.Mask{Shape: []int{3, 5}}},
			"allow: shape (3, 5) needs 15 elements, the data has 0"},
		{"both masks", attention.SDPAOptions{Allow: attention.NewMask(3, 5), Bias: attention.NewTensor(3, 5)},
			"allow and bias exclude each other: PyTorch has one attn_mask"},
		{"mask and causality", attention.SDPAOptions{Allow: attention.NewMask(3, 5), Causality: attention.TopLeft},
			exclude},
		{"bias and causality", attention.SDPAOptions{Bias: attention.NewTensor(3, 5), Causality: attention.LowerRight},
			exclude},
		{"unknown choices", attention.SDPAOptions{Causality: 7, EmptyRow: 8},
			"unknown causality 7\nunknown empty row 8"},
		{"negative choices", attention.SDPAOptions{Causality: -1, EmptyRow: -1},
			"unknown causality -1\nunknown empty row -1"},
		{"scale NaN", attention.SDPAOptions{Scale: math.NaN()}, "scale NaN is not finite"},
		{"window", attention.SDPAOptions{Window: -1}, "window -1, want 0 (none) or at least 1"},
		{"negative softcap", attention.SDPAOptions{Softcap: -2}, "softcap -2, want 0 (none) or a positive number"},
		{"softcap NaN", attention.SDPAOptions{Softcap: math.NaN()}, "softcap NaN, want 0 (none) or a positive number"},
		{"sinks of another number of heads", attention.SDPAOptions{Sinks: attention.NewTensor(2)},
			"sinks: shape (2,), want (H), one for each head of (2, 4, 3, 5) scores"},
		{"sinks with a batch", attention.SDPAOptions{Sinks: attention.NewTensor(1, 4)},
			"sinks: shape (1, 4), want (H), one for each head of (2, 4, 3, 5) scores"},
		{"sinks without data", attention.SDPAOptions{Sinks: &attention.Tensor{Shape: []int{4}}},
			"sinks: shape (4,) needs 4 elements, the data has 0"},
	} {
		t.Run(tc.name, func(t *testing.T) { requireSDPA(t, q, k, k, tc.o, tc.err) })
	}
	t.Run("sinks of the key heads", func(t *testing.T) {
		k := attention.NewTensor(2, 2, 5, 6)
		requireSDPA(t, q, k, k, attention.SDPAOptions{GroupedQuery: true, Sinks: attention.NewTensor(2)},
			"sinks: shape (2,), want (H), one for each head of (2, 4, 3, 5) scores")
	})
}

func TestScale(t *testing.T) {
	q := &attention.Tensor{Shape: []int{1, 1, 1}, Data: []float32{2}}
	k := &attention.Tensor{Shape: []int{1, 2, 1}, Data: []float32{3, 1}}
	v := &attention.Tensor{Shape: []int{1, 2, 1}, Data: []float32{1, 0}}
	for _, scale := range []float64{0, 1, 0.25} {
		out, err := attention.SDPA(q, k, v, attention.SDPAOptions{Scale: scale})
		require.NoError(t, err)
		if scale == 0 {
			scale = 1 // the default, 1/sqrt(E)
		}
		require.InEpsilon(t, 1/(1+math.Exp(-4*scale)), out.Data[0], 1e-6)
	}
}

// A past gives what the joined keys give, and lengths and positions give what a mask gives.
func TestSDPAWithElementsOfTheirOwn(t *testing.T) {
	const batch, heads, queries, past, keys = 2, 3, 4, 5, 7 // keys without the past
	q, k, v := ramp(batch, heads, queries, 6), ramp(batch, heads, past+keys, 6), ramp(batch, heads, past+keys, 5)
	for _, tc := range []struct {
		name string
		o    attention.SDPAOptions
		sees func(b, i, j int) bool
	}{
		{"past", attention.SDPAOptions{}, func(_, _, _ int) bool { return true }},
		{"causal after a past", attention.SDPAOptions{Causality: attention.TopLeft},
			func(_, i, j int) bool { return j <= i+past }},
		{"lower-right", attention.SDPAOptions{Causality: attention.LowerRight},
			func(_, i, j int) bool { return j <= i+past+keys-queries }},
		{"lengths", attention.SDPAOptions{KeyLengths: []int{12, 3}},
			func(b, _, j int) bool { return j < [2]int{12, 3}[b] }},
		{"lengths, lower-right", attention.SDPAOptions{Causality: attention.LowerRight, KeyLengths: []int{9, 2}},
			func(b, i, j int) bool { return j <= i+[2]int{9, 2}[b]-queries && j < [2]int{9, 2}[b] }},
		{"first positions", attention.SDPAOptions{Causality: attention.TopLeft, FirstPositions: []int{7, -2}},
			func(b, i, j int) bool { return j <= i+[2]int{7, -2}[b] }},
		{"first positions in a window", attention.SDPAOptions{Window: 2, FirstPositions: []int{3, 6}},
			func(b, i, j int) bool { d := j - i - [2]int{3, 6}[b]; return d > -2 && d < 2 }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			allow := attention.NewMask(batch, 1, queries, past+keys)
			for n := range allow.Data {
				allow.Data[n] = tc.sees(n/(queries*(past+keys)), n/(past+keys)%queries, n%(past+keys))
			}
			want, err := attention.SDPA(q, k, v, attention.SDPAOptions{Allow: allow})
			require.NoError(t, err)
			tc.o.PastKey, tc.o.PastValue = tokens(k, 0, past), tokens(v, 0, past)
			got, err := attention.SDPA(q, tokens(k, past, past+keys), tokens(v, past, past+keys), tc.o)
			require.NoError(t, err)
			require.Equal(t, want, got)
		})
	}
}

// tokens returns some tokens of every head of x, (B, H, T, E).
func tokens(x *attention.Tensor, from, to int) *attention.Tensor {
	b, h, length, e := x.Shape[0], x.Shape[1], x.Shape[2], x.Shape[3]
	part := attention.NewTensor(b, h, to-from, e)
	for n := range b * h {
		copy(part.Data[n*(to-from)*e:][:(to-from)*e], x.Data[(n*length+from)*e:])
	}
	return part
}

// ramp returns a tensor of values between -1 and 1 without a period of any dimension.
func ramp(shape ...int) *attention.Tensor {
	x := attention.NewTensor(shape...)
	for i := range x.Data {
		x.Data[i] = float32(math.Sin(float64(i*i%101) + float64(len(x.Data))))
	}
	return x
}
