package oracle

import (
	"context"
	"math"
	"slices"

	"github.com/difftest/difftest/harness/internal/num"
)

// Detail is how much of a result is computed.
type Detail int

// The details of a result.
const (
	WithNoise   Detail = iota // values, and the variance of each
	ValuesAlone               // which take a third of the time
)

// Run computes the result and its rounding: (..., L, Ev), for a layer (B, L, D).
func (p *Problem) Run() Field {
	f, _ := p.Rows(context.Background(), nil, WithNoise) // which never ends
	return f
}

// Rows computes some rows of the result, by their number in (..., L): (rows, Ev), all of it in its own
// shape where rows is nil. Nothing is computed that they do not depend on. The error is that ctx ended.
func (p *Problem) Rows(ctx context.Context, rows []int, d Detail) (Field, error) {
	s := &pass{Problem: p, ctx: ctx, noise: d == WithNoise}
	output, _ := s.run(rows, false)
	if err := ctx.Err(); err != nil {
		return Field{}, err
	}
	if rows == nil {
		return output, nil
	}
	width := num.Last(output.Shape)
	some := newField(s.noise, len(rows), width)
	for i, row := range rows {
		some.Take(i*width, output, row*width, width)
	}
	return some, nil
}

// Weights computes the attention weights of a layer, (B, H, L, S), S with appended keys.
func (p *Problem) Weights() Field {
	s := &pass{Problem: p, ctx: context.Background(), noise: true}
	_, weights := s.run(nil, true)
	return weights
}

// pass is one computation of a problem, with noise or without, until ctx ends; what it gives then is
// worth nothing.
type pass struct {
	*Problem
	ctx   context.Context
	noise bool
}

func (s *pass) run(rows []int, keep bool) (output, weights Field) {
	before := s.before(rows, s.resultShape())
	output, weights = s.context(s.lines(before), keep)
	if s.Mix != nil {
		output = s.Mix(output)
	}
	if l := s.Layer; l != nil {
		output = s.linear(nil, l.Output, l.merge(output, before), before)
	}
	if s.Finish != nil {
		output = s.Finish(output)
	}
	if s.Stored != nil {
		output = s.Stored.rounded(output)
	}
	return output, weights
}

// resultShape is that of the result before it is finished.
func (p *Problem) resultShape() []int {
	shape := slices.Clone(p.Query.Shape)
	shape[len(shape)-1] = num.Last(p.Value.Shape)
	if p.Layer != nil {
		shape[len(shape)-1] = p.Layer.Output.Out
	}
	return shape
}

// context is that of some lines, or one that was computed before: [Problem.ForkAfterContext].
func (s *pass) context(lines wanted, keep bool) (context, weights Field) {
	if known, ok := s.cache.contextFor(s); ok && !keep {
		return known, Field{}
	}
	needed := s.closed(lines)
	q, k, v := s.prepare(needed)
	context, weights = s.attend(q, k, v, lines, keep)
	if lines == nil {
		s.cache.keepContext(s, context)
	}
	return context, weights
}

// prepare gives queries (..., H, L, E), keys (..., Hk, S, E) and values (..., Hk, S, Ev) as they meet, of
// the lines that are needed.
func (s *pass) prepare(needed wanted) (q, k, v Field) {
	if s.Layer == nil {
		q, k, v = s.exact(s.Query), s.exact(s.Key), s.exact(s.Value)
	} else {
		keys := s.keyRows(needed)
		q = s.cache.part(s, queryPart, s.queryRows(needed), s.queries)
		k, v = s.cache.part(s, keyPart, keys, s.keys), s.cache.part(s, valuePart, keys, s.values)
	}
	if s.Prepare != nil {
		s.Prepare(&q, &k, &v)
	}
	return q, k, v
}

func (s *pass) queries(rows wanted) Field {
	l := s.Layer
	return s.place(l.split(s.linear(s.cache, l.Query, s.exact(s.Query), rows), l.Heads, rows), l.QueryNorm, l.QueryRotary)
}

func (s *pass) keys(rows wanted) Field {
	l := s.Layer
	k := s.place(l.split(s.linear(s.cache, l.Key, s.exact(s.Key), rows), l.KVHeads, rows), l.KeyNorm, l.KeyRotary)
	if s.Past != nil {
		k = joined(l.PastRotary.rotate(s.exact(s.Past.Key)), k)
	}
	return s.extend(k, l.LearnedKey)
}

func (s *pass) values(rows wanted) Field {
	l := s.Layer
	v := s.place(l.split(s.linear(s.cache, l.Value, s.exact(s.Value), rows), l.KVHeads, rows), l.ValueNorm, l.ValueRotary)
	if s.Past != nil {
		v = joined(s.exact(s.Past.Value), v)
	}
	return s.extend(v, l.LearnedValue)
}

// exact is an array that was given.
func (s *pass) exact(a Array) Field {
	if !s.noise {
		return Field{Shape: a.Shape, Value: a.Value}
	}
	return s.Precision.exact(a)
}

// place norms and rotates queries or keys, or values where a mistake does.
func (p *Problem) place(x Field, n *Norm, t *Rotary) Field {
	norm := func(x Field) Field { return p.Precision.norm(n, x) }
	turn := func(x Field) Field { return p.Precision.rotate(t, x) }
	if p.Layer.NormLast {
		return norm(turn(x))
	}
	return turn(norm(x))
}

// split moves the heads before the sequence: (B, T, H*E) -> (B, H, T, E).
func (l *Layer) split(x Field, heads int, rows wanted) Field {
	s := Sizes{x.Shape[1], heads, x.Shape[2] / heads}
	y := newField(x.noisy(), x.Shape[0], heads, s.Length, s.Width)
	s.eachRun(x.Shape[0], l.SplitIndex, func(together, apart, n int) {
		if rows.has(together / x.Shape[2]) {
			y.Take(apart, x, together, n)
		}
	})
	return y
}

// merge undoes split: (B, H, T, E) -> (B, T, H*E).
func (l *Layer) merge(x Field, rows wanted) Field {
	s := Sizes{x.Shape[2], x.Shape[1], x.Shape[3]}
	y := newField(x.noisy(), x.Shape[0], s.Length, s.Heads*s.Width)
	s.eachRun(x.Shape[0], l.MergeIndex, func(together, apart, n int) {
		if rows.has(together / y.Shape[2]) {
			y.Take(together, x, apart, n)
		}
	})
	return y
}

// eachRun calls f with the place of each run of n features where the heads are together, (B, T, H*E),
// and where they are apart, (B, H, T, E).
func (s Sizes) eachRun(batch int, place func(s Sizes, head, t, feature int) int, f func(together, apart, n int)) {
	step := 1
	if place == nil {
		place, step = Sizes.Concatenated, s.Width
	}
	for b := range batch {
		for h := range s.Heads {
			for t := range s.Length {
				for e := 0; e < s.Width; e += step {
					together := b*s.Length*s.Heads*s.Width + place(s, h, t, e)
					apart := ((b*s.Heads+h)*s.Length+t)*s.Width + e
					f(together, apart, step)
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
	y := x.ZerosLike()
	for row := range len(x.Value) / num.Last(x.Shape) {
		in, out := x.line(row), y.line(row)
		sum, squares, carried, mean, e := n.moments(x, row)
		r := 1 / math.Sqrt(sum/e-mean*mean+n.Epsilon)
		for i, v := range in.Value {
			out.Value[i] = (v - mean) * r * n.Weight[i]
		}
		if !x.noisy() {
			continue
		}
		own := 3 * roundoff
		if sum > 0 {
			own += sumOfProducts(int(e), sum, squares) / (4 * sum * sum)
		}
		for i, v := range in.Value {
			w, y := n.Weight[i], out.Value[i]
			out.Variance[i] = w*w*r*r*math.Max(0, in.Variance[i]*(1-2*v*v*r*r/e)+v*v*r*r*r*r/(e*e)*carried) + y*y*own
		}
	}
	return y
}

// moments are the sums, over what a row is normed by, of squares, of their squares and of what they
// carry on; the mean that is subtracted, 0 in a root mean square norm; and the number of features.
func (n *Norm) moments(x Field, row int) (sum, squares, carried, mean, e float64) {
	width, rows := num.Last(x.Shape), []int{row}
	if n.AcrossHeads {
		heads, length := x.Shape[1], x.Shape[2]
		first := row/(heads*length)*heads*length + row%length
		rows = nil
		for h := range heads {
			rows = append(rows, first+h*length)
		}
	}
	for _, row := range rows {
		in := x.line(row)
		for i, v := range in.Value {
			sum += v * v
			squares += v * v * v * v
			mean += v
			if in.noisy() {
				carried += v * v * in.Variance[i]
			}
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
func (t *Rotary) rotate(x Field) Field {
	if t == nil {
		return x
	}
	if t.AcrossHeads {
		return t.rotateTogether(x)
	}
	length, heads := x.Shape[len(x.Shape)-2], x.Shape[len(x.Shape)-3]
	y := x.ZerosLike()
	y.Take(0, x, 0, len(x.Value))
	angles := t.angles(heads, length)
	for row := range len(x.Value) / num.Last(x.Shape) {
		in, out := x.line(row), y.line(row)
		own := angles[row/length%heads%(len(angles)/length)*length+row%length]
		for i := range t.Dim / 2 {
			a, b := t.pair(i)
			out.Value[a], out.Value[b] = own[i][0].value(in.Value[a], in.Value[b]), own[i][1].value(in.Value[b], in.Value[a])
			if x.noisy() {
				out.Variance[a] = own[i][0].noise(in.Value[a], in.Value[b], in.Variance[a], in.Variance[b])
				out.Variance[b] = own[i][1].noise(in.Value[b], in.Value[a], in.Variance[b], in.Variance[a])
			}
		}
	}
	return y
}

// pair is the two features that rotate together.
func (t *Rotary) pair(i int) (a, b int) {
	if t.Interleaved {
		return 2 * i, 2*i + 1
	}
	return i, i + t.Dim/2
}

// angles are the rotations of both features of each pair, for each row, and for each head where positions
// depend on it.
func (t *Rotary) angles(heads, length int) [][][2]rotation {
	if t.Position == nil {
		heads = 1
	}
	all := make([][][2]rotation, heads*length)
	for row := range all {
		for i := range t.Dim / 2 {
			a, b := t.pair(i)
			first, second := t.angle(row/length, row%length, i, a), t.angle(row/length, row%length, i, b)
			all[row] = append(all[row], [2]rotation{first, second.reversed()})
		}
	}
	return all
}

// rotateTogether turns the heads of a position, (B, H, T, E), as one of (B, 1, T, H*E).
func (t *Rotary) rotateTogether(x Field) Field {
	plain, one := Layer{}, *t
	y := plain.merge(x, nil)
	one.AcrossHeads, one.Dim = false, num.Last(y.Shape)
	y.Shape = []int{y.Shape[0], 1, y.Shape[1], y.Shape[2]}
	y = one.rotate(y)
	y.Shape = []int{y.Shape[0], y.Shape[2], y.Shape[3]}
	return plain.split(y, x.Shape[1], nil)
}

// angle is that of a feature of a pair, in a row of a head.
func (t *Rotary) angle(head, row, pair, feature int) rotation {
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

// value is a cos - b sin.
func (r rotation) value(a, b float64) float64 { return a*r.cos - b*r.sin }

// noise is its variance.
func (r rotation) noise(a, b, aVar, bVar float64) float64 {
	one, two := a*r.cos, b*r.sin
	squares, slope := one*one+two*two, a*r.sin+b*r.cos
	return r.cos*r.cos*aVar + r.sin*r.sin*bVar + 2*roundoff*squares +
		sumOfProducts(2, one-two, squares) + slope*slope*r.variance
}

// joined puts a cache before the new rows, both (B, Hk, T, E).
func joined(past, x Field) Field {
	before, length, width := past.Shape[2], x.Shape[2], x.Shape[3]
	y := newField(x.noisy(), x.Shape[0], x.Shape[1], before+length, width)
	for n := range x.Shape[0] * x.Shape[1] {
		to := y.part(n)
		to.Take(0, past.part(n), 0, before*width)
		to.Take(before*width, x.part(n), 0, length*width)
	}
	return y
}

// extend puts learned rows and zeros behind x (B, Hk, T, E).
func (p *Problem) extend(x Field, learned []float64) Field {
	if learned != nil {
		behind := newField(x.noisy(), x.Shape[0], x.Shape[1], 1, x.Shape[3])
		for i := range behind.Value {
			behind.Value[i] = learned[i%len(learned)]
		}
		addSquares(behind, p.Precision.learned)
		x = joined(x, behind)
	}
	if p.Layer.ZeroKey {
		x = joined(x, newField(x.noisy(), x.Shape[0], x.Shape[1], 1, x.Shape[3]))
	}
	return x
}
