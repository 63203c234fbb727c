package oracle

import (
	"math"
	"slices"

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

	// products holds q.k of the keys from first on, productNoise a part of its variance.
	products, productNoise []float64
	first                  int

	// Memory that is used again for the next query.
	weightMemory []float64
	sums         contextSums
}

// begin makes r the context row number, and finds the keys that take part.
func (r *row) begin(number int) {
	queries := r.q.Shape[len(r.q.Shape)-2]
	r.number, r.head, r.query = number, number/queries, number%queries
	r.kvHead = r.pass.kvHead(r.head)
	r.weights, r.slopes, r.sink, r.sinkVar = nil, nil, 0, 0
	if r.sights != nil {
		s := r.sightOf(r.head, r.query)
		r.keys, r.masked, r.spans = s.keys, s.masked, s.spans
	} else {
		r.keys, r.masked = r.masks.visible(r.head, r.query, r.keys[:0], r.masked[:0])
		r.spans = spansOf(r.keys, r.spans[:0])
	}
	r.scores, r.scoreVar = r.scores[:0], r.scoreVar[:0]
	r.lost.reset()
}

// score computes the scores of rows, and their variances:
//
//	s = c q.k;             Var s = c² (rounding of q.k + Σ k² Var q + Σ q² Var k)
//	                       + rounding of c and of the product
//	s' = cap tanh(s/cap):  Var s' = (1 - tanh²)² (Var s + rounding of s/cap) + 3 roundings of s'
//	s'' = s' + biases:     + rounding of each addition
func (w *workspace) score(rows []*row) {
	eachBlock(rows, func(block []*row, keys span) {
		w.multiplyKeys(block, keys)
		for _, r := range block {
			r.score()
		}
	})
}

// multiplyKeys computes q.k of the queries of a block, and of the keys of a span and some before
// it. It also computes the variance that is due to the terms of the sum, and to the noise of query
// and key:
//
//	Σ ((E/6 + 1) q² u²/3 + 2 roundings of q² as factors + Var q) k² + q² Var k
func (w *workspace) multiplyKeys(block []*row, keys span) {
	f, e := w.keysOf(block[0].kvHead), num.Last(w.q.Shape)
	w.takeQueries(block)
	right, first := f.values.Columns(keys.key, keys.key+keys.n)
	n := keys.key + keys.n - first
	w.products = numbers(w.products, len(block)*n)
	right.Mul(len(block), w.queries, e, w.products, n)
	if w.noisy() {
		squares, _ := f.squares.Columns(first, first+n)
		variance, _ := f.variance.Columns(first, first+n)
		w.productNoise = numbers(w.productNoise, len(block)*n)
		squares.Mul(len(block), w.queryNoise, e, w.productNoise, n)
		variance.MulAdd(len(block), w.querySquares, e, w.productNoise, n)
	}
	for i, r := range block {
		r.first, r.products = first, w.products[i*n:][:n]
		if w.noisy() {
			r.productNoise = w.productNoise[i*n:][:n]
		}
	}
}

// takeQueries copies the queries of a block side by side, with the factors of k² and of Var k.
func (w *workspace) takeQueries(block []*row) {
	w.queries, w.queryNoise, w.querySquares = w.queries[:0], w.queryNoise[:0], w.querySquares[:0]
	own := (float64(num.Last(w.q.Shape))/6+1)*roundoff + 2*w.Precision.factor
	for _, r := range block {
		q := w.q.row(r.number)
		w.queries = append(w.queries, q.Value...)
		if !w.noisy() {
			continue
		}
		for i, v := range q.Value {
			w.queryNoise = append(w.queryNoise, own*v*v+q.Variance[i])
			w.querySquares = append(w.querySquares, v*v)
		}
	}
}

// score computes the scores of a row from its products.
func (r *row) score() {
	width := float64(num.Last(r.q.Shape))
	if r.masks.plainScores() {
		r.plainScores(width)
		return
	}
	for n, j := range r.keys {
		product := r.products[j-r.first]
		var variance float64
		if r.noisy() {
			variance = (width/3+1)*roundoff*product*product + r.productNoise[j-r.first]
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

// plainScores computes the scores if they are q.k times the scale, and nothing else.
func (r *row) plainScores(width float64) {
	c := r.Scale
	r.scores, r.scoreVar = numbers(r.scores, len(r.keys)), numbers(r.scoreVar, len(r.keys))
	for _, span := range r.spans {
		products, scores := r.products[span.key-r.first:][:span.n], r.scores[span.first:][:span.n]
		for i, product := range products {
			scores[i] = c * product
		}
		variances := r.scoreVar[span.first:][:span.n]
		if !r.noisy() {
			clear(variances)
			continue
		}
		noise, own := r.productNoise[span.key-r.first:][:span.n], (width/3+1)*roundoff
		for i, product := range products {
			variance := own*product*product + noise[i]
			variances[i] = c * c * (variance + 2*roundoff*product*product)
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
	values = numbers(values, n)
	clear(values)
	return values
}

// numbers returns n numbers of any value, in the memory of values if it is large enough.
func numbers(values []float64, n int) []float64 { return slices.Grow(values[:0], n)[:n] }
