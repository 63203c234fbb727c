package oracle

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas64"

	"github.com/difftest/difftest/harness/internal/num"
)

// row is the attention of one query of one head.
type row struct {
	*core
	number              int // among all context rows
	head, query, kvHead int

	lost             lostScores
	keys             []int  // keys that take part
	masked           []bool // whether a mask hides the key
	spans            []span // the same keys in spans
	scores, scoreVar []float64

	weights []float64
	slopes  []float64 // derivative of each weight by its score, if the Softmax hook is set
	sink    float64   // weight of the sink
	sinkVar float64   // variance of the sink's score

	// Memory that is used again for the next query.
	weightMemory           []float64
	queryNoise             []float64 // see noiseOfQuery
	products, productNoise []float64 // q.k of each key, and a part of its variance
	sums                   contextSums
}

// span is a span of n keys side by side. first is the index of its first key in row.keys, key the
// index among all keys.
type span struct{ first, key, n int }

// findSpans joins neighbouring keys into spans.
func (r *row) findSpans() {
	r.spans = r.spans[:0]
	for n, j := range r.keys {
		if last := len(r.spans) - 1; last >= 0 && r.spans[last].key+r.spans[last].n == j {
			r.spans[last].n++
			continue
		}
		r.spans = append(r.spans, span{n, j, 1})
	}
}

// score computes the scores of context row number, and their variances:
//
//	s = c q.k;             Var s = c² (rounding of q.k + Σ k² Var q + Σ q² Var k)
//	                       + rounding of c and of the product
//	s' = cap tanh(s/cap):  Var s' = (1 - tanh²)² (Var s + rounding of s/cap) + 3 roundings of s'
//	s'' = s' + biases:     + rounding of each addition
func (r *row) score(number int) {
	queries, width := r.q.Shape[len(r.q.Shape)-2], num.Last(r.q.Shape)
	r.number, r.head, r.query = number, number/queries, number%queries
	r.kvHead = r.pass.kvHead(r.head)
	r.weights, r.slopes, r.sink, r.sinkVar = nil, nil, 0, 0
	r.keys, r.masked = r.masks.visible(r.head, r.query, r.keys[:0], r.masked[:0])
	r.scores, r.scoreVar = r.scores[:0], r.scoreVar[:0]
	r.lost.reset()
	r.findSpans()
	q := r.q.row(number)
	r.noiseOfQuery(q)
	r.multiplyKeys(q)
	for n, j := range r.keys {
		product, variance := r.products[n], 0.0
		if r.noisy() {
			variance = (float64(width)/3+1)*roundoff*product*product + r.productNoise[n]
		}
		s, variance := r.pass.score(product, variance)
		biases, count := r.masks.biases(r.head, r.query, j)
		s, variance = r.addBiases(s, variance, biases[:count])
		change := r.VisibleScore
		if r.masked[n] {
			change = r.MaskedScore
		}
		s, variance = changedScore(change, s, variance)
		r.scores, r.scoreVar = append(r.scores, s), append(r.scoreVar, variance)
	}
}

// noiseOfQuery prepares the factors of k² and of Var k, (2E), in the variance of q.k. It is due to
// the terms of the sum and to the noise of query and key:
//
//	Σ ((E/6 + 1) q² u²/3 + 2 roundings of q² as factors + Var q) k² + q² Var k
func (r *row) noiseOfQuery(q Field) {
	if !r.noisy() {
		return
	}
	r.queryNoise = r.queryNoise[:0]
	own := (float64(len(q.Value))/6+1)*roundoff + 2*r.Precision.factor
	for i, v := range q.Value {
		r.queryNoise = append(r.queryNoise, own*v*v+q.Variance[i])
	}
	for _, v := range q.Value {
		r.queryNoise = append(r.queryNoise, v*v)
	}
}

// multiplyKeys computes q.k of each key, and the variance that noiseOfQuery describes.
func (r *row) multiplyKeys(q Field) {
	width, first := len(q.Value), r.kvHead*r.k.Shape[len(r.k.Shape)-2]
	r.products = zeros(r.products, len(r.keys))
	if r.noisy() {
		r.productNoise = zeros(r.productNoise, len(r.keys))
	}
	for _, s := range r.spans {
		at := first + s.key
		keys := matrix(r.k.Value[at*width:][:s.n*width], width, width)
		blas64.Gemv(blas.NoTrans, 1, keys, vector(q.Value), 0, vector(r.products[s.first:][:s.n]))
		if r.noisy() {
			noise := matrix(r.keyNoise[at*2*width:][:s.n*2*width], 2*width, 2*width)
			blas64.Gemv(blas.NoTrans, 1, noise, vector(r.queryNoise), 0, vector(r.productNoise[s.first:][:s.n]))
		}
	}
}

// score scales q.k, which has the given variance, and applies the softcap.
func (p *Problem) score(product, variance float64) (s, scoreVar float64) {
	if p.Score != nil {
		s, slope := p.Score(product)
		return s, slope*slope*variance + 4*roundoff*s*s
	}
	c := p.Scale
	s, scoreVar = c*product, c*c*(variance+2*roundoff*product*product)
	if limit := p.Softcap; limit > 0 {
		t := math.Tanh(s / limit)
		scoreVar = (1-t*t)*(1-t*t)*(scoreVar+roundoff*s*s) + 3*roundoff*limit*limit*t*t
		s = limit * t
	}
	return s, scoreVar
}

// changedScore applies a hook to a score. A constant that replaces the score has no noise.
func changedScore(change func(float64) (s, slope float64), score, variance float64) (s, scoreVar float64) {
	if change == nil {
		return score, variance
	}
	s, slope := change(score)
	if s != score && slope != 0 {
		variance += roundoff * s * s / (slope * slope)
	}
	return s, slope * slope * variance
}

// zeros returns n zeros, in the memory of values if it is large enough.
func zeros(values []float64, n int) []float64 {
	values = slices.Grow(values[:0], n)[:n]
	clear(values)
	return values
}
