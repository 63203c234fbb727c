package oracle

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas64"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/num"
)

// attend is softmax(scale q k^T + what is added) v, head by head and query by query:
// q (..., H, L, E), k (..., Hk, S, E), v (..., Hk, S, Ev) -> (..., H, L, Ev) of the lines that are wanted, and
// the weights (..., H, L, S), if they are kept.
func (s *pass) attend(q, k, v Field, lines wanted, keep bool) (context, weights Field) {
	lead := q.Shape[:len(q.Shape)-2]
	queries, keys := q.Shape[len(lead)], k.Shape[len(k.Shape)-2]
	context = newField(s.noise, append(slices.Clone(lead), queries, num.Last(v.Shape))...)
	if keep {
		weights = newField(s.noise, append(slices.Clone(lead), queries, keys)...)
	}
	a := &attending{pass: s, view: s.view(keys), q: q, k: k, v: v, context: context, weights: weights, lines: lines}
	a.squared()
	classes := s.classes(num.Size(lead), queries, lines)
	pool := newPool(a)
	each := len(slices.Concat(classes[:min(1, len(classes))]...)) * keys * (num.Last(k.Shape) + num.Last(v.Shape))
	s.parallel(len(classes), each, func(i int) {
		rows := pool.take(len(classes[i]))
		for n, line := range classes[i] {
			rows[n].score(line)
		}
		a.weigh(rows)
		pool.put(rows)
	})
	return s.Precision.store(context), weights
}

// attending is what all queries share.
type attending struct {
	*pass
	view             view
	q, k, v          Field
	context, weights Field // weights are empty where they are not kept
	lines            wanted

	// For the noise of scores and of the context: beside each key (k², Var k), (2E), and beside each value
	// (v², Var v), (2Ev); the largest v².
	keyNoise, valueNoise []float64
	largest              float64
}

func (a *attending) squared() {
	if !a.noise {
		return
	}
	a.keyNoise, a.valueNoise = squaresAndNoise(a.k), squaresAndNoise(a.v)
	for _, v := range a.v.Value {
		a.largest = math.Max(a.largest, v*v)
	}
}

// squaresAndNoise puts the squares of each row and its variances side by side.
func squaresAndNoise(f Field) []float64 {
	width := num.Last(f.Shape)
	all := make([]float64, 0, 2*len(f.Value))
	for at := 0; at < len(f.Value); at += width {
		for _, v := range f.Value[at:][:width] {
			all = append(all, v*v)
		}
		all = append(all, f.Variance[at:][:width]...)
	}
	return all
}

// weigh gives the contexts of rows whose softmaxes run over the same scores.
func (a *attending) weigh(rows []*row) {
	if a.Axis != OverKeys {
		a.softmaxOver(rows)
		return
	}
	for _, r := range rows {
		r.softmax()
		if a.weights.Value != nil {
			r.keep(a.weights.line(r.line))
		}
	}
}

// row is the attention of one query.
type row struct {
	*attending
	line, head, index, partner int // which query of which head, and who serves it

	seen             []int  // keys that take part
	hidden           []bool // and whether a mask hides them
	scores, scoreVar []float64
	weights, slopes  []float64 // and how steep each is in its score, but for what all share
	sink, sinkVar    float64   // weight of the sink, and its variance as a score

	runs []run // of seen

	own, terms, products, noises []float64 // memory for weights, and for scores
	sums                         contextSums
}

// run is n keys that are seen and stand side by side: the place of the first among all that are seen, and
// among all keys.
type run struct{ seen, key, n int }

// findRuns takes apart the keys that are seen.
func (r *row) findRuns() {
	r.runs = r.runs[:0]
	for n, j := range r.seen {
		if last := len(r.runs) - 1; last >= 0 && r.runs[last].key+r.runs[last].n == j {
			r.runs[last].n++
			continue
		}
		r.runs = append(r.runs, run{n, j, 1})
	}
}

// score gives the scores of the keys that the query sees, and their variance:
//
//	s = c q.k;             Var s = c² (rounding of q.k + Σ k² Var q + Σ q² Var k) + rounding of c and of the product
//	s' = cap tanh(s/cap):  Var s' = (1 - tanh²)² (Var s + rounding of s/cap) + 3 roundings of s'
//	s'' = s' + terms:      + rounding of each addition
//
// and what the softmax does to it, as errors of the score: rounding of s - max s + (2u)² for exp.
func (r *row) score(line int) {
	queries, e := r.q.Shape[len(r.q.Shape)-2], num.Last(r.q.Shape)
	r.line, r.head, r.index = line, line/queries, line%queries
	r.partner = r.pass.partner(r.head)
	r.weights, r.slopes, r.sink, r.sinkVar = nil, nil, 0, 0
	r.seen, r.hidden = r.view.visible(r.head, r.index, r.seen[:0], r.hidden[:0])
	r.scores, r.scoreVar = r.scores[:0], r.scoreVar[:0]
	r.findRuns()
	q := r.q.line(line)
	r.noiseOfQuery(q)
	r.multiplyKeys(q)
	for n, j := range r.seen {
		sum, variance := r.products[n], 0.0
		if r.noise {
			variance = (float64(e)/3+1)*roundoff*sum*sum + r.noises[n]
		}
		s, variance := r.pass.score(sum, variance)
		terms, count := r.view.terms(r.head, r.index, j)
		for _, term := range terms[:count] {
			s, variance = sumWith(s, variance, term.value, term.variance)
		}
		variance += r.Precision.stored * s * s
		s, variance = r.masked(s, variance, r.hidden[n])
		r.scores, r.scoreVar = append(r.scores, s), append(r.scoreVar, variance)
	}
}

// multiplyKeys gives q.k of the keys that are seen, and what noise grows with.
func (r *row) multiplyKeys(q Field) {
	e, keys := len(q.Value), r.partner*r.k.Shape[len(r.k.Shape)-2]
	r.products = zeros(r.products, len(r.seen))
	if r.noise {
		r.noises = zeros(r.noises, len(r.seen))
	}
	for _, run := range r.runs {
		at := keys + run.key
		blas64.Gemv(blas.NoTrans, 1, matrix(r.k.Value[at*e:][:run.n*e], e, e), vector(q.Value), 0, vector(r.products[run.seen:][:run.n]))
		if r.noise {
			blas64.Gemv(blas.NoTrans, 1, matrix(r.keyNoise[at*2*e:][:run.n*2*e], 2*e, 2*e), vector(r.terms), 0, vector(r.noises[run.seen:][:run.n]))
		}
	}
}

// noiseOfQuery is what k² and Var k are multiplied by in the variance of q.k: the roundings of the sum that
// grow with its terms, and what query and key carry on,
//
//	Σ ((E/6 + 1) q² u²/3 + 2 roundings of q² as factors + Var q) k² + q² Var k
func (r *row) noiseOfQuery(q Field) {
	if !r.noise {
		return
	}
	r.terms = r.terms[:0]
	own := (float64(len(q.Value))/6+1)*roundoff + 2*r.Precision.factor
	for i, v := range q.Value {
		r.terms = append(r.terms, own*v*v+q.Variance[i])
	}
	for _, v := range q.Value {
		r.terms = append(r.terms, v*v)
	}
}

// score scales a product, of its own variance, and caps it.
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

// masked is what a mask makes of a score, where it does not take the key away. A constant has no noise.
func (p *Problem) masked(score, variance float64, hidden bool) (s, scoreVar float64) {
	change := p.VisibleScore
	if hidden {
		change = p.MaskedScore
	}
	if change == nil {
		return score, variance
	}
	s, slope := change(score)
	if s != score && slope != 0 {
		variance += roundoff * s * s / (slope * slope)
	}
	return s, slope * slope * variance
}

// softmax gives exp(s - top) / sum, and the context. A sink is one more score, known as
// exactly as it is stored, without a value.
func (r *row) softmax() {
	if len(r.seen) == 0 {
		r.fillEmpty(r.context.line(r.line).Value)
		return
	}
	sink := r.sinkOf(r.head)
	if r.Softmax != nil {
		r.weights, r.slopes = r.Softmax(Row{r.head, r.index, r.seen, r.scores, r.hidden, sink})
		r.contextOf()
		return
	}
	top, total := math.Max(slices.Max(r.scores), sink), 0.0
	r.own = r.own[:0]
	for j, s := range r.scores {
		w := math.Exp(s - top)
		r.own = append(r.own, w)
		total += w
		r.scoreVar[j] += roundoff*(s-top)*(s-top) + 4*u*u
	}
	r.weights = r.own
	total += math.Exp(sink - top)
	for j := range r.weights {
		r.weights[j] /= total
	}
	if r.sink = math.Exp(sink-top) / total; r.sink > 0 {
		r.sinkVar = roundoff*(sink-top)*(sink-top) + 4*u*u + r.Precision.stored*sink*sink
	}
	r.contextOf()
}

// sinkOf is the score without a value that the softmaxes of a head have: that of its sink, and of keys
// of zeros; -Inf where it has none.
func (p *Problem) sinkOf(head int) float64 {
	zeros := math.Log(float64(p.ZeroKeys))
	if p.Sinks == nil {
		return zeros
	}
	sink := p.Sinks[head%p.heads()]
	if p.ZeroKeys == 0 {
		return sink
	}
	return math.Max(sink, zeros) + math.Log1p(math.Exp(-math.Abs(sink-zeros)))
}

// contextOf gives O = Σ p v over the visible keys, T of them, and its variance.
func (r *row) contextOf() {
	out, width := r.context.line(r.line), num.Last(r.v.Shape)
	values := r.partner * r.v.Shape[len(r.v.Shape)-2]
	for _, run := range r.runs {
		addRows(out.Value, r.weights[run.seen:][:run.n], r.v.Value[(values+run.key)*width:][:run.n*width], width)
	}
	if r.noise {
		r.noiseOfContext(out, values)
	}
}

// addRows adds the rows of a matrix that begin a stride apart, each times a weight, to a sum.
func addRows(sum, weights, values []float64, stride int) {
	blas64.Gemv(blas.Trans, 1, blas64.General{Rows: len(weights), Cols: len(sum), Stride: stride, Data: values}, vector(weights), 1, vector(sum))
}

// contextSums are sums over the keys that are seen, for each feature of the context.
type contextSums struct {
	w, b    []float64 // p² and the variance that errors of scores give p, of each key
	squares []float64 // Σ p² v², and behind them Σ p² Var v
	bSquare []float64 // Σ b v²
	bValue  []float64 // Σ b v
	p2, all float64   // Σ p², Σ b
}

// noiseOfContext is
//
//	Var O = Σ p² (v - O)² Var s          an error of a score moves weight between the values, or
//	        Σ p'² v² Var s               where they do not add to one, see moved
//	      + rounding of Σ p v            T products
//	      + Σ p² Var v
//	      + O² rounding of Σ p           the softmax's denominator
//	      + rounding of p and of its division
//	      + underflow² (1 + Σ v²)        of O, and of p
func (r *row) noiseOfContext(out Field, values int) {
	r.sum(values, len(out.Value))
	s, terms := &r.sums, len(r.weights)
	for c, sum := range out.Value {
		others := underflow*underflow + sum*sum*r.moved(r.sink, r.sinkVar) + s.squares[len(out.Value)+c] +
			sumOfProducts(terms, sum, s.squares[c]) + (r.Precision.stored+2*r.Precision.factor)*s.squares[c] +
			sum*sum*(sumOfProducts(terms, 1, s.p2)+2*roundoff)
		if others < 1e12*underflow*underflow*r.largest*float64(terms) { // elsewhere underflow is lost in it
			others += underflow * underflow * r.sumOfSquares(values, c)
		}
		out.Variance[c] = others + r.ofScores(values, c, sum, others)
	}
}

// sum fills in the sums.
func (r *row) sum(values, width int) {
	s, slopes := &r.sums, r.slopes
	if slopes == nil {
		slopes = r.weights
	}
	s.w, s.b, s.p2, s.all = s.w[:0], s.b[:0], 0, 0
	for n, w := range r.weights {
		b := r.moved(slopes[n], r.scoreVar[n])
		s.w, s.b = append(s.w, w*w), append(s.b, b)
		s.p2, s.all = s.p2+w*w, s.all+b
	}
	s.squares, s.bSquare, s.bValue = zeros(s.squares, 2*width), zeros(s.bSquare, width), zeros(s.bValue, width)
	for _, run := range r.runs {
		at := values + run.key
		noise, b := r.valueNoise[at*2*width:][:run.n*2*width], s.b[run.seen:][:run.n]
		addRows(s.squares, s.w[run.seen:][:run.n], noise, 2*width)
		addRows(s.bSquare, b, noise, 2*width)
		addRows(s.bValue, b, r.v.Value[at*width:][:run.n*width], width)
	}
}

// ofScores is what errors of the scores do to one feature of the context, where
//
//	Σ b (v - O)² = Σ b v² - 2 O Σ b v + O² Σ b
//
// unless the difference is so small that nothing of it would be left, beside the other noise.
func (r *row) ofScores(values, feature int, context, others float64) float64 {
	s := &r.sums
	if !r.addsToOne() {
		return s.bSquare[feature]
	}
	sum := s.bSquare[feature] - 2*context*s.bValue[feature] + context*context*s.all
	if lost := 1e-6 * float64(len(s.b)) * (s.bSquare[feature] + context*context*s.all); lost <= sum+others {
		return sum
	}
	sum = 0
	for n, j := range r.seen {
		off := r.v.Value[(values+j)*num.Last(r.v.Shape)+feature] - context
		sum += s.b[n] * off * off
	}
	return sum
}

// moved is the variance of a weight that an error of its score gives: p² (e^2V - 1)/2, which is p² V where
// the error is small, and never more than all the weight there is.
func (p *Problem) moved(slope, v float64) float64 {
	switch {
	case slope == 0:
		return 0
	case v < 1e-9: // the next term is lost
		return slope * slope * v * (1 + v)
	case v < 0.1:
		v = slope * slope * math.Expm1(2*v) / 2
	default: // p² may be zero, and e^2V infinite
		v = math.Exp(2*(math.Log(math.Abs(slope))+v))/2 - slope*slope/2
	}
	if p.addsToOne() {
		return min(v, 1)
	}
	return v
}

// sumOfSquares is that of one feature of all values that are seen.
func (r *row) sumOfSquares(values, feature int) float64 {
	width, sum := num.Last(r.v.Shape), 0.0
	for _, j := range r.seen {
		v := r.v.Value[(values+j)*width+feature]
		sum += v * v
	}
	return sum
}

// zeros is n of them, in memory that may be there.
func zeros(values []float64, n int) []float64 {
	values = slices.Grow(values[:0], n)[:n]
	clear(values)
	return values
}

// addsToOne says whether the weights of a row do, with a sink's, so that an error of one score moves
// weight between the values.
func (p *Problem) addsToOne() bool { return p.Axis == OverKeys && p.Softmax == nil }

// keep writes the weights of all keys, and their variance:
//
//	Var p = p² ((1 - p)² Var s + Σ p'² Var s' over the others + rounding of Σ p, of p and of its division)
//	      + underflow²
func (r *row) keep(out Field) {
	if len(r.seen) == 0 {
		r.fillEmpty(out.Value)
		return
	}
	var all, squareSum float64
	for n, w := range r.weights {
		all += w * w * r.scoreVar[n]
		squareSum += w * w
	}
	all += r.sink * r.sink * r.sinkVar
	for n, j := range r.seen {
		w := r.weights[n]
		out.Value[j] = w
		if out.noisy() {
			out.Variance[j] = underflow*underflow + w*w*(all+(1-2*w)*r.scoreVar[n]+sumOfProducts(len(r.weights), 1, squareSum)+2*roundoff)
		}
	}
}

// underflow is float32's smallest normal number: what is smaller may become zero.
const underflow = 0x1p-126

// fillEmpty is what a query gives that sees no key. Beside a sink there is a softmax, and it gives zeros.
func (p *Problem) fillEmpty(values []float64) {
	if p.EmptyRow == attention.EmptyNaN && p.Sinks == nil {
		for i := range values {
			values[i] = math.NaN()
		}
	}
}
