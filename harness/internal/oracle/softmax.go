package oracle

import (
	"math"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/attention/kernel"
)

// softmax turns scores into weights exp(s - top) / Σ. A sink is one more score, without a value,
// known as exactly as it is stored.
//
// It adds to the variance of each score the error of its exponential: the rounding of s - top, and
// (2u)² for exp. A softmax in a lower precision also rounds s, s - top and the exponential to it.
func (r *row) softmax() {
	switch {
	case len(r.keys) == 0 && r.EmptyMean:
		r.takeMean()
		return
	case len(r.keys) == 0:
		r.fillEmpty(r.context.of(r.number).Value)
		return
	}
	sink, lower := r.sinkScore(r.head), r.Precision.softmax
	for j, s := range r.scores {
		r.scoreVar[j] += lower * (s*s + 1)
	}
	if r.Softmax != nil {
		r.weights, r.slopes = r.Softmax(Row{r.head, r.query, r.keys, r.scores, r.masked, sink})
		return
	}
	top := math.Max(kernel.ScaleMax(r.scores, 1), sink) // a NaN shows in the exponentials
	r.weights, r.sink = softmaxOf(r.scores, top, sink, r.weightMemory[:0])
	r.weightMemory = r.weights
	for j, s := range r.scores {
		r.scoreVar[j] += (roundoff+lower)*(s-top)*(s-top) + 4*u*u
	}
	if r.sink > 0 {
		r.sinkVar = (roundoff+lower)*(sink-top)*(sink-top) + 4*u*u + r.Precision.stored*sink*sink +
			lower*(sink*sink+1)
	}
	if r.losesScores() {
		r.withoutLoss()
	}
}

// takeMean gives a query that sees no key the mean of all values.
func (r *row) takeMean() {
	keys := r.v.Shape[len(r.v.Shape)-2]
	r.keys = make([]int, 0, keys)
	r.weightMemory, r.scoreVar = zeros(r.weightMemory, keys), zeros(r.scoreVar, keys)
	for j := range keys {
		r.keys, r.weightMemory[j] = append(r.keys, j), 1/float64(keys)
	}
	r.weights, r.spans = r.weightMemory, spansOf(r.keys, nil)
}

// softmaxOf returns the weights of scores, appended to memory, and the weight of a sink. top is the
// largest of the scores and the sink's.
func softmaxOf(scores []float64, top, sinkScore float64, memory []float64) (weights []float64, sink float64) {
	weights = append(memory, scores...)
	sink = math.Exp(sinkScore - top)
	kernel.ExpSum(weights, top)
	total := 0.0 // in the order of the keys: hidden keys, which add zeros, do not change its bits
	for _, w := range weights {
		total += w
	}
	total += sink
	for j := range weights {
		weights[j] /= total
	}
	return weights, sink / total
}

// sinkScore returns one score that stands for all scores without a value in a head: its sink's and
// the zeros of ZeroKeys. It is -Inf if there are none.
func (p *Problem) sinkScore(head int) float64 {
	zeros := math.Log(float64(p.ZeroKeys))
	if p.Sinks == nil {
		return zeros
	}
	sink := p.Sinks[head%len(p.Sinks)]
	if p.ZeroKeys == 0 {
		return sink
	}
	return math.Max(sink, zeros) + math.Log1p(math.Exp(-math.Abs(sink-zeros)))
}

// weightsSumToOne reports whether the weights of a row, with its sink's, sum to one. An error of
// one score then moves weight between the values.
func (p *Problem) weightsSumToOne() bool { return p.Axis == OverKeys && p.Softmax == nil }

// storeWeights writes the weights of a row for all keys, and their variance:
//
//	Var p = p² ((1 - p)² Var s + Σ p'² Var s' over the others
//	            + rounding of Σ p, of p and of its division)
//	      + the least noise of p
//	      + (p - p')², with p' the weight where scores are lost: see lostScores
func (r *row) storeWeights(out Field) {
	if len(r.keys) == 0 {
		r.fillEmpty(out.Value)
		return
	}
	var all, squareSum float64
	for n, w := range r.weights {
		all += w * w * r.scoreVar[n]
		squareSum += w * w
	}
	all += r.sink * r.sink * r.sinkVar
	for n, j := range r.keys {
		w := r.weights[n]
		out.Value[j] = w
		if out.noisy() {
			relative := all + (1-2*w)*r.scoreVar[n] + sumOfProducts(len(r.weights), 1, squareSum) +
				2*(roundoff+r.Precision.softmax)
			out.Variance[j] = r.Precision.leastWeight() + w*w*relative
			if r.lost.weights != nil {
				out.Variance[j] += (r.lost.weights[n] - w) * (r.lost.weights[n] - w)
			}
		}
	}
}

// fillEmpty writes the context or the weights of a query that sees no key: zeros, or NaN if the
// problem says so. With a sink there is a softmax, and its result is zero.
func (p *Problem) fillEmpty(values []float64) {
	if p.EmptyRow == attention.EmptyNaN && p.Sinks == nil {
		for i := range values {
			values[i] = math.NaN()
		}
	}
}
