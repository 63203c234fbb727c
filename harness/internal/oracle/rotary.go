package oracle

import (
	"math"

	"github.com/difftest/difftest/harness/internal/num"
)

// rotate rotates each row of x (B, H, T, E) by its position.
//
//	(a, b) -> (a cos - b sin, b cos + a sin)
//	Var a' = cos² Var a + sin² Var b + rounding of two products, of cos and of sin
//	       + (a sin + b cos)² Var angle
//
// The angle is the product of a position and a power, and both are rounded. The power also inherits
// the rounding of its exponent.
func (t *Rotary) rotate(x Field) Field {
	if t == nil {
		return x
	}
	if t.AcrossHeads {
		return t.rotateAcrossHeads(x)
	}
	length, heads := x.Shape[len(x.Shape)-2], x.Shape[len(x.Shape)-3]
	y := x.ZerosLike()
	y.Take(0, x, 0, len(x.Value))
	angles := t.angles(heads, length)
	for row := range len(x.Value) / num.Last(x.Shape) {
		in, out := x.row(row), y.row(row)
		own := angles[row/length%heads%(len(angles)/length)*length+row%length]
		for i := range t.Dim / 2 {
			a, b := t.pair(i)
			out.Value[a] = own[i][0].value(in.Value[a], in.Value[b])
			out.Value[b] = own[i][1].value(in.Value[b], in.Value[a])
			if x.noisy() {
				out.Variance[a] = own[i][0].noise(in.Value[a], in.Value[b], in.Variance[a], in.Variance[b])
				out.Variance[b] = own[i][1].noise(in.Value[b], in.Value[a], in.Variance[b], in.Variance[a])
			}
		}
	}
	return y
}

// rotateAcrossHeads rotates the heads of x (B, H, T, E) as one head of (B, 1, T, H*E).
func (t *Rotary) rotateAcrossHeads(x Field) Field {
	plain, one := Layer{}, *t
	y := plain.mergeHeads(x, nil)
	one.AcrossHeads, one.Dim = false, num.Last(y.Shape)
	y.Shape = []int{y.Shape[0], 1, y.Shape[1], y.Shape[2]}
	y = one.rotate(y)
	y.Shape = []int{y.Shape[0], y.Shape[2], y.Shape[3]}
	return plain.splitHeads(y, x.Shape[1], nil)
}

// pair returns the two features that are rotated together.
func (t *Rotary) pair(i int) (a, b int) {
	if t.Interleaved {
		return 2 * i, 2*i + 1
	}
	return i, i + t.Dim/2
}

// angles returns the rotations of both features of each pair, for each of length rows. If
// positions depend on the head, it does so for each head.
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

// angle returns the rotation of one feature of a pair, in a row of a head.
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
	if pair < len(t.Stretch) {
		angle *= t.Stretch[pair]
	}
	sin, cos := math.Sincos(angle)
	if row < len(t.Rounded) && pair < len(t.Rounded[row]) {
		given := complex(cos, sin) * t.Rounded[row][pair]
		cos, sin = real(given), imag(given)
	}
	if t.Round != nil {
		sin, cos = t.Round(sin), t.Round(cos)
	}
	return rotation{cos, sin, roundoff * angle * angle * (3 + exponent*exponent)}
}

// rotation is a rotation by one angle, with the variance of the angle.
type rotation struct{ cos, sin, variance float64 }

func (r rotation) reversed() rotation { return rotation{r.cos, -r.sin, r.variance} }

// value returns a cos - b sin.
func (r rotation) value(a, b float64) float64 { return a*r.cos - b*r.sin }

// noise returns the variance of value.
func (r rotation) noise(a, b, aVar, bVar float64) float64 {
	one, two := a*r.cos, b*r.sin
	squares, slope := one*one+two*two, a*r.sin+b*r.cos
	return r.cos*r.cos*aVar + r.sin*r.sin*bVar + 2*roundoff*squares +
		sumOfProducts(2, one-two, squares) + slope*slope*r.variance
}

// Matrices returns the rotation of each of n rows as a matrix (E, E), by which a row is multiplied
// from the right. The rotation must be the same for all heads. A nil Rotary has no matrices.
func (t *Rotary) Matrices(n, width int) [][]float64 {
	if t == nil {
		return nil
	}
	all := make([][]float64, n)
	for i := range all {
		all[i] = make([]float64, width*width)
	}
	for e := range width {
		x := newField(ValuesAlone, 1, 1, n, width)
		for i := range n {
			x.Value[i*width+e] = 1
		}
		rotated := t.rotate(x)
		for i := range n {
			copy(all[i][e*width:], rotated.Value[i*width:][:width])
		}
	}
	return all
}
