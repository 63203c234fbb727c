package attention_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
)

// rotatedLayer is a layer of one head that sees every key, with scores q . k and RoPE.
func rotatedLayer(width int, r attention.RoPE) attention.Config {
	return attention.Config{
		EmbedDim: width, NumHeads: 1, WithoutBias: true, Bidirectional: true, ParamLayout: attention.SeedLayout,
		Scale: 1, RoPE: &r, NeedWeights: attention.WeightsPerHead,
	}
}

// rotatedScores returns the scores of the query at position 0 with each key, minus its score with
// key 0. Query and key are the same vector at every position. The test takes the scores from the
// logarithms of the attention weights.
func rotatedScores(t *testing.T, r attention.RoPE, key []float32) []float64 {
	t.Helper()
	width := len(key)
	m := newLayer(t, rotatedLayer(width, r))
	dict := m.StateDict()
	setIdentity(dict, "W_Q", "W_K")
	load(t, m, dict)
	const length = 6
	x := attention.NewTensor(1, length, width)
	for at := range x.Data {
		x.Data[at] = key[at%width]
	}
	out, err := m.Forward(self(x))
	require.NoError(t, err)
	scores := make([]float64, length)
	for j := range scores {
		scores[j] = math.Log(float64(out.Weights.Data[j])) - math.Log(float64(out.Weights.Data[0]))
	}
	return scores
}

// Each pair of features rotates by its own angle. The score between equal vectors at distance d is
// the sum of (a² + b²) cos(d Base^(-2i/Dim) / Factor). Features beyond Dim do not rotate.
func TestRoPERotatesPairs(t *testing.T) {
	key := []float32{1, 0.5, -0.25, 2, 0.75, -1}
	half := [][2]int{{0, 2}, {1, 3}}
	whole := [][2]int{{0, 3}, {1, 4}, {2, 5}}
	interleaved := [][2]int{{0, 1}, {2, 3}, {4, 5}}
	for _, tc := range []struct {
		name   string
		r      attention.RoPE
		pairs  [][2]int
		factor float64
	}{
		{"half, a part of the head", attention.RoPE{Dim: 4, Base: 100}, half, 1},
		{"half, the whole head", attention.RoPE{Base: 100}, whole, 1},
		{"interleaved", attention.RoPE{Style: attention.Interleaved, Base: 100}, interleaved, 1},
		{"slower", attention.RoPE{Dim: 6, Base: 100, Factor: 4}, whole, 4},
	} {
		t.Run(tc.name, func(t *testing.T) {
			want := make([]float64, 6)
			for d := range want {
				for i, pair := range tc.pairs {
					a, b := float64(key[pair[0]]), float64(key[pair[1]])
					angle := float64(d) * math.Pow(100, -float64(i)/float64(len(tc.pairs))) / tc.factor
					want[d] += (a*a + b*b) * (math.Cos(angle) - 1)
				}
			}
			require.InDeltaSlice(t, want, rotatedScores(t, tc.r, key), 1e-5)
		})
	}
}

// A positive angle rotates (1, 0) towards (0, 1), so that a score holds the sine of the key's angle
// with the right sign.
func TestRoPERotatesForward(t *testing.T) {
	m := newLayer(t, rotatedLayer(2, attention.RoPE{Base: 100}))
	dict := m.StateDict()
	dict["W_Q"].Data = []float32{0, 0, 1, 0} // every query is (0, 1)
	dict["W_K"].Data = []float32{1, 0, 0, 0} // every key is (1, 0)
	load(t, m, dict)
	out, err := m.Forward(self(&attention.Tensor{Shape: []int{1, 2, 2}, Data: []float32{1, 0, 1, 0}}))
	require.NoError(t, err)
	w := out.Weights.Float64s()
	require.InDelta(t, math.Sin(1), math.Log(w[1])-math.Log(w[0]), 1e-6, "query 0")
	require.InDelta(t, math.Sin(1), math.Log(w[3])-math.Log(w[2]), 1e-6, "query 1: sin 0 - sin(-1)")
}

// Only distances count: the same tokens at later positions, behind a cache that padding hides, give
// the same output.
func TestRoPEIsByDistance(t *testing.T) {
	m := loaded(t, causalDecoder, 1)
	x := randomTensor(2, 2, 5, 12)
	in := self(x)
	in.PastKey, in.PastValue = randomTensor(3, 2, 2, 9, 6), randomTensor(4, 2, 2, 9, 6)
	in.Padding = attention.NewMask(2, 14)
	for b := range 2 {
		for j := range 9 {
			in.Padding.Data[b*14+j] = true
		}
	}
	require.InDeltaSlice(t, forward(t, m, self(x)).Float64s(), forward(t, m, in).Float64s(), 1e-5)
}
