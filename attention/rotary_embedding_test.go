package attention_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
)

func values(data []float32, shape ...int) *attention.Tensor {
	return &attention.Tensor{Shape: shape, Data: data}
}

// Two pairs turn by a quarter and by a half; the fifth feature stays.
func TestRotaryEmbeddingOfQuarterTurns(t *testing.T) {
	cos, sin := values([]float32{1, 1, 0, -1}, 2, 2), values([]float32{0, 0, 1, 0}, 2, 2)
	x := values([]float32{1, 2, 3, 4, 5}, 1, 1, 1, 5)
	for _, tc := range []struct {
		style    attention.RoPEStyle
		position int
		want     []float32
	}{
		{attention.HalfSplit, 0, []float32{1, 2, 3, 4, 5}},
		{attention.HalfSplit, 1, []float32{-3, -2, 1, -4, 5}},
		{attention.Interleaved, 1, []float32{-2, 1, -3, -4, 5}},
	} {
		out, err := attention.RotaryEmbedding(
			attention.RotaryInputs{Input: x, Cos: cos, Sin: sin, Positions: [][]int{{tc.position}}},
			attention.RotaryOptions{Style: tc.style, Dim: 4},
		)
		require.NoError(t, err)
		require.Equal(t, tc.want, out.Data)
		require.Equal(t, float32(1), x.Data[0], "the input stays")
	}
}

// Heads side by side give the result of the same heads one after the other. Tables of each token
// give the result of positions in a table.
func TestRotaryEmbeddingOfEachLayout(t *testing.T) {
	const batch, heads, tokens, width, rows = 2, 3, 4, 6, 9
	positions := [][]int{{8, 0, 3, 3}, {1, 7, 2, 5}}
	cos, sin := attention.NewTensor(rows, width/2), attention.NewTensor(rows, width/2)
	for i := range cos.Data {
		s, c := math.Sincos(float64(i))
		cos.Data[i], sin.Data[i] = float32(c), float32(s)
	}
	split, merged := attention.NewTensor(batch, heads, tokens, width), attention.NewTensor(batch, tokens, heads*width)
	at := func(n int) int { // the place in split of element n of merged
		b, token, h, e := n/(tokens*heads*width), n/(heads*width)%tokens, n/width%heads, n%width
		return ((b*heads+h)*tokens+token)*width + e
	}
	for n := range merged.Data {
		merged.Data[n] = float32(n%13) - 6
		split.Data[at(n)] = merged.Data[n]
	}
	want, err := attention.RotaryEmbedding(
		attention.RotaryInputs{Input: split, Cos: cos, Sin: sin, Positions: positions}, attention.RotaryOptions{})
	require.NoError(t, err)
	got, err := attention.RotaryEmbedding(
		attention.RotaryInputs{Input: merged, Cos: cos, Sin: sin, Positions: positions},
		attention.RotaryOptions{NumHeads: heads})
	require.NoError(t, err)
	require.NotEqual(t, merged.Data, got.Data)
	for n, v := range got.Data {
		require.Equal(t, want.Data[at(n)], v)
	}

	own := [2]*attention.Tensor{}
	for k, table := range []*attention.Tensor{cos, sin} {
		own[k] = attention.NewTensor(batch, tokens, width/2)
		for token := range batch * tokens {
			copy(own[k].Data[token*width/2:], table.Data[positions[token/tokens][token%tokens]*width/2:][:width/2])
		}
	}
	again, err := attention.RotaryEmbedding(
		attention.RotaryInputs{Input: split, Cos: own[0], Sin: own[1]}, attention.RotaryOptions{})
	require.NoError(t, err)
	require.Equal(t, want, again)
}

func TestCheckRotaryEmbedding(t *testing.T) {
	x, table := attention.NewTensor(2, 3, 4, 6), attention.NewTensor(9, 3)
	positions := [][]int{{0, 1, 2, 3}, {8, 8, 8, 8}}
	right := attention.RotaryInputs{Input: x, Cos: table, Sin: table, Positions: positions}
	with := func(change func(*attention.RotaryInputs)) attention.RotaryInputs {
		in := right
		change(&in)
		return in
	}
	for _, tc := range []struct {
		name string
		in   attention.RotaryInputs
		o    attention.RotaryOptions
		err  string
	}{
		{"nothing wrong", right, attention.RotaryOptions{}, ""},
		{"no input", with(func(in *attention.RotaryInputs) { in.Input = nil }), attention.RotaryOptions{},
			"input: no tensor"},
		{"three dimensions", with(func(in *attention.RotaryInputs) { in.Input = attention.NewTensor(2, 4, 18) }),
			attention.RotaryOptions{}, "input: shape (2, 4, 18), want (B, H, T, E) with no dimension 0"},
		{"heads that do not divide",
			with(func(in *attention.RotaryInputs) { in.Input = attention.NewTensor(2, 4, 18) }),
			attention.RotaryOptions{NumHeads: 4}, "input: shape (2, 4, 18), want (B, T, 4*E) with no dimension 0"},
		{"negative heads", right, attention.RotaryOptions{NumHeads: -1},
			"num heads -1, want 0 (B, H, T, E) or at most 1048576"},
		{"an odd part", right, attention.RotaryOptions{Dim: 3},
			"dim 3, want an even number from 2 to the width 6 of a head\n" +
				"cos: shape (9, 3), want (N, dim/2) (N, 1) with positions\n" +
				"sin: shape (9, 3), want (N, dim/2) (N, 1) with positions"},
		{"more than a head", right, attention.RotaryOptions{Dim: 8},
			"dim 8, want an even number from 2 to the width 6 of a head\n" +
				"cos: shape (9, 3), want (N, dim/2) (N, 4) with positions\n" +
				"sin: shape (9, 3), want (N, dim/2) (N, 4) with positions"},
		{"unknown style", right, attention.RotaryOptions{Style: 7}, "unknown style 7"},
		{"no positions", with(func(in *attention.RotaryInputs) { in.Positions = nil }), attention.RotaryOptions{},
			"cos: shape (9, 3), want (B, T, dim/2) (2, 4, 3) without positions\n" +
				"sin: shape (9, 3), want (B, T, dim/2) (2, 4, 3) without positions"},
		{"a shorter table", with(func(in *attention.RotaryInputs) { in.Sin = attention.NewTensor(8, 3) }),
			attention.RotaryOptions{}, "cos: shape (9, 3), sin has (8, 3)"},
		{"another batch", with(func(in *attention.RotaryInputs) { in.Positions = positions[:1] }),
			attention.RotaryOptions{}, "positions: 1 batch elements, want (B, T) (2, 4)"},
		{"fewer tokens", with(func(in *attention.RotaryInputs) { in.Positions = [][]int{{0}, {0, 1, 2, 3}} }),
			attention.RotaryOptions{}, "positions: 1 tokens, want (B, T) (2, 4)"},
		{"no such row", with(func(in *attention.RotaryInputs) { in.Positions = [][]int{{0, 9, 2, -1}, {0, 1, 2, 3}} }),
			attention.RotaryOptions{},
			"positions: token 1 of batch element 0 stands at 9, the tables have 9 rows\n" +
				"positions: token 3 of batch element 0 stands at -1, the tables have 9 rows"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := attention.CheckRotaryEmbedding(tc.in, tc.o)
			_, ownErr := attention.RotaryEmbedding(tc.in, tc.o)
			require.Equal(t, err, ownErr)
			if tc.err == "" {
				require.NoError(t, err)
				return
			}
			require.EqualError(t, err, tc.err)
		})
	}
}
