package oracle

import (
	"math"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas64"

	"github.com/difftest/difftest/harness/internal/num"
)

// mixValues computes the context O = Σ p v over the keys that take part, and its variance.
func (r *row) mixValues() {
	r.mixWithoutNoise()
	if r.noisy() {
		r.noiseOfContext(r.context.row(r.number), r.firstValue())
	}
}

func (r *row) mixWithoutNoise() {
	out, width, first := r.context.row(r.number), num.Last(r.v.Shape), r.firstValue()
	for _, s := range r.spans {
		values := r.v.Value[(first+s.key)*width:][:s.n*width]
		addRows(out.Value, r.weights[s.first:][:s.n], values, width)
	}
}

// firstValue returns the index of the first value of the row's key/value head.
func (r *row) firstValue() int { return r.kvHead * r.v.Shape[len(r.v.Shape)-2] }

// addRows adds the rows of a matrix, each times its weight, to sum. Rows begin a stride apart.
func addRows(sum, weights, values []float64, stride int) {
	rows := blas64.General{Rows: len(weights), Cols: len(sum), Stride: stride, Data: values}
	blas64.Gemv(blas.Trans, 1, rows, vector(weights), 1, vector(sum))
}

// contextSums are sums over the keys that take part, for a row with weights p.
type contextSums struct {
	squares  []float64 // p² of each key
	variance []float64 // b of each key: the variance that errors of scores give to p

	sumSquares  float64 // Σ p²
	sumVariance float64 // Σ b

	// For each feature of the values:
	valueSquares   []float64 // Σ p² v², followed by Σ p² Var v
	varianceSquare []float64 // Σ b v²
	varianceValue  []float64 // Σ b v
}

// noiseOfContext computes the variance of the context. first is the index of the first value of
// the row's key/value head.
//
//	Var O = Σ p² (v - O)² Var s          an error of a score moves weight between the values; or
//	        Σ p'² v² Var s               if weights do not sum to one, see weightNoise
//	      + rounding of Σ p v            T products
//	      + Σ p² Var v
//	      + O² rounding of Σ p           the denominator of the softmax
//	      + rounding of p and of its division
//	      + underflow² (1 + Σ v²)        of O, and of p
func (r *row) noiseOfContext(out Field, first int) {
	width := len(out.Value)
	r.computeSums(first, width)
	s, terms := &r.sums, len(r.weights)
	for c, sum := range out.Value {
		others := underflow*underflow + sum*sum*r.weightNoise(r.sink, r.sinkVar) + s.valueSquares[width+c] +
			sumOfProducts(terms, sum, s.valueSquares[c]) +
			(r.Precision.stored+r.Precision.softmax+2*r.Precision.factor)*s.valueSquares[c] +
			sum*sum*(r.noiseOfDenominator()+2*roundoff+r.Precision.softmax)
		// Beside a larger variance underflow is negligible.
		if others < 1e12*underflow*underflow*r.largest*float64(terms) {
			others += underflow * underflow * r.sumOfSquares(first, c)
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

// computeSums fills r.sums.
func (r *row) computeSums(first, width int) {
	s, slopes := &r.sums, r.slopes
	if slopes == nil {
		slopes = r.weights
	}
	s.squares, s.variance, s.sumSquares, s.sumVariance = s.squares[:0], s.variance[:0], 0, 0
	for n, w := range r.weights {
		b := r.weightNoise(slopes[n], r.scoreVar[n])
		s.squares, s.variance = append(s.squares, w*w), append(s.variance, b)
		s.sumSquares, s.sumVariance = s.sumSquares+w*w, s.sumVariance+b
	}
	s.valueSquares = zeros(s.valueSquares, 2*width)
	s.varianceSquare, s.varianceValue = zeros(s.varianceSquare, width), zeros(s.varianceValue, width)
	for _, span := range r.spans {
		at := first + span.key
		noise, b := r.valueNoise[at*2*width:][:span.n*2*width], s.variance[span.first:][:span.n]
		addRows(s.valueSquares, s.squares[span.first:][:span.n], noise, 2*width)
		addRows(s.varianceSquare, b, noise, 2*width)
		addRows(s.varianceValue, b, r.v.Value[at*width:][:span.n*width], width)
	}
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
	case v < 1e-9: // the next term of the series is negligible
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
