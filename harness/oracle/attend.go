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
	view := p.view(keys)
	heads := size(lead)
	group := heads / (len(k.Value) / (keys * last(k.Shape)))
	for n := range heads {
		for i := range queries {
			r := row{p: p, query: q.part(n).line(i), keys: k.part(n / group), values: v.part(n / group)}
			r.seen = view.visible(n, i)
			r.terms = func(j int) []term { return view.terms(n, i, j) }
			if r.attend(n%p.heads(), context.part(n).line(i)); keep {
				r.keep(weights.part(n).line(i))
			}
		}
	}
	return p.Precision.store(context), weights
}

// row is the attention of one query.
type row struct {
	p                   *Problem
	query, keys, values Field
	seen                []int              // keys that it sees
	terms               func(j int) []term // what is added to the score of a key

	scores, scoreVar, weights []float64 // of the keys seen
	sink, sinkVar             float64   // weight of the sink, and its variance as a score
}

func (r *row) attend(head int, context Field) {
	if len(r.seen) == 0 {
		fillEmpty(context.Value, r.p.EmptyRow)
		return
	}
	r.score()
	r.softmax(head)
	r.context(context)
}

// score gives the scores of the keys that the query sees, and their variance:
//
//	s = c q.k;             Var s = c² (rounding of q.k + Σ k² Var q + Σ q² Var k) + rounding of c and of the product
//	s' = cap tanh(s/cap):  Var s' = (1 - tanh²)² (Var s + rounding of s/cap) + 3 roundings of s'
//	s'' = s' + terms:      + rounding of each addition
//
// and what the softmax does to it, as errors of the score: rounding of s - max s + (2u)² for exp.
func (r *row) score() {
	e := len(r.query.Value)
	r.scores, r.scoreVar = make([]float64, len(r.seen)), make([]float64, len(r.seen))
	c := r.p.Scale
	for n, j := range r.seen {
		key := r.keys.line(j)
		var sum, squares, carried float64
		for i, q := range r.query.Value {
			t := q * key.Value[i]
			sum += t
			squares += t * t
			carried += key.Value[i]*key.Value[i]*r.query.Variance[i] + q*q*key.Variance[i]
		}
		s, variance := c*sum, c*c*(sumOfProducts(e, sum, squares)+carried+2*roundoff*sum*sum)
		if limit := r.p.Softcap; limit > 0 {
			t := math.Tanh(s / limit)
			variance = (1-t*t)*(1-t*t)*(variance+roundoff*s*s) + 3*roundoff*limit*limit*t*t
			s = limit * t
		}
		for _, term := range r.terms(j) {
			s, variance = sumWith(s, variance, term.value, term.variance)
		}
		r.scores[n], r.scoreVar[n] = s, variance+r.p.Precision.stored*s*s
	}
}

// softmax gives exp(s - top) / sum. A sink is one more score, known exactly, without a value.
func (r *row) softmax(head int) {
	top, total, sink := slices.Max(r.scores), 0.0, math.Inf(-1)
	if r.p.Sinks != nil {
		sink = r.p.Sinks[head]
		top = math.Max(top, sink)
	}
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
		r.sinkVar = roundoff*(sink-top)*(sink-top) + 4*u*u
	}
}

// context gives O = Σ p v over the visible keys, T of them, and its variance:
//
//	Var O = Σ p² (v - O)² Var s          an error of a score moves weight between the values
//	      + rounding of Σ p v            T products
//	      + Σ p² Var v
//	      + O² rounding of Σ p           the softmax's denominator
//	      + rounding of p and of its division
//	      + underflow² (1 + Σ v²)        of O, and of p
func (r *row) context(out Field) {
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
		carried := r.sink * r.sink * sum * sum * r.sinkVar
		for n, j := range r.seen {
			w, v := r.weights[n], r.values.Value[j*width+c]
			carried += w*w*((v-sum)*(v-sum)*r.scoreVar[n]+r.values.Variance[j*width+c]) + underflow*underflow*v*v
		}
		out.Value[c] = sum
		out.Variance[c] = underflow*underflow + carried + sumOfProducts(len(r.weights), sum, squares) + r.p.Precision.stored*squares +
			sum*sum*(sumOfProducts(len(r.weights), 1, squareSum)+2*roundoff)
	}
}

// keep writes the weights of all keys, and their variance:
//
//	Var p = p² ((1 - p)² Var s + Σ p'² Var s' over the others + rounding of Σ p, of p and of its division)
//	      + underflow²
func (r *row) keep(out Field) {
	if len(r.seen) == 0 {
		fillEmpty(out.Value, r.p.EmptyRow)
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

func fillEmpty(values []float64, e attention.EmptyRow) {
	if e == attention.EmptyNaN {
		for i := range values {
			values[i] = math.NaN()
		}
	}
}
