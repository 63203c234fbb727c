package oracle_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/oracletest"
)

// The noise of query and key reaches the output through the scores.
func TestVarianceOfQueryAndKeyReachesTheScores(t *testing.T) {
	p := &oracle.Problem{
		Query: row(2), Scale: 1,
		Key:   column(0.5, 0.5), // equal scores
		Value: column(1, -1),    // a context of 0
		Layer: &oracle.Layer{
			Heads: 1, KVHeads: 1, Query: linear1(0.75), Key: linear1(3), Value: linear1(1), Output: linear1(1),
		},
	}
	const q, k = 1.5, 1.5
	score := sum(q*k) + k*k*sum(q) + q*q*sum(k) + 2*r*q*k*q*k + 4*0x1p-48
	value := sum(1.0)
	context := 2*0.25*score + sum(0.5, -0.5) + 2*0.25*value
	requireVariance(t, p, sum(0)+context)
}

// A softcap flattens the noise of a score and of its division by the cap. The roundings of tanh and
// of the product follow: three of them, because tanh has two.
func TestVarianceOfSoftcap(t *testing.T) {
	const limit = 1.5
	p := &oracle.Problem{Query: row(2), Key: column(0.5, -1), Value: column(3, -3), Scale: 0.7, Softcap: limit}
	capped := func(s noisy) noisy {
		tanh := math.Tanh(s.value / limit)
		slope := 1 - tanh*tanh
		v := limit * tanh
		return noisy{v, slope*slope*(s.variance+r*s.value*s.value) + 3*r*v*v}
	}
	scores := []noisy{capped(scored(0.7, exact(2), exact(0.5))), capped(scored(0.7, exact(2), exact(-1)))}
	requireVariance(t, p, attended(scores, exact(3, -3)).variance)
}

// The slope, its product with the distance and the sum are rounded. At a distance of 0 nothing is
// added.
func TestVarianceOfSlopes(t *testing.T) {
	p := &oracle.Problem{
		Query: row(2), Key: column(0.5, -1, 0.25), Value: column(3, -3, 1), Scale: 0.7,
		Slopes: []float64{0.3}, Offset: 2,
	}
	var scores []noisy
	for j, k := range []float64{0.5, -1, 0.25} {
		s := scored(0.7, exact(2), exact(k))
		if lost := 0.3 * float64(2-j); lost > 0 {
			s = added(s, -lost, 2*r*lost*lost)
		}
		scores = append(scores, s)
	}
	requireVariance(t, p, attended(scores, exact(3, -3, 1)).variance)
}

// The biases are added to a score one by one: the mask, the slope, the relative bias.
func TestVarianceOfBiases(t *testing.T) {
	p := &oracle.Problem{
		Query: row(2), Key: column(0.5, -1), Value: column(3, -3), Scale: 0.7, Offset: 1,
		Bias:   &oracle.Array{Shape: []int{1, 2}, Value: []float64{0.25, -1.5}},
		Slopes: []float64{0.3}, Relative: []float64{0.4, -0.6, 0.8},
	}
	scores := []noisy{
		added(added(added(scored(0.7, exact(2), exact(0.5)), 0.25, 0), -0.3, 2*r*0.3*0.3), 0.4, 0),
		added(added(scored(0.7, exact(2), exact(-1)), -1.5, 0), -0.6, 0),
	}
	requireVariance(t, p, attended(scores, exact(3, -3)).variance)
}

// Float32 loses a score in a mask of -1e9, and float64 does not: the output without the scores is
// one deviation away. In float32's lowest number both lose the score, its noise, and every bias
// that is added later.
func TestVarianceOfLostScores(t *testing.T) {
	score := []noisy{scored(0.7, exact(2), exact(0.5)), scored(0.7, exact(2), exact(-1))}
	const lowest = -math.MaxFloat32
	for _, tc := range []struct {
		name   string
		mask   float64
		slopes []float64
		scores []noisy
	}{
		{"-1e9", -1e9, nil, []noisy{
			{score[0].value - 1e9, score[0].variance},
			{score[1].value - 1e9, score[1].variance},
		}},
		{"lowest", lowest, nil, []noisy{{value: lowest}, {value: lowest}}},
		{"lowest, and a slope", lowest, []float64{0.3}, []noisy{{value: lowest}, {value: lowest}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := &oracle.Problem{
				Query: row(2), Key: column(0.5, -1), Value: column(3, -3), Scale: 0.7, Slopes: tc.slopes,
				Bias: &oracle.Array{Shape: []int{1, 1}, Value: []float64{tc.mask}},
			}
			want := attended(tc.scores, exact(3, -3))
			const without = 0 // the mean of the values
			want.variance += (want.value - without) * (want.value - without)
			requireVariance(t, p, want.variance)
		})
	}
}

// A score of exactly zero is not lost in a bias: its noise stays.
func TestVarianceOfAScoreOfZero(t *testing.T) {
	p := &oracle.Problem{
		Query: row(2), Key: column(0, 0), Value: column(3, -3), Scale: 1,
		Bias: &oracle.Array{Shape: []int{2}, Value: []float64{0.5, -0.5}},
		Layer: &oracle.Layer{
			Heads: 1, KVHeads: 1, Query: linear1(1, 1), Value: linear1(1, 0), Output: first(2),
			Key: oracle.Linear{Weight: []float64{0, 0}, Bias: []float64{1, -1}, In: 1, Out: 2},
		},
	}
	query, key := projected(2, 1, 1), []noisy{{1, r}, {-1, r}}
	var scores []noisy
	for _, b := range []float64{0.5, -0.5} {
		s := scored(1, query, key)
		require.Zero(t, s.value)
		scores = append(scores, noisy{b, s.variance})
	}
	requireVariance(t, p, passedOn(attended(scores, []noisy{projected(3, 1)[0], projected(-3, 1)[0]}), 2))
}

// Keys that a mask hides change nothing, neither values nor noise, wherever they stand.
func TestHiddenKeysChangeNothing(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 1))
	const queries, keys, width = 3, 40, 4
	hidden := func(key int) bool { return key < 17 || key == 20 || key > 25 && key < 31 }
	p := &oracle.Problem{
		Query: oracletest.Normal(r, 1, 1, queries, width), Key: oracletest.Normal(r, 1, 1, keys, width),
		Value: oracletest.Normal(r, 1, 1, keys, width), Scale: 0.5, Block: attention.NewMask(queries, keys),
	}
	for i := range p.Block.Data {
		p.Block.Data[i] = hidden(i % keys)
	}
	seen := func(a oracle.Array) oracle.Array {
		var values []float64
		for key := range keys {
			if !hidden(key) {
				values = append(values, a.Value[key*width:][:width]...)
			}
		}
		return oracle.Array{Shape: []int{1, 1, len(values) / width, width}, Value: values}
	}
	want := (&oracle.Problem{Query: p.Query, Key: seen(p.Key), Value: seen(p.Value), Scale: p.Scale}).Run()
	got := p.Run()
	require.InDeltaSlice(t, want.Value, got.Value, 1e-14)
	for i, v := range want.Variance {
		require.InEpsilon(t, v, got.Variance[i], 1e-9)
	}
	plain, err := p.Rows(t.Context(), nil, oracle.ValuesAlone)
	require.NoError(t, err)
	require.InDeltaSlice(t, want.Value, plain.Value, 1e-14)
}
