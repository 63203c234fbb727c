package fit

import (
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/oracletest"
	"github.com/difftest/difftest/harness/internal/pattern"
)

// rightWeights are a trace's weights as if they were recovered with some noise.
func rightWeights(t oracle.Trace, sigma float64) pattern.Weights {
	return pattern.Weights{Value: slices.Clone(t.Weights), Sigma: slices.Repeat([]float64{sigma}, len(t.Weights))}
}

// withSinks is a layer of two batch elements and sinks.
func withSinks() *oracle.Problem {
	p := oracletest.First(oracletest.Tall(2), 2)
	p.Sinks = []float64{0.5, -1}
	return p
}

// Right weights have the right scores, but for a constant in each row, sinks included. So nothing
// misses when the rows are centred.
func TestScoresOfRightWeights(t *testing.T) {
	p := withSinks()
	p.Causal = oracletest.Causal
	x := newJacobian(p, all(QueryProjection))
	s := x.logarithms(rightWeights(x.t, 1e-9), []int{0, 1})
	for at := range s.certain {
		s.certain[at] *= 1e-10 // no certainty is too small
	}
	missing := s.missingScores()
	places := 0
	s.eachScored(func(row []int) {
		require.Len(t, row, 5)
		sink := row[4]
		require.NotZero(t, missing[sink])
		for j, at := range row[:4] {
			if places/4%4 < j { // hidden from query places/4 % 4
				require.Zero(t, missing[at])
			} else {
				require.InDelta(t, missing[sink], missing[at], 1e-6)
			}
		}
		places += 4
	})
	require.Equal(t, len(x.t.Weights), places)
	for _, v := range s.centred(missing) {
		require.InDelta(t, 0, v, 1)
	}
}

// A score is certain where its weight is far above its noise, in heads that are asked for. A sink
// has what its row leaves, with the noise of all keys.
func TestCertainScores(t *testing.T) {
	p := withSinks()
	x := newJacobian(p, all(QueryProjection))
	const sigma = 1e-4
	w := rightWeights(x.t, sigma)
	const above, below = (pattern.Certainty + 0.5) * sigma, (pattern.Certainty - 0.5) * sigma
	w.Value[0], w.Value[1] = above, below
	w.Sigma[2] = 0
	w.Value[3] = pattern.Certainty * sigma
	// No weight is left to the sink of row 1.
	w.Value[7] = 1 - w.Value[4] - w.Value[5] - w.Value[6]
	// The first weight of the second batch element's first head.
	last := 2 * 4 * 4
	s := x.logarithms(w, []int{0})
	require.InDelta(t, pattern.Certainty+0.5, s.certain[0], 1e-9)
	require.Equal(t, []float64{0, 0, 0}, s.certain[1:4])
	require.InDelta(t, w.Value[last]/sigma, s.certain[last], 1e-9)
	require.Equal(t, make([]float64, 16), s.certain[16:32], "head 1 was not asked for")

	scores := len(x.t.Weights)
	for row := range 2 * 2 * 4 {
		left, noise := 1.0, 0.0
		for j := range 4 {
			left, noise = left-w.Value[4*row+j], noise+w.Sigma[4*row+j]
		}
		require.InDelta(t, left, s.weight[scores+row], 1e-12)
		want := 0.0
		if left > pattern.Certainty*noise {
			want = left / noise
		}
		require.InDelta(t, want, s.certain[scores+row], 1e-9)
	}
	clear(w.Sigma)
	require.Equal(t, make([]float64, len(s.certain)), x.logarithms(w, []int{0}).certain, "nothing is known of the noise")

	// The keys of a row leave exactly as much as is not certain: 16 times the noise of four keys.
	const exact = 1. / 1024
	for at := range w.Sigma {
		w.Sigma[at] = exact
	}
	copy(w.Value, []float64{1 - pattern.Certainty*4*exact, 0, 0, 0})
	require.Zero(t, x.logarithms(w, []int{0}).certain[scores])

	p.Sinks = nil
	s = newJacobian(p, all(QueryProjection)).logarithms(rightWeights(x.t, 1e-3), []int{0, 1})
	require.Equal(t, make([]float64, 16), s.certain[scores:], "no sinks")
}

// Centred scores have a mean of zero, weighted by the squares of what is certain. The transpose is
// the transpose.
func TestCentredScores(t *testing.T) {
	x := newJacobian(oracletest.First(oracletest.Tall(2), 1), all(QueryProjection))
	s := &logarithms{jacobian: x, certain: make([]float64, 40)}
	copy(s.certain, []float64{1, 2, 0, 0.5})
	scores := make([]float64, 40)
	copy(scores, []float64{3, 6, 100, 7})
	mean := (1*3 + 4*6 + 0.25*7) / 5.25
	require.InDeltaSlice(t, []float64{3 - mean, 2 * (6 - mean), 0, 0.5 * (7 - mean)}, s.centred(scores)[:4], 1e-12)

	r := make([]float64, 40)
	for at := range r {
		s.certain[at] = max(0, math.Sin(float64(at)))
		scores[at], r[at] = math.Cos(float64(at)), math.Sin(float64(3*at))
	}
	require.InEpsilon(t, num.Dot(s.centred(scores), r), num.Dot(scores, s.centredTransposed(r)), 1e-9)

	both := s.scoreOperator()
	step := make([]float64, len(x.mask))
	for at := range step {
		step[at] = math.Sin(float64(at))
	}
	require.InEpsilon(t, num.Dot(both.forward(step), r), num.Dot(step, both.backward(r)), 1e-9)
}

// Each head needs three more differences of certain scores than it has unknowns: a query head has 6
// rows of 13 weights and a bias.
func TestSaturatedScores(t *testing.T) {
	p := oracletest.Tall(2)
	x := newJacobian(p, all(QueryProjection))
	certain := func(free freeSet, differences int) *logarithms {
		y := *x
		y.free = free
		s := &logarithms{jacobian: &y, certain: slices.Repeat([]float64{1}, len(x.t.Weights)+2*240)}
		count := 0
		for n := range x.t.Heads {
			for row := n * 4; n%2 == 1 && row < n*4+4; row++ {
				clear(s.certain[4*row:][:4])
				if count < differences {
					s.certain[4*row], s.certain[4*row+3] = 1, 1
					count++
				}
			}
		}
		return s
	}
	require.Empty(t, certain(all(QueryProjection), 6*14+3).saturated())
	const want = "the softmax is saturated: 86 scores of head 1 are certain, and 87 are needed"
	require.Equal(t, want, certain(all(QueryProjection), 6*14+2).saturated())
	require.Equal(t, want, certain(ofHead(QueryProjection, 1), 6*14+2).saturated())
	require.Empty(t, certain(ofHead(QueryProjection, 0), 0).saturated())
	p.Layer.Query.Bias = nil
	require.Empty(t, certain(all(QueryProjection), 6*13+3).saturated())
	require.NotEmpty(t, certain(all(QueryProjection), 6*13+2).saturated())
	require.Contains(t, certain(all(KeyProjection), 0).saturated(), "0 scores of head 1 are certain, and 75 are needed")
}

// Key heads that several query heads share have the certain scores of all of these.
func TestSaturatedScoresOfSharedKeys(t *testing.T) {
	x := newJacobian(oracletest.First(oracletest.Tall(1), 2), all(KeyProjection))
	s := &logarithms{jacobian: x, certain: slices.Repeat([]float64{1}, len(x.t.Weights)+16)}
	const want = "the softmax is saturated: 48 scores of head 0 are certain, and 75 are needed"
	require.Equal(t, want, s.saturated(), "two elements of two heads with 4 rows and 3 differences")
}

// Weights of another computation lead to its query weights, with sinks and with a softcap.
func TestQueriesOfRecoveredScores(t *testing.T) {
	for _, softcap := range []float64{0, 5} {
		p := oracletest.Tall(2)
		p.Sinks, p.Softcap = []float64{0.5, -1}, softcap
		wrong := p.Clone()
		for at := range wrong.Layer.Query.Weight {
			wrong.Layer.Query.Weight[at] += 0.1 * math.Sin(float64(at))
		}
		x := newJacobian(p, all(QueryProjection))
		found, reason := x.fromLogarithms(t.Context(), rightWeights(wrong.Trace(), 1e-9), []int{0, 1})
		require.Empty(t, reason)
		require.InDeltaSlice(t, wrong.Layer.Query.Weight, found.Layer.Query.Weight, 1e-4, "softcap %g", softcap)
	}
	p := oracletest.Tall(2)
	found, reason := newJacobian(p, all(QueryProjection)).fromLogarithms(
		t.Context(), rightWeights(p.Trace(), 1), []int{0, 1},
	)
	require.Nil(t, found)
	require.Contains(t, reason, "0 scores of head 0 are certain")
}

// Under a softcap of any size the fit to recovered scores is made four times, each from the last.
// Without one it is made once.
func TestRepeatsOfRecoveredScores(t *testing.T) {
	for softcap, repeats := range map[float64]int{0: 1, 0.9: 4} {
		p := oracletest.First(oracletest.Tall(2), 30)
		p.Softcap = softcap
		wrong := p.Clone()
		for at := range wrong.Layer.Query.Weight {
			wrong.Layer.Query.Weight[at] += 0.5 * math.Sin(float64(at))
		}
		x := newJacobian(p, all(QueryProjection))
		w := rightWeights(wrong.Trace(), 1e-6)
		found, reason := x.fromLogarithms(t.Context(), w, []int{0, 1})
		require.Empty(t, reason)
		s := x.logarithms(w, []int{0, 1})
		for range repeats {
			r := s.centred(s.missingScores())
			step := cgls(t.Context(), s.scoreOperator(), s.blocks(), r, len(s.mask))
			s.jacobian = newJacobian(s.moved(step), s.free)
		}
		require.Equal(t, s.p.Layer.Query, found.Layer.Query, "softcap %g", softcap)
	}
}

// One head's weights can be recovered where an output row is too short for both heads' weights. A
// fit of all heads says so.
func TestScoresOfOneHead(t *testing.T) {
	p := oracletest.Tall(2)
	w := &p.Layer.Output
	w.Out, w.Weight, w.Bias = 11, w.Weight[:11*12], w.Bias[:11]
	wrong := p.Clone()
	for at := 6 * 13; at < 12*13; at++ { // of head 1
		wrong.Layer.Query.Weight[at] += 0.1 * math.Sin(float64(at))
	}
	f := fitterOf(t, p, oracletest.InFloat32(wrong.Run()))
	one := f.fit(ofHead(QueryProjection, 1))
	require.True(t, one.Explains(), "%+v", one.Fit)
	require.InDeltaSlice(t, wrong.Layer.Query.Weight, one.problem.Layer.Query.Weight, 1e-4)
	both := f.fit(all(QueryProjection))
	_, reason := pattern.RecoverWeights(p, f.trace, f.got, []int{0, 1})
	require.NotEmpty(t, reason)
	require.Equal(t, reason, both.Refused)
	require.True(t, math.IsInf(both.Residual, 1))
}

// A fit of weights whose scores are not certain says so.
func TestFitOfASaturatedSoftmax(t *testing.T) {
	p := oracletest.First(oracletest.Tall(2), 40)
	for at := range p.Layer.Query.Weight {
		p.Layer.Query.Weight[at] *= 100
	}
	f := fitterOf(t, p, oracletest.InFloat32(p.Run()))
	found := f.fit(all(QueryProjection))
	require.Contains(t, found.Refused, "the softmax is saturated: ")
	require.True(t, math.IsInf(found.Residual, 1))
}

// The mixture of recovered weights is the output of these weights and the right values. A weight
// without a sigma was not recovered, and stays.
func TestMixtureOfRecoveredWeights(t *testing.T) {
	p := oracletest.First(oracletest.Tall(1), 2)
	for _, bias := range [][]float64{p.Layer.Output.Bias, nil} {
		p.Layer.Output.Bias = bias
		x := newJacobian(p, all(QueryProjection))
		w := rightWeights(x.t, 1)
		got := make([]float64, len(x.t.Output.Value))
		context := slices.Clone(x.t.Context)
		for at := range w.Value {
			by := math.Sin(float64(at))
			if w.Value[at] += by; at%5 == 0 {
				w.Sigma[at] = 0
				continue
			}
			n, i, j := at/16, at/4%4, at%4
			for c := range 6 {
				context[(n*4+i)*6+c] += by * x.t.Value[(n/2*4+j)*6+c]
			}
		}
		for at := range got {
			row, o := at/13, at%13
			if bias != nil {
				got[at] = bias[o]
			}
			for c := range 12 {
				got[at] += p.Layer.Output.Weight[o*12+c] * context[((row/4*2+c/6)*4+row%4)*6+c%6]
			}
		}
		f := &fitter{p: p, trace: x.t, shape: x.t.Output.Shape, got: got}
		c := f.mixture(x, w)
		require.Less(t, c.Rel, 1e-12)
	}
}
