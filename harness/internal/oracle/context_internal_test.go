package oracle

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// A score is lost if nothing but the largest bias is left of their sum, and unsure if the sum is
// rounded coarsely.
func TestWhatIsLostInABias(t *testing.T) {
	for _, tc := range []struct {
		name        string
		precision   Precision
		score       float64
		biases      []float64
		kept        float64
		any, unsure bool
	}{
		{"no bias", Precision{}, 1, nil, 1, false, false},
		{"a small bias", Precision{}, 1, []float64{-100}, -99, false, false},
		{"a large bias", Precision{}, 1, []float64{-1e9}, -1e9, true, false},
		{"a large bias first", Precision{}, 1, []float64{-1e9, 2}, -1e9, true, false},
		{"a large bias last", Precision{}, 1, []float64{2, 1e9}, 1e9, true, false},
		{"a coarse sum", Precision{}, 0.7, []float64{300000}, 300000.6875, false, true},
		{"a score of bfloat16", BFloat16, 30.1, nil, 30.1, false, false},
		{"a small score of bfloat16", BFloat16, 0.5, []float64{2}, 2.5, false, false},
		{"a coarse score of bfloat16", BFloat16, 3.3, []float64{20}, 23.25, false, true},
		{"a lost score of bfloat16", BFloat16, 0.5, []float64{1000}, 1000, true, false},
	} {
		p := &Problem{Precision: tc.precision}
		r := &row{core: &core{pass: &pass{Problem: p, ctx: t.Context()}}}
		var biases []bias
		sum := tc.score
		for _, b := range tc.biases {
			biases = append(biases, bias{value: b, variance: 1e-12})
			sum += b
		}
		got, variance := r.addBiases(tc.score, 1e-10, biases)
		require.InDelta(t, sum, got, 0, tc.name)
		require.Equal(t, []float64{tc.kept}, r.lost.scores, tc.name)
		require.Equal(t, []bool{tc.any, tc.unsure}, []bool{r.lost.any, r.lost.unsure}, tc.name)
		require.Equal(t, tc.any && !tc.unsure, r.lost.known(), tc.name)
		require.Equal(t, tc.any && !tc.unsure, r.losesScores(), tc.name)
		if tc.any || tc.unsure {
			require.InDelta(t, 1e-10, variance-r.lost.variance[0], 2e-9, tc.name)
		} else {
			require.Zero(t, r.lost.variance[0], tc.name)
		}
		require.Less(t, variance, 1.1+tc.score*tc.score+5e-6*sum*sum)
		r.lost.reset()
		require.Empty(t, r.lost.scores)
		require.False(t, r.lost.any || r.lost.unsure)
	}
	r := &row{lost: lostScores{any: true}, core: &core{pass: &pass{Problem: &Problem{}, detail: ValuesAlone}}}
	require.False(t, r.losesScores(), "without noise")
	r.detail = WithNoise
	require.True(t, r.losesScores())
	r.Problem.Softmax = func(Row) (weights, slopes []float64) { return nil, nil }
	require.False(t, r.losesScores(), "another softmax")
	hidden := math.Inf(-1)
	require.True(t, (&lostScores{scores: []float64{hidden, hidden}}).hidesAll())
	require.False(t, (&lostScores{scores: []float64{hidden, -1e30}}).hidesAll())
	r.scoreVar, r.lost.variance = []float64{3, 5}, []float64{1, 0}
	r.withoutLoss()
	require.Equal(t, []float64{2, 5}, r.scoreVar)
}

// If bfloat16 turns every score into -inf, a row gives zeros: the context counts as one deviation,
// beside the noise of weights that may be anything from 0 to 1, as the bias itself is rounded.
func TestRowsThatABiasHides(t *testing.T) {
	lowest := -math.MaxFloat32
	p := &Problem{
		Query: Array{[]int{1, 1, 1}, []float64{1}}, Key: Array{[]int{1, 2, 1}, []float64{0.5, -1}},
		Value: Array{[]int{1, 2, 1}, []float64{3, 1}}, Scale: 1, Bias: &Array{[]int{1, 2}, []float64{lowest, lowest}},
	}
	q := p.In(BFloat16)
	got := q.Run()
	require.InDelta(t, 2, got.Value[0], 0)
	require.InEpsilon(t, 2*2+1*1+1*1, got.Variance[0], 1e-3)
}

// The sign of a number does not change how it is rounded.
func TestRoundingOfSigns(t *testing.T) {
	for name, p := range map[string]Precision{
		"float16": Float16, "bfloat16": BFloat16, "tf32": TensorFloat32, "truncated": TruncatedTensorFloat32,
	} {
		for _, v := range []float64{1.00037, 3.3e-5, 6.1e-5, 7e4, 65519, 65504, 1e-8, 0.1, 1e30} {
			require.InDelta(t, -p.Round(v), p.Round(-v), 0, "%s of %g", name, v)
		}
	}
	require.InDelta(t, -1.0009765625, Float16.Round(-1.0007), 0)
	require.True(t, math.IsInf(Float16.Round(-7e4), -1))
	require.Nil(t, BFloat16.roundAll(nil))
	require.Equal(t, []float64{}, BFloat16.roundAll([]float64{}))
}

// A result has the width of the output projection, or of the values.
func TestShapeOfAResult(t *testing.T) {
	p := &Problem{Query: Array{Shape: []int{2, 3, 4}}, Value: Array{Shape: []int{2, 5, 7}}}
	require.Equal(t, []int{2, 3, 7}, p.resultShape())
	p.Layer = &Layer{Output: Linear{Out: 9}}
	require.Equal(t, []int{2, 3, 9}, p.resultShape())
	require.Equal(t, []int{2, 3, 4}, p.Query.Shape)
}

// A hidden value whose square overflows has no effect on the noise of others.
func TestHiddenSquares(t *testing.T) {
	of := func(hidden float64) Field {
		p := &Problem{
			Query: Array{[]int{1, 2, 1}, []float64{1, 2}}, Key: Array{[]int{1, 2, 1}, []float64{0.5, -1}},
			Value: Array{[]int{1, 2, 1}, []float64{3, hidden}}, Scale: 1, Causal: topLeft,
		}
		return p.Run()
	}
	require.InDelta(t, 3, of(1e200).Value[0], 0)
	require.False(t, math.IsNaN(of(1e200).Variance[0]))
}

// The variance of a weight is ∫ p² e^2t dt from 0 to that of its score, and at most 1 where weights
// sum to one.
func TestNoiseOfAWeight(t *testing.T) {
	plain, other, small := &Problem{}, &Problem{}, &Problem{}
	other.Axis = OverHeads
	small.Precision.small = true
	for _, slope := range []float64{0, 1e-3, 0.25, -0.25, 1} {
		for _, v := range []float64{0, 1e-12, 0.99e-9, 1e-9, 1e-4, 0.0999, 0.1, 0.5, 2, 9} {
			want := slope * slope * math.Expm1(2*v) / 2
			require.InDelta(t, want, other.weightNoise(slope, v), 1e-9*want)
			require.InDelta(t, min(1, want), plain.weightNoise(slope, v), 1e-9*want)
			require.InDelta(t, slope*slope*v, small.weightNoise(slope, v), 1e-15*want)
		}
	}
	require.InDelta(t, 0.5, plain.weightNoise(math.Exp(-700), 700), 1e-9, "p² underflows, and e^2v overflows")
	plain.Softmax = func(Row) (weights, slopes []float64) { return nil, nil }
	require.Greater(t, plain.weightNoise(1, 2), 1.0)
}

// The sums of a row count the noise of each weight: in proportion where roundings are small.
func TestSumsOfARow(t *testing.T) {
	p := &Problem{}
	r := &row{core: &core{pass: &pass{Problem: p}}, weights: []float64{0.5, 0, 0.25}, scoreVar: []float64{5e-10, 1, 0.5}}
	r.computeSums()
	large := 0.25 * 0.25 * math.Expm1(1) / 2
	require.Equal(t, []float64{0.25, 0, 0.0625}, r.sums.squares)
	require.InEpsilon(t, 0.25*5e-10*(1+5e-10), r.sums.variance[0], 1e-12)
	require.Zero(t, r.sums.variance[1])
	require.InEpsilon(t, large, r.sums.variance[2], 1e-12)
	require.InDelta(t, 0.3125, r.sums.sumSquares, 0)
	require.InDelta(t, large+0.25*5e-10, r.sums.sumVariance, 1e-15)
	p.Precision.small = true
	r.computeSums()
	require.Equal(t, []float64{0.25 * 5e-10, 0, 0.0625 * 0.5}, r.sums.variance)
	r.slopes = []float64{1, -2, 0}
	r.computeSums()
	require.Equal(t, []float64{5e-10, 4, 0}, r.sums.variance)
	require.Equal(t, []float64{0.25, 0, 0.0625}, r.sums.squares)
}

// The noise that scores give to a context is summed in a way that loses no digits where values are
// large, and near one another.
func TestNoiseOfScores(t *testing.T) {
	values := []float64{1e8 + 0.7, 1e8 - 0.4, 1e8 + 0.1}
	b := []float64{1e-3, 3e-3, 2e-3}
	r := &row{
		core: &core{pass: &pass{Problem: &Problem{}}, v: Field{Shape: []int{1, 4, 1}, Value: append([]float64{9}, values...)}},
		keys: []int{1, 2, 3},
	}
	of := func() float64 {
		var square, value, sum float64
		for n, j := range r.keys {
			v := r.v.Value[j]
			square, value, sum = square+b[n]*v*v, value+b[n]*v, sum+b[n]
		}
		r.sums = contextSums{
			variance: b, sumVariance: sum, varianceSquare: []float64{square}, varianceValue: []float64{value},
		}
		context := r.v.Value[1] - 0.3
		want := 0.0
		for n, j := range r.keys {
			want += b[n] * (r.v.Value[j] - context) * (r.v.Value[j] - context)
		}
		got := r.noiseOfScores(0, 0, context, 0)
		require.InEpsilon(t, want, got, 1e-9)
		return got
	}
	require.InEpsilon(t, 1e-3*0.09+3e-3*0.64+2e-3*0.09, of(), 1e-6)
	for i := range r.v.Value {
		r.v.Value[i] = float64(2*i) - 5
	}
	of()
	r.Axis = OverHeads
	require.InDelta(t, r.sums.varianceSquare[0], r.noiseOfScores(0, 0, 3, 0), 0, "weights that do not sum to one")
}

// Keys and values of a KV cache have the steps of its type, and an appended key has no bias.
func TestNoiseOfACache(t *testing.T) {
	field := func() Field { return Field{Shape: []int{2}, Value: []float64{3, -254}, Variance: []float64{1, 1}} }
	for p, want := range map[quantisation][]float64{
		unquantised: {1, 1}, int8Cache: {1 + 4./12, 1 + 4./12},
		e4m3Cache: {1 + 9*0x1p-8/3, 1 + 254*254*0x1p-8/3}, e5m2Cache: {1 + 9*0x1p-6/3, 1 + 254*254*0x1p-6/3},
	} {
		require.InDeltaSlice(t, want, Precision{cached: p}.inCache(field()).Variance, 1e-9)
	}
	require.Nil(t, E4M3Cache.inCache(Field{Shape: []int{1}, Value: []float64{3}}).Variance)

	p := twoByTwo()
	p.Slopes = []float64{1, 2}
	m := p.masks(5)
	for j, want := range []int{1, 1, 1, 1, 0} {
		_, count := m.biases(0, 0, j)
		require.Equal(t, want, count)
	}
}
