package oracle

import (
	"slices"

	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/num"
)

// Turn is a rotation of features by given tables, without any attention. The input is
// [Problem.Query], (B, H, T, E) or (B, T, H*E).
type Turn struct {
	Interleaved bool // pairs are (2i, 2i+1); otherwise (i, i + Dim/2)
	Dim         int  // features of a head that turn, from the first on; 0 turns none
	Heads       int  // heads side by side in a row of the input; 1 in (B, H, T, E)

	// Cos and Sin are tables with a row for each position and a column for each pair. The first
	// table of each is for the first feature of a pair, the second for the other feature.
	Cos, Sin [2]Array
	// Row returns the row of the tables for token t of batch element b.
	Row func(b, t int) int
	// Given reports whether the case gives the positions of the tokens.
	Given bool
}

// turnOf returns the problem of a rotary embedding. Its keys and values are the input, so that it
// has shapes, and nothing else looks at them.
func turnOf(c *fixture.Case) *Problem {
	in, o := c.Turned, c.Rotation
	x := input(c, "input", in.Input)
	p := &Problem{Query: x, Key: x, Value: x, Scale: 1, Precision: precisionOf(c)}
	cos, sin := input(c, "cos", in.Cos), input(c, "sin", in.Sin)
	t := &Turn{
		Interleaved: fixture.Word(o.Style) == "interleaved", Dim: 2 * num.Last(cos.Shape), Heads: max(1, o.NumHeads),
		Cos: [2]Array{cos, cos}, Sin: [2]Array{sin, sin}, Given: in.Positions != nil,
	}
	tokens := x.Shape[len(x.Shape)-2]
	t.Row = func(b, i int) int { return b*tokens + i }
	if in.Positions != nil {
		t.Row = func(b, i int) int { return in.Positions[b][i] }
	}
	p.Turn = t
	return p
}

// Positions returns how many positions the tables hold.
func (t *Turn) Positions() int { return len(t.Cos[0].Value) / num.Last(t.Cos[0].Shape) }

// turn rotates the input of a problem that has a Turn.
//
//	a' = a cos - b sin
//	Var a' = cos² Var a + sin² Var b + rounding of two products and their sum
//	         + ((a cos)² + (b sin)²) (rounding of the tables as inputs + of a stored product)
func (s *pass) turn() Field {
	t, in := s.Turn, s.input(s.Query)
	out := in.ZerosLike()
	out.Take(0, in, 0, len(in.Value))
	width := num.Last(in.Shape) / t.Heads
	batch, tokens := in.Shape[0], in.Shape[len(in.Shape)-2]
	rows := len(in.Value) / width
	for n := range rows {
		token := n / t.Heads // in (B, H, T), or in (B, T)
		position := t.Row(n/(rows/batch), token%tokens)
		from, to := in.view(n*width, width, width), out.view(n*width, width, width)
		t.turnHead(s.Precision, from, to, position)
	}
	return s.Precision.store(out)
}

// turnHead rotates the features of one head, which stands at a position.
func (t *Turn) turnHead(p Precision, in, out Field, position int) {
	for i := range t.Dim / 2 {
		a, b := i, i+t.Dim/2
		if t.Interleaved {
			a, b = 2*i, 2*i+1
		}
		for k, pair := range [2][2]int{{a, b}, {b, a}} {
			at := position*num.Last(t.Cos[k].Shape) + i
			own, other, sign := pair[0], pair[1], float64(1-2*k)
			one, two := in.Value[own]*t.Cos[k].Value[at], sign*in.Value[other]*t.Sin[k].Value[at]
			out.Value[own] = one - two
			if !in.noisy() {
				continue
			}
			cos, sin := t.Cos[k].Value[at], t.Sin[k].Value[at]
			out.Variance[own] = cos*cos*in.Variance[own] + sin*sin*in.Variance[other] +
				(p.given+p.stored)*(one*one+two*two) + sumOfProducts(2, one-two, one*one+two*two)
		}
	}
}

// RoundTables replaces the tables by rounded ones.
func (t *Turn) RoundTables(round func(float64) float64) {
	for k := range t.Cos {
		for _, table := range []*Array{&t.Cos[k], &t.Sin[k]} {
			values := slices.Clone(table.Value)
			for i, v := range values {
				values[i] = round(v)
			}
			table.Value = values
		}
	}
}
