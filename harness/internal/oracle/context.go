package oracle

import (
	"math"

	"github.com/difftest/difftest/attention/kernel"
	"github.com/difftest/difftest/harness/internal/num"
)

// mix computes the contexts O = Σ p v of rows that have weights, and their variances.
func (w *workspace) mix(rows []*row) {
	eachBlock(rows, func(block []*row, keys span) {
		w.mixBlock(block, keys)
		for _, r := range block {
			if r.noisy() {
				r.noiseOfContext(r.context.of(r.number))
			}
		}
	})
}

// mixWithoutNoise computes the contexts alone.
func (w *workspace) mixWithoutNoise(rows []*row) {
	eachBlock(rows, w.mixWeights)
}

// mixBlock computes the contexts of a block whose keys lie in a span, and the sums over keys that
// their variances need.
func (w *workspace) mixBlock(block []*row, keys span) {
	w.mixWeights(block, keys)
	if !w.noisy() {
		return
	}
	for _, r := range block {
		r.computeSums()
	}
	f := w.valuesOf(block[0].kvHead)
	squares := func(r *row) []float64 { return r.sums.squares }
	variance := func(r *row) []float64 { return r.sums.variance }
	w.multiplyValues(w.mixed[1:], block, keys, squares, f.squares, f.variance)
	w.multiplyValues(w.mixed[3:], block, keys, variance, f.squares, f.values)
	width := num.Last(w.v.Shape)
	for i, r := range block {
		s := &r.sums
		for n, to := range []*[]float64{&s.valueSquares, &s.valueVariance, &s.varianceSquare, &s.varianceValue} {
			*to = w.mixed[n+1][i*width:][:width]
		}
	}
}

// mixWeights computes the values of contexts.
func (w *workspace) mixWeights(block []*row, keys span) {
	f, width := w.valuesOf(block[0].kvHead), num.Last(w.v.Shape)
	w.multiplyValues(w.mixed[:], block, keys, func(r *row) []float64 { return r.weights }, f.values)
	for i, r := range block {
		copy(r.context.of(r.number).Value, w.mixed[0][i*width:][:width])
	}
}

// multiplyValues computes products of a number for each key that takes part and of factors of the
// keys: (rows, S) and (S, Ev) -> (rows, Ev). Other keys count as zeros, or are left out if a zero
// times their value is not zero.
func (w *workspace) multiplyValues(
	products [][]float64, block []*row, keys span, of func(*row) []float64, factors ...kernel.Right[float64],
) {
	width := num.Last(w.v.Shape)
	if w.valuesOf(block[0].kvHead).finite {
		left := w.spread(block, keys, of)
		for n, right := range factors {
			products[n] = numbers(products[n], len(block)*width)
			right.Rows(keys.key, keys.n).Mul(len(block), left, keys.n, products[n], width)
		}
		return
	}
	for n, right := range factors {
		products[n] = zeros(products[n], len(block)*width)
		for i, r := range block {
			for _, s := range r.spans {
				right.Rows(s.key, s.n).MulAdd(1, of(r)[s.first:], s.n, products[n][i*width:], width)
			}
		}
	}
}

// spread writes a number for each key that takes part in each row into a matrix (rows, keys of the
// span), and zeros for the others.
func (w *workspace) spread(block []*row, keys span, of func(*row) []float64) []float64 {
	w.dense = numbers(w.dense, len(block)*keys.n)
	for i, r := range block {
		to, from, done := w.dense[i*keys.n:][:keys.n], of(r), 0
		for _, s := range r.spans {
			at := s.key - keys.key
			clear(to[done:at])
			copy(to[at:], from[s.first:][:s.n])
			done = at + s.n
		}
		clear(to[done:])
	}
	return w.dense
}

// contextSums are sums over the keys that take part, for a row with weights p.
type contextSums struct {
	squares  []float64 // p² of each key
	variance []float64 // b of each key: the variance that errors of scores give to p

	sumSquares  float64 // Σ p²
	sumVariance float64 // Σ b

	// For each feature of the values:
	valueSquares   []float64 // Σ p² v²
	valueVariance  []float64 // Σ p² Var v
	varianceSquare []float64 // Σ b v²
	varianceValue  []float64 // Σ b v
}

// noiseOfContext computes the variance of the context from the row's sums.
//
//	Var O = Σ p² (v - O)² Var s          an error of a score moves weight between the values; or
//	        Σ p'² v² Var s               if weights do not sum to one, see weightNoise
//	      + rounding of Σ p v            T products
//	      + Σ p² Var v
//	      + O² rounding of Σ p           the denominator of the softmax
//	      + rounding of p and of its division
//	      + underflow² + Σ v² times the least noise of p
func (r *row) noiseOfContext(out Field) {
	first := r.kvHead * r.v.Shape[len(r.v.Shape)-2]
	s, terms := &r.sums, len(r.weights)
	for c, sum := range out.Value {
		others := underflow*underflow + sum*sum*r.weightNoise(r.sink, r.sinkVar) + s.valueVariance[c] +
			sumOfProducts(terms, sum, s.valueSquares[c]) +
			(r.Precision.stored+r.Precision.softmax+2*r.Precision.factor)*s.valueSquares[c] +
			sum*sum*(r.noiseOfDenominator()+2*roundoff+r.Precision.softmax)
		// Beside a larger variance the noise of the smallest weights is negligible.
		if least := r.Precision.leastWeight(); others < 1e12*least*r.largest*float64(terms) {
			others += least * r.sumOfSquares(first, c)
		}
		out.Variance[c] = others + r.noiseOfScores(first, c, sum, others)
	}
}

// noiseOfDenominator returns the variance that rounding gives to Σ p, which is 1. Keys of zeros
// give equal terms. The additions of equal terms may all be rounded in the same direction.
func (r *row) noiseOfDenominator() float64 {
	equal := float64(r.ZeroKeys)
	return sumOfProducts(len(r.weights), 1, r.sums.sumSquares) + roundoff*equal*equal/4
}

// computeSums fills the part of r.sums that no values need.
func (r *row) computeSums() {
	s, slopes, n := &r.sums, r.slopes, len(r.weights)
	if slopes == nil {
		slopes = r.weights
	}
	s.squares, s.variance = numbers(s.squares, n), numbers(s.variance, n)
	var sumSquares, sumVariance float64
	squares, variances, scoreVar := s.squares[:n], s.variance[:n], r.scoreVar[:n]
	for i, w := range r.weights {
		slope, v := slopes[i], scoreVar[i]
		b := slope * slope * v * (1 + v) // as weightNoise has it for small v
		if v >= smallVariance || r.Precision.small || slope == 0 {
			b = r.weightNoise(slope, v)
		}
		squares[i], variances[i] = w*w, b
		sumSquares += w * w
		sumVariance += b
	}
	s.sumSquares, s.sumVariance = sumSquares, sumVariance
}

// noiseOfScores returns the variance that errors of the scores give to one feature of the context,
//
//	Σ b (v - O)² = Σ b v² - 2 O Σ b v + O² Σ b
//
// It computes the left side where the right side would lose too many digits, compared with the
// other noise.
func (r *row) noiseOfScores(first, feature int, context, others float64) float64 {
	s := &r.sums
	if !r.weightsSumToOne() {
		return s.varianceSquare[feature]
	}
	square := s.varianceSquare[feature]
	sum := square - 2*context*s.varianceValue[feature] + context*context*s.sumVariance
	lost := 1e-6 * float64(len(s.variance)) * (square + context*context*s.sumVariance)
	if lost <= sum+others {
		return sum
	}
	sum = 0
	for n, j := range r.keys {
		off := r.v.Value[(first+j)*num.Last(r.v.Shape)+feature] - context
		sum += s.variance[n] * off * off
	}
	return sum
}

// smallVariance is the variance of a score below which the series of e^2v has a negligible third
// term.
const smallVariance = 1e-9

// weightNoise returns the variance of a weight p whose score has variance v:
//
//	p² (e^2v - 1)/2 = ∫ p² e^2t dt from 0 to v
//
// It is p² v for small errors. Large errors grow with the slope of the exponential. The variance is
// at most 1 if weights sum to one. slope is the derivative of the weight by its score: p in a
// softmax.
func (p *Problem) weightNoise(slope, v float64) float64 {
	switch {
	case slope == 0:
		return 0
	case p.Precision.small:
		return slope * slope * v
	case v < smallVariance:
		return slope * slope * v * (1 + v)
	case v < 0.1:
		v = slope * slope * math.Expm1(2*v) / 2
	default: // p² may underflow and e^2v overflow
		v = math.Exp(2*(math.Log(math.Abs(slope))+v))/2 - slope*slope/2
	}
	if p.weightsSumToOne() {
		return min(v, 1)
	}
	return v
}

// sumOfSquares returns Σ v² of one feature, over the keys that take part.
func (r *row) sumOfSquares(first, feature int) float64 {
	width, sum := num.Last(r.v.Shape), 0.0
	for _, j := range r.keys {
		v := r.v.Value[(first+j)*width+feature]
		sum += v * v
	}
	return sum
}
