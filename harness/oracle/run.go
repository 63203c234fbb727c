package oracle

import (
	"math"
	"slices"

	"github.com/difftest/difftest/attention"
)

// Run computes the result and its rounding: (..., L, Ev), for a layer (B, L, D).
func (p *Problem) Run() Field {
	n, queries, keys := p.sizes()
	q, k, v := exact(p.Query), exact(p.Key), exact(p.Value)
	if p.Layer == nil {
		e, ev := last(p.Query.Shape), last(p.Value.Shape)
		out := p.attend(q.as(n, queries, e), k.as(n, keys, e), v.as(n, keys, ev))
		return out.as(append(slices.Clone(p.Query.Shape[:len(p.Query.Shape)-1]), ev)...)
	}
	l := p.Layer
	q = l.split(l.Query.apply(q))
	k = l.split(l.Key.apply(k))
	v = l.split(l.Value.apply(v))
	return l.Output.apply(l.merge(p.attend(q, k, v)))
}

// apply is y = x W^T + b: x (B, T, In) -> (B, T, Out).
//
//	Var y = rounding of the sum + Σ W² Var x + rounding of the addition of b
func (m Linear) apply(x Field) Field {
	y := newField(x.Shape[0], x.Shape[1], m.Out)
	for row := range x.Shape[0] * x.Shape[1] {
		in, inVar := x.row(row, m.In)
		out, outVar := y.row(row, m.Out)
		for o := range out {
			var sum, squares, carried float64
			for i, w := range m.Weight[o*m.In:][:m.In] {
				t := in[i] * w
				sum += t
				squares += t * t
				carried += w * w * inVar[i]
			}
			out[o], outVar[o] = sum, sumOfProducts(m.In, sum, squares)+carried
			if m.Bias != nil {
				out[o] += m.Bias[o]
				outVar[o] += roundoff * out[o] * out[o]
			}
		}
	}
	return y
}

// split moves the heads before the sequence: (B, T, D) -> (B*H, T, E).
func (l *Layer) split(x Field) Field {
	s := Sizes{x.Shape[1], l.Heads, x.Shape[2] / l.Heads}
	y := newField(x.Shape[0]*l.Heads, s.Length, s.Width)
	s.eachFeature(x.Shape[0], l.Split, func(together, apart int) {
		y.Value[apart], y.Variance[apart] = x.Value[together], x.Variance[together]
	})
	return y
}

// merge undoes split: (B*H, T, E) -> (B, T, D).
func (l *Layer) merge(x Field) Field {
	s := Sizes{x.Shape[1], l.Heads, x.Shape[2]}
	y := newField(x.Shape[0]/l.Heads, s.Length, l.Heads*s.Width)
	s.eachFeature(x.Shape[0]/l.Heads, l.Merge, func(together, apart int) {
		y.Value[together], y.Variance[together] = x.Value[apart], x.Variance[apart]
	})
	return y
}

// eachFeature calls f with the place of each feature where the heads are together, (B, T, H*E),
// and where they are apart, (B, H, T, E).
func (s Sizes) eachFeature(batch int, place func(Sizes, int, int, int) int, f func(together, apart int)) {
	if place == nil {
		place = Sizes.Concatenated
	}
	for b := range batch {
		for h := range s.Heads {
			for t := range s.Length {
				for e := range s.Width {
					together := b*s.Length*s.Heads*s.Width + place(s, h, t, e)
					apart := ((b*s.Heads+h)*s.Length+t)*s.Width + e
					f(together, apart)
				}
			}
		}
	}
}

// attend is softmax(scale q k^T + bias) v, head by head and query by query:
// q (N, L, E), k (N, S, E), v (N, S, Ev) -> (N, L, Ev).
func (p *Problem) attend(q, k, v Field) Field {
	n, queries, keys := q.Shape[0], q.Shape[1], k.Shape[1]
	out := newField(n, queries, v.Shape[2])
	view := p.view()
	for head := range n {
		for i := range queries {
			seen := view.visible(head, i)
			value, variance := out.row(head*queries+i, v.Shape[2])
			if len(seen) == 0 {
				fillEmpty(value, p.EmptyRow)
				continue
			}
			at := make([]int, len(seen)) // rows of k and v
			added := make([]float64, len(seen))
			for s, j := range seen {
				at[s], added[s] = head*keys+j, view.added(head, i, j)
			}
			scores, scoreVar := p.scoresOf(q, head*queries+i, k, at, added)
			context(softmax(scores), scoreVar, v, at, value, variance)
		}
	}
	return out
}

// scoresOf gives the scores of one query against the keys it sees, and their variance:
//
//	s = c q.k + bias
//	Var s = c² (rounding of q.k + Σ k² Var q + Σ q² Var k) + rounding of c and of the product
//	        + rounding of the addition of the bias + rounding of s - max s + (2u)² for exp
//
// The last two belong to the softmax, where they act as errors of the score.
func (p *Problem) scoresOf(q Field, row int, k Field, at []int, added []float64) (s, variance []float64) {
	e := q.Shape[2]
	query, queryVar := q.row(row, e)
	s, variance = make([]float64, len(at)), make([]float64, len(at))
	c := p.Scale
	for n, j := range at {
		key, keyVar := k.row(j, e)
		var sum, squares, carried float64
		for i := range query {
			t := query[i] * key[i]
			sum += t
			squares += t * t
			carried += key[i]*key[i]*queryVar[i] + query[i]*query[i]*keyVar[i]
		}
		s[n] = c*sum + added[n]
		variance[n] = c * c * (sumOfProducts(e, sum, squares) + carried + 2*roundoff*sum*sum)
		if p.Bias != nil {
			variance[n] += roundoff * s[n] * s[n]
		}
	}
	top := slices.Max(s)
	for n := range s {
		variance[n] += roundoff*(s[n]-top)*(s[n]-top) + 4*u*u
	}
	return s, variance
}

// softmax gives exp(s - max s) / sum.
func softmax(s []float64) []float64 {
	top := slices.Max(s)
	p := make([]float64, len(s))
	total := 0.0
	for j := range s {
		p[j] = math.Exp(s[j] - top)
		total += p[j]
	}
	for j := range p {
		p[j] /= total
	}
	return p
}

// context gives O = Σ p v over the visible keys, T of them, and its variance:
//
//	Var O = Σ p² (v - O)² Var s          an error of a score moves weight between the values
//	      + rounding of Σ p v            T products
//	      + Σ p² Var v
//	      + O² rounding of Σ p           the softmax's denominator
//	      + rounding of p and of its division
func context(p, scoreVar []float64, v Field, at []int, out, variance []float64) {
	var squareSum float64
	for _, w := range p {
		squareSum += w * w
	}
	ev := len(out)
	for c := range out {
		var sum, squares float64
		for j, w := range p {
			t := w * v.Value[at[j]*ev+c]
			sum += t
			squares += t * t
		}
		var carried float64
		for j, w := range p {
			off := v.Value[at[j]*ev+c] - sum
			carried += w * w * (off*off*scoreVar[j] + v.Variance[at[j]*ev+c])
		}
		out[c] = sum
		variance[c] = carried + sumOfProducts(len(p), sum, squares) +
			sum*sum*(sumOfProducts(len(p), 1, squareSum)+2*roundoff)
	}
}

func fillEmpty(context []float64, e attention.EmptyRow) {
	if e == attention.EmptyNaN {
		for c := range context {
			context[c] = math.NaN()
		}
	}
}
