package oracle

import (
	"math"
	"slices"
)

// lostScores are the scores of a row as an implementation has them that loses a score in a large
// bias: -1e9 plus a score near 1 is -1e9 in float32, for every key. The weights of such keys are
// then all the same. Implementations that add the bias later, or in more bits, do not lose the
// score. Both results are right, and nothing else is.
type lostScores struct {
	// scores are rounded where float32, or the precision, loses a score. Others are exact.
	scores []float64
	// variance is the part of each score's variance that stands for the loss.
	variance []float64
	// weights is the softmax of the scores, nil if it was not needed.
	weights []float64
	// any is set if a score is lost.
	any bool
	// unsure is set if a score is rounded so coarsely that implementations differ, but is not lost.
	unsure bool
}

func (l *lostScores) reset() {
	*l = lostScores{scores: l.scores[:0], variance: l.variance[:0]}
}

// known reports whether the row has lost scores, and all of them are known.
func (l *lostScores) known() bool { return l.any && !l.unsure }

// hidesAll reports whether every score became -inf: the lowest float32 does in bfloat16. Such a row
// gives zeros.
func (l *lostScores) hidesAll() bool {
	return !slices.ContainsFunc(l.scores, func(s float64) bool { return !math.IsInf(s, -1) })
}

// coarse is the variance of a score above which its rounding is no small change: a hundredth of the
// score's unit.
const coarse = 1e-4

// addBiases adds biases to a score and stores the sum. It notes the scores that are lost.
func (r *row) addBiases(s, variance float64, biases []bias) (sum, sumVariance float64) {
	kept, lost, largest := s, 0.0, 0.0
	for _, b := range biases {
		before := variance + b.variance
		s, variance = r.Precision.sumWith(s, variance, b.value, b.variance)
		kept += b.value
		if math.Abs(b.value) > math.Abs(largest) {
			largest = b.value
		}
		if rounding := variance - before; rounding > coarse {
			kept, lost = r.lose(kept, largest), lost+rounding
		}
	}
	before := variance
	s, variance = r.Precision.storeScore(s, variance)
	if rounding := variance - before; rounding > coarse && len(biases) > 0 {
		kept, lost = r.lose(kept, largest), lost+rounding
	}
	r.lost.scores, r.lost.variance = append(r.lost.scores, kept), append(r.lost.variance, lost)
	return s, variance
}

// lose rounds a sum of a score and biases, and notes whether only the largest bias is left.
func (r *row) lose(sum, largest float64) float64 {
	rounded := r.Precision.Round(sum)
	if rounded == r.Precision.Round(largest) {
		r.lost.any = true
	} else {
		r.lost.unsure = true
	}
	return rounded
}

// losesScores reports whether the variance of the row's context must count its lost scores, all of
// which are known.
func (r *row) losesScores() bool { return r.lost.known() && r.noisy() && r.Softmax == nil }

// withoutLoss takes the loss of scores, which is known, out of their variances.
func (r *row) withoutLoss() {
	for n, v := range r.lost.variance {
		r.scoreVar[n] -= v
	}
}

// addLoss adds the distance to the context of a row without its lost scores to the variance, as one
// deviation.
func (w *workspace) addLoss(r *row) {
	out := r.context.of(r.number)
	exact := append([]float64{}, out.Value...)
	other := row{core: r.core, number: r.number, kvHead: r.kvHead, keys: r.keys, spans: r.spans}
	clear(out.Value)
	if r.lost.hidesAll() {
		other.weights = make([]float64, len(r.lost.scores))
	} else {
		sink := r.sinkScore(r.head)
		other.weights, other.sink = softmaxOf(r.lost.scores, math.Max(slices.Max(r.lost.scores), sink), sink, nil)
		w.mixWithoutNoise([]*row{&other})
	}
	for c, v := range out.Value {
		out.Variance[c] += (v - exact[c]) * (v - exact[c])
	}
	copy(out.Value, exact)
	r.lost.weights = other.weights
}
