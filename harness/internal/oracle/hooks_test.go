package oracle_test

import (
	"context"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// changed returns a score that a hook has changed: the noise that it had, times the slope, and one
// rounding of the new score.
func changed(s noisy, value, slope float64) noisy {
	return noisy{value, slope*slope*s.variance + r*value*value}
}

// A score of q.k by a function of its own carries the noise of the product by its slope, and two
// roundings of a power.
func TestVarianceOfAScoreHook(t *testing.T) {
	p := &oracle.Problem{Query: row(2), Key: column(0.5, -1), Value: column(3, -2), Scale: 7, Softcap: 0.1}
	p.Score = func(product float64) (s, slope float64) { return product * product / 4, product / 2 }
	var scores []noisy
	for _, product := range []float64{1, -2} {
		s := product * product / 4
		scores = append(scores, noisy{s, product * product / 4 * sum(product)})
		scores[len(scores)-1].variance += 4 * r * s * s
	}
	requireVariance(t, p, attended(scores, exact(3, -2)).variance)
}

// Visible and masked scores are changed each by its own hook. Masked keys then take part. A
// constant has no noise, and neither has a score that its hook leaves as it is more than before.
func TestVarianceOfChangedScores(t *testing.T) {
	before := []noisy{scored(0.7, exact(2), exact(0.5)), scored(0.7, exact(2), exact(-1)), scored(0.7, exact(2), exact(0.25))}
	values := exact(3, -2, 1)
	for _, tc := range []struct {
		name            string
		visible, masked func(float64) (float64, float64)
		want            []noisy
	}{
		{
			"masked", nil, func(s float64) (float64, float64) { return -3 * s, -3 },
			[]noisy{before[0], changed(before[1], -3*before[1].value, -3), before[2]},
		},
		{
			"both", func(s float64) (float64, float64) { return s + 2, 1 }, func(float64) (float64, float64) { return 0.5, 0 },
			[]noisy{changed(before[0], before[0].value+2, 1), {value: 0.5}, changed(before[2], before[2].value+2, 1)},
		},
		{
			"unchanged", func(s float64) (float64, float64) { return s, 1 }, func(s float64) (float64, float64) { return s / 2, 0.5 },
			[]noisy{before[0], changed(before[1], before[1].value/2, 0.5), before[2]},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := &oracle.Problem{Query: row(2), Key: column(0.5, -1, 0.25), Value: column(3, -2, 1), Scale: 0.7}
			p.Allow = attention.NewMask(1, 3)
			p.Allow.Data = []bool{true, false, true}
			p.VisibleScore, p.MaskedScore = tc.visible, tc.masked
			requireVariance(t, p, attended(tc.want, values).variance)
			require.InEpsilon(t, attended(tc.want, values).value, p.Run().Value[0], 1e-12)
		})
	}
}

// EmptyMean changes queries that see no key, and no others.
func TestEmptyMean(t *testing.T) {
	p := &oracle.Problem{
		Query: oracle.Array{Shape: []int{1, 2, 1}, Value: []float64{2, 2}}, Key: column(0.5, -1, 3), Value: column(3, -2, 5), Scale: 0.7,
		Allow: attention.NewMask(2, 3), EmptyMean: true,
	}
	p.Allow.Data = []bool{false, false, false, true, false, false}
	require.InDeltaSlice(t, []float64{2, 3}, p.Run().Value, 1e-15)
	require.True(t, p.HasEmptyRow())
	p.EmptyMean = false
	require.Equal(t, []float64{0, 3}, p.Run().Value)
}

// Zeros without values stand beside the scores and a sink.
func TestZeroKeys(t *testing.T) {
	for _, tc := range []struct {
		zeros int
		sinks []float64
		more  float64 // in the denominator
	}{
		{0, nil, 0}, {2, nil, 2}, {0, []float64{0.4}, math.Exp(0.4)}, {2, []float64{0.4}, 2 + math.Exp(0.4)}, {3, []float64{2}, 3 + math.Exp(2)},
	} {
		p := &oracle.Problem{Query: row(2), Key: column(0.5), Value: column(3), Scale: 0.7, Sinks: tc.sinks}
		p.ZeroKeys = tc.zeros
		w := math.Exp(0.7) / (math.Exp(0.7) + tc.more)
		require.InEpsilon(t, w, p.Weights().Value[0], 1e-12)
		require.InEpsilon(t, 3*w, p.Run().Value[0], 1e-12)
	}
}

// A weight that float32 computes without a score it has lost is one deviation away.
func TestVarianceOfWeightsOfLostScores(t *testing.T) {
	p := &oracle.Problem{
		Query: row(2), Key: column(0.5, -1), Value: column(3, -3), Scale: 0.7,
		Bias: &oracle.Array{Shape: []int{1, 1}, Value: []float64{-1e9}},
	}
	got := p.Weights()
	for j, w := range got.Value {
		require.Greater(t, math.Abs(w-0.5), 0.3)
		require.GreaterOrEqual(t, got.Variance[j], (w-0.5)*(w-0.5))
		require.InEpsilon(t, (w-0.5)*(w-0.5), got.Variance[j], 0.5)
	}
}

// A softmax in a lower precision adds its roundings to weights and to a sink's score.
func TestVarianceOfWeightsInALowerSoftmax(t *testing.T) {
	p := &oracle.Problem{Query: row(2), Key: column(0.5), Value: column(3), Scale: 0.7, Sinks: []float64{1.75}}
	p.Precision = oracle.Precision{}
	float32s := p.Weights().Variance[0]
	c := function("float32")
	c.Inputs.Key, c.Inputs.Value = &attention.Tensor{Shape: []int{1, 1, 1}, Data: []float32{0.5}}, &attention.Tensor{Shape: []int{1, 1, 1}, Data: []float32{3}}
	c.Options.Sinks = &attention.Tensor{Shape: []int{1}, Data: []float32{1.75}}
	c.SoftmaxPrecision = "bfloat16"
	low := oracle.FromCase(c)
	weights := low.Weights()
	const lower = 0x1p-16 / 3
	w, s, sink := weights.Value[0], 0.75*2*0.5, 1.75
	ofScore := lower*(s*s+1) + lower*(s-sink)*(s-sink)
	ofSink := lower * (sink*sink + 1)
	want := w * w * ((1-w)*(1-w)*ofScore + (1-w)*(1-w)*ofSink + 2*lower)
	require.InEpsilon(t, want, weights.Variance[0], 0.01)
	require.Greater(t, want, 100*float32s)
}

// A pass without noise computes every row as one with noise does.
func TestValuesWithoutNoise(t *testing.T) {
	x := oracle.Array{Shape: []int{2, 5, 3}, Value: make([]float64, 30)}
	for i := range x.Value {
		x.Value[i] = math.Sin(float64(3*i + 1))
	}
	p := &oracle.Problem{Query: x, Key: x, Value: x, Scale: 0.6, Causal: causal}
	plain, err := p.Rows(context.Background(), nil, oracle.ValuesAlone)
	require.NoError(t, err)
	require.Empty(t, plain.Variance)
	require.InDeltaSlice(t, p.Run().Value, plain.Value, 1e-14)
}

func TestHasEmptyRow(t *testing.T) {
	x := oracle.Array{Shape: []int{2, 3, 1}, Value: make([]float64, 6)}
	problem := func(change func(p *oracle.Problem)) *oracle.Problem {
		p := &oracle.Problem{Query: x, Key: x, Value: x, Causal: causal}
		change(p)
		return p
	}
	lastHidden := attention.NewMask(2, 3, 3)
	for i := range lastHidden.Data {
		lastHidden.Data[i] = i >= 15
	}
	layer := func(change func(l *oracle.Layer)) func(p *oracle.Problem) {
		return func(p *oracle.Problem) {
			p.Offset = -1
			p.Layer = &oracle.Layer{Heads: 1, KVHeads: 1, Query: linear1(1), Key: linear1(1), Value: linear1(1), Output: linear1(1)}
			change(p.Layer)
		}
	}
	for name, tc := range map[string]struct {
		change func(p *oracle.Problem)
		want   bool
	}{
		"one key at least":      {func(*oracle.Problem) {}, false},
		"the first sees none":   {func(p *oracle.Problem) { p.Offset = -1 }, true},
		"the last sees none":    {func(p *oracle.Problem) { p.Block = lastHidden }, true},
		"a layer":               {layer(func(*oracle.Layer) {}), true},
		"a layer's own key":     {layer(func(l *oracle.Layer) { l.LearnedKey = []float64{1} }), false},
		"a key of zeros":        {layer(func(l *oracle.Layer) { l.ZeroKey = true }), false},
		"no attention":          {func(p *oracle.Problem) { p.Offset, p.Turn = -1, &oracle.Turn{Heads: 1} }, false},
		"a layer with all keys": {func(p *oracle.Problem) { layer(func(*oracle.Layer) {})(p); p.Offset = 0 }, false},
	} {
		require.Equal(t, tc.want, problem(tc.change).HasEmptyRow(), name)
	}
}

// TensorFloat32 rounds both factors of q.k, and of p v.
func TestVarianceOfFactors(t *testing.T) {
	const factor = 0x1p-22 / 3
	p := &oracle.Problem{Query: row(2), Key: column(0.5, -1), Value: column(3, -3), Scale: 0.7}
	p = p.In(oracle.TensorFloat32)
	var scores []noisy
	for _, k := range []float64{0.5, -1} {
		s := scored(0.7, exact(2), exact(k))
		s.variance += 0.7 * 0.7 * 2 * factor * 2 * k * 2 * k
		scores = append(scores, s)
	}
	weights, variance := weighed(scores)
	context := attended(scores, exact(3, -3))
	w := weights[0]
	moved := w * w * (1 - w) * (1 - w) * (variance[0] + variance[1])
	require.InEpsilon(t, moved, p.Weights().Variance[0], 1e-4, "of the weight")
	require.Greater(t, p.Run().Variance[0], context.variance+factor*9*w*w, "and of p and v")
}

// Some rows of a layer have the values that the whole has.
func TestRowsOfALayer(t *testing.T) {
	x := oracle.Array{Shape: []int{1, 6, 1}, Value: []float64{1, -2, 0.5, 3, 2, -1}}
	p := &oracle.Problem{Query: x, Key: x, Value: x, Scale: 1, Causal: causal, Layer: &oracle.Layer{
		Heads: 1, KVHeads: 1, Query: linear1(0.75), Key: linear1(0.5), Value: linear1(2), Output: linear1(-1),
	}}
	whole := p.Run()
	for _, rows := range [][]int{{0}, {5}, {1, 2}, {2, 3, 4}, {0, 2, 3, 5}, {0, 1, 2, 3, 4, 5}} {
		some, err := p.Rows(t.Context(), rows, oracle.WithNoise)
		require.NoError(t, err)
		for i, row := range rows {
			require.InDelta(t, whole.Value[row], some.Value[i], 1e-14, "%v", rows)
			require.InEpsilon(t, whole.Variance[row], some.Variance[i], 1e-12, "%v", rows)
		}
	}
}

func TestVisibleWithoutAttention(t *testing.T) {
	x := oracle.Array{Shape: []int{1, 3, 2}, Value: make([]float64, 6)}
	require.Equal(t, []int{1, 1, 1}, (&oracle.Problem{Query: x, Turn: &oracle.Turn{Heads: 1}}).Visible())
}
