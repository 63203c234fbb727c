package oracle

import (
	"math"
	"slices"

	"github.com/difftest/difftest/attention"
)

// attend is softmax(scale q k^T + what is added) v, head by head and query by query:
// q (..., H, L, E), k (..., Hk, S, E), v (..., Hk, S, Ev) -> (..., H, L, Ev), and the weights
// (..., H, L, S), all zero unless they are kept.
func (p *Problem) attend(q, k, v Field, keep bool) (context, weights Field) {
	lead := q.Shape[:len(q.Shape)-2]
	queries, keys := q.Shape[len(lead)], k.Shape[len(k.Shape)-2]
	context = newField(append(slices.Clone(lead), queries, last(v.Shape))...)
	if keep {
		weights = newField(append(slices.Clone(lead), queries, keys)...)
	}
	view, all := p.view(keys), []*row{}
	heads := size(lead)
	group := heads / (len(k.Value) / (keys * last(k.Shape)))
	for n := range heads {
		partner := n / group
		if p.Partner != nil {
			partner = p.Partner(n)
		}
		for i := range queries {
			r := &row{p: p, view: &view, head: n, index: i, query: q.part(n).line(i), keys: k.part(partner), values: v.part(partner)}
			r.out = context.part(n).line(i)
			r.score()
			if p.Axis != OverKeys {
				all = append(all, r)
				continue
			}
			if r.softmax(); keep {
				r.keep(weights.part(n).line(i))
			}
		}
	}
	p.softmaxOver(all)
	return p.Precision.store(context), weights
}

// row is the attention of one query.
type row struct {
	p                   *Problem
	view                *view
	head, index         int // which query of which head
	query, keys, values Field
	out                 Field

	seen             []int  // keys that take part
	hidden           []bool // and whether a mask hides them
	scores, scoreVar []float64
	weights, slopes  []float64 // and how steep each is in its score, but for what all share
	sink, sinkVar    float64   // weight of the sink, and its variance as a score
}

// score gives the scores of the keys that the query sees, and their variance:
//
//	s = c q.k;             Var s = c² (rounding of q.k + Σ k² Var q + Σ q² Var k) + rounding of c and of the product
//	s' = cap tanh(s/cap):  Var s' = (1 - tanh²)² (Var s + rounding of s/cap) + 3 roundings of s'
//	s'' = s' + terms:      + rounding of each addition
//
// and what the softmax does to it, as errors of the score: rounding of s - max s + (2u)² for exp.
func (r *row) score() {
	r.seen, r.hidden = r.view.visible(r.head, r.index)
	e := len(r.query.Value)
	r.scores, r.scoreVar = make([]float64, len(r.seen)), make([]float64, len(r.seen))
	for n, j := range r.seen {
		key := r.keys.line(j)
		var sum, squares, carried float64
		for i, q := range r.query.Value {
			t := q * key.Value[i]
			sum += t
			squares += t * t
			carried += key.Value[i]*key.Value[i]*r.query.Variance[i] + q*q*key.Variance[i]
		}
		s, variance := r.p.score(sum, sumOfProducts(e, sum, squares)+carried+2*r.p.Precision.factor*squares)
		for _, term := range r.view.terms(r.head, r.index, j) {
			s, variance = sumWith(s, variance, term.value, term.variance)
		}
		variance += r.p.Precision.stored * s * s
		r.scores[n], r.scoreVar[n] = r.p.masked(s, variance, r.hidden[n])
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
	change := p.Seen
	if hidden {
		change = p.Hidden
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
		r.p.fillEmpty(r.out.Value)
		return
	}
	sink := r.p.sinkOf(r.head)
	if r.p.Weigh != nil {
		r.weights, r.slopes = r.p.Weigh(Row{r.head, r.index, r.seen, r.scores, r.hidden, sink})
		r.context()
		return
	}
	top, total := math.Max(slices.Max(r.scores), sink), 0.0
	r.weights = make([]float64, len(r.scores))
	for j, s := range r.scores {
		r.weights[j] = math.Exp(s - top)
		total += r.weights[j]
		r.scoreVar[j] += roundoff*(s-top)*(s-top) + 4*u*u
	}
	total += math.Exp(sink - top)
	for j := range r.weights {
		r.weights[j] /= total
	}
	if r.sink = math.Exp(sink-top) / total; r.sink > 0 {
		r.sinkVar = roundoff*(sink-top)*(sink-top) + 4*u*u + r.p.Precision.stored*sink*sink
	}
	r.context()
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

// context gives O = Σ p v over the visible keys, T of them, and its variance:
//
//	Var O = Σ p² (v - O)² Var s          an error of a score moves weight between the values, or
//	        Σ p'² v² Var s               where they do not add to one, see moved
//	      + rounding of Σ p v            T products
//	      + Σ p² Var v
//	      + O² rounding of Σ p           the softmax's denominator
//	      + rounding of p and of its division
//	      + underflow² (1 + Σ v²)        of O, and of p
func (r *row) context() {
	out, slopes := r.out, r.slopes
	if slopes == nil {
		slopes = r.weights
	}
	var squareSum float64
	for _, w := range r.weights {
		squareSum += w * w
	}
	width := len(out.Value)
	for c := range out.Value {
		var sum, squares float64
		for n, j := range r.seen {
			t := r.weights[n] * r.values.Value[j*width+c]
			sum += t
			squares += t * t
		}
		carried := sum * sum * r.p.moved(r.sink, r.sinkVar)
		for n, j := range r.seen {
			w, v := r.weights[n], r.values.Value[j*width+c]
			off := v - sum
			if !r.p.addsToOne() {
				off = v
			}
			carried += off*off*r.p.moved(slopes[n], r.scoreVar[n]) + w*w*r.values.Variance[j*width+c] + underflow*underflow*v*v
		}
		out.Value[c] = sum
		out.Variance[c] = underflow*underflow + carried + sumOfProducts(len(r.weights), sum, squares) + (r.p.Precision.stored+2*r.p.Precision.factor)*squares +
			sum*sum*(sumOfProducts(len(r.weights), 1, squareSum)+2*roundoff)
	}
}

// moved is the variance of a weight that an error of its score gives: p² (e^2V - 1)/2, which is p² V where
// the error is small, and never more than all the weight there is.
func (p *Problem) moved(slope, v float64) float64 {
	switch {
	case slope == 0:
		return 0
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

// addsToOne says whether the weights of a row do, with a sink's, so that an error of one score moves
// weight between the values.
func (p *Problem) addsToOne() bool { return p.Axis == OverKeys && p.Weigh == nil }

// keep writes the weights of all keys, and their variance:
//
//	Var p = p² ((1 - p)² Var s + Σ p'² Var s' over the others + rounding of Σ p, of p and of its division)
//	      + underflow²
func (r *row) keep(out Field) {
	if len(r.seen) == 0 {
		r.p.fillEmpty(out.Value)
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
		out.Variance[j] = underflow*underflow + w*w*(all+(1-2*w)*r.scoreVar[n]+sumOfProducts(len(r.weights), 1, squareSum)+2*roundoff)
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
