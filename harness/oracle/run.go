package oracle

import (
	"math"
	"sync"
)

// Run computes the result and its rounding: (..., L, Ev), for a layer (B, L, D).
func (p *Problem) Run() Field {
	output, _ := p.run(false)
	return output
}

// Weights computes the attention weights of a layer, (B, H, L, S), S with appended keys.
func (p *Problem) Weights() Field {
	_, weights := p.run(true)
	return weights
}

func (p *Problem) run(keep bool) (output, weights Field) {
	q, k, v := p.prepare()
	output, weights = p.attend(q, k, v, keep)
	if p.Mix != nil {
		output = p.Mix(output)
	}
	if l := p.Layer; l != nil {
		output = p.Precision.linear(l.Output, l.merge(output))
	}
	if p.Finish != nil {
		output = p.Finish(output)
	}
	if p.Stored != nil {
		output = p.Stored.rounded(output)
	}
	return output, weights
}

// prepared are queries, keys and values as they meet.
type prepared struct {
	once    sync.Once
	q, k, v Field
}

// prepare gives queries (..., H, L, E), keys (..., Hk, S, E) and values (..., Hk, S, Ev).
func (p *Problem) prepare() (q, k, v Field) {
	if p.prepared == nil {
		return p.project()
	}
	p.prepared.once.Do(func() { p.prepared.q, p.prepared.k, p.prepared.v = p.project() })
	return p.prepared.q, p.prepared.k, p.prepared.v
}

func (p *Problem) project() (q, k, v Field) {
	q, k, v = p.Precision.exact(p.Query), p.Precision.exact(p.Key), p.Precision.exact(p.Value)
	if l := p.Layer; l != nil {
		q = p.place(l.split(p.Precision.linear(l.Query, q), l.Heads), l.QueryNorm, l.QueryTurn)
		k = p.place(l.split(p.Precision.linear(l.Key, k), l.KVHeads), l.KeyNorm, l.KeyTurn)
		v = p.place(l.split(p.Precision.linear(l.Value, v), l.KVHeads), l.ValueNorm, l.ValueTurn)
		if p.Past != nil {
			k, v = joined(l.PastTurn.rotate(p.Precision.exact(p.Past.Key)), k), joined(p.Precision.exact(p.Past.Value), v)
		}
		k, v = p.extend(k, l.LearnedKey), p.extend(v, l.LearnedValue)
	}
	if p.Prepare != nil {
		p.Prepare(&q, &k, &v)
	}
	return q, k, v
}

// place norms and rotates queries or keys, or values where a mistake does.
func (p *Problem) place(x Field, n *Norm, t *Turn) Field {
	norm := func(x Field) Field { return p.Precision.norm(n, x) }
	turn := func(x Field) Field { return p.Precision.rotate(t, x) }
	if p.Layer.NormLast {
		return norm(turn(x))
	}
	return turn(norm(x))
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

// split moves the heads before the sequence: (B, T, H*E) -> (B, H, T, E).
func (l *Layer) split(x Field, heads int) Field {
	s := Sizes{x.Shape[1], heads, x.Shape[2] / heads}
	y := newField(x.Shape[0], heads, s.Length, s.Width)
	s.eachFeature(x.Shape[0], l.Split, func(together, apart int) {
		y.Value[apart], y.Variance[apart] = x.Value[together], x.Variance[together]
	})
	return y
}

// merge undoes split: (B, H, T, E) -> (B, T, H*E).
func (l *Layer) merge(x Field) Field {
	s := Sizes{x.Shape[2], x.Shape[1], x.Shape[3]}
	y := newField(x.Shape[0], s.Length, s.Heads*s.Width)
	s.eachFeature(x.Shape[0], l.Merge, func(together, apart int) {
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

// apply norms each row of x (B, H, T, E): y = x r w, r = 1/sqrt(mean(x²) + eps).
//
//	Var y = w² r² (Var x (1 - 2 x² r²/E) + x² r⁴/E² Σ x² Var x)    x and r carry on their errors
//	      + y² (rounding of the sum / 4 S², of r, and of two products)
func (n *Norm) apply(x Field) Field {
	if n == nil {
		return x
	}
	width := last(x.Shape)
	y := newField(x.Shape...)
	for row := range len(x.Value) / width {
		in, inVar := x.row(row, width)
		out, outVar := y.row(row, width)
		sum, squares, carried, mean, e := n.moments(x, row)
		r := 1 / math.Sqrt(sum/e-mean*mean+n.Epsilon)
		own := 3 * roundoff
		if sum > 0 {
			own += sumOfProducts(int(e), sum, squares) / (4 * sum * sum)
		}
		for i, v := range in {
			w := n.Weight[i]
			out[i] = (v - mean) * r * w
			outVar[i] = w*w*r*r*math.Max(0, inVar[i]*(1-2*v*v*r*r/e)+v*v*r*r*r*r/(e*e)*carried) + out[i]*out[i]*own
		}
	}
	return y
}

// moments are the sums, over what a row is normed by, of squares, of their squares and of what they
// carry on; the mean that is subtracted, 0 in a root mean square norm; and the number of features.
func (n *Norm) moments(x Field, row int) (sum, squares, carried, mean, e float64) {
	width, rows := last(x.Shape), []int{row}
	if n.Whole {
		heads, length := x.Shape[1], x.Shape[2]
		first := row/(heads*length)*heads*length + row%length
		rows = nil
		for h := range heads {
			rows = append(rows, first+h*length)
		}
	}
	for _, row := range rows {
		in, inVar := x.row(row, width)
		for i, v := range in {
			sum += v * v
			squares += v * v * v * v
			carried += v * v * inVar[i]
			mean += v
		}
	}
	e = float64(len(rows) * width)
	if !n.Centered {
		return sum, squares, carried, 0, e
	}
	return sum, squares, carried, mean / e, e
}

// rotate turns each row of x (B, H, T, E) by its position t: (a, b) -> (a cos - b sin, b cos + a sin).
//
//	Var a' = cos² Var a + sin² Var b + rounding of two products and of cos and sin
//	       + (a sin + b cos)² Var angle
//
// The angle is a product of the position and a power, each rounded, and the power carries on the
// rounding of its exponent.
func (t *Turn) rotate(x Field) Field {
	if t == nil {
		return x
	}
	if t.Together {
		return t.rotateTogether(x)
	}
	width, length, heads := last(x.Shape), x.Shape[len(x.Shape)-2], x.Shape[len(x.Shape)-3]
	y := x.clone()
	for row := range len(x.Value) / width {
		in, inVar := x.row(row, width)
		out, outVar := y.row(row, width)
		for i := range t.Dim / 2 {
			a, b := i, i+t.Dim/2
			if t.Interleaved {
				a, b = 2*i, 2*i+1
			}
			first, second := t.angle(row/length%heads, row%length, i, a), t.angle(row/length%heads, row%length, i, b)
			out[a], outVar[a] = first.first(in[a], in[b], inVar[a], inVar[b])
			out[b], outVar[b] = second.reversed().first(in[b], in[a], inVar[b], inVar[a])
		}
	}
	return y
}

// rotateTogether turns the heads of a position, (B, H, T, E), as one of (B, 1, T, H*E).
func (t *Turn) rotateTogether(x Field) Field {
	plain, one := Layer{}, *t
	y := plain.merge(x)
	one.Together, one.Dim = false, last(y.Shape)
	y.Shape = []int{y.Shape[0], 1, y.Shape[1], y.Shape[2]}
	y = one.rotate(y)
	y.Shape = []int{y.Shape[0], y.Shape[2], y.Shape[3]}
	return plain.split(y, x.Shape[1])
}

// angle is that of a feature of a pair, in a row of a head.
func (t *Turn) angle(head, row, pair, feature int) rotation {
	position := float64(t.First+row) / t.Factor
	if t.Position != nil {
		position = t.Position(head, row)
	}
	exponent := -2 * float64(pair) / float64(t.Dim)
	if t.Exponent != nil {
		exponent = t.Exponent(pair, feature)
	}
	exponent *= math.Log(t.Base)
	angle := position * math.Exp(exponent)
	sin, cos := math.Sincos(angle)
	if t.Round != nil {
		sin, cos = t.Round(sin), t.Round(cos)
	}
	return rotation{cos, sin, roundoff * angle * angle * (3 + exponent*exponent)}
}

// rotation is by one angle, which has a variance.
type rotation struct{ cos, sin, variance float64 }

func (r rotation) reversed() rotation { return rotation{r.cos, -r.sin, r.variance} }

// first is a cos - b sin and its variance.
func (r rotation) first(a, b, aVar, bVar float64) (value, variance float64) {
	one, two := a*r.cos, b*r.sin
	squares, slope := one*one+two*two, a*r.sin+b*r.cos
	value = one - two
	variance = r.cos*r.cos*aVar + r.sin*r.sin*bVar + 2*roundoff*squares +
		sumOfProducts(2, value, squares) + slope*slope*r.variance
	return value, variance
}

// joined puts a cache before the new rows, both (B, Hk, T, E).
func joined(past, x Field) Field {
	before, length, width := past.Shape[2], x.Shape[2], x.Shape[3]
	y := newField(x.Shape[0], x.Shape[1], before+length, width)
	for n := range x.Shape[0] * x.Shape[1] {
		to := y.part(n)
		to.put(0, past.part(n))
		to.put(before*width, x.part(n))
	}
	return y
}

// extend puts learned rows and zeros behind x (B, Hk, T, E).
func (p *Problem) extend(x Field, learned []float64) Field {
	if learned != nil {
		behind := newField(x.Shape[0], x.Shape[1], 1, x.Shape[3])
		for i := range behind.Value {
			row := learned[i%len(learned)]
			behind.Value[i], behind.Variance[i] = row, p.Precision.learned*row*row
		}
		x = joined(x, behind)
	}
	if p.Layer.ZeroKey {
		x = joined(x, newField(x.Shape[0], x.Shape[1], 1, x.Shape[3]))
	}
	return x
}
