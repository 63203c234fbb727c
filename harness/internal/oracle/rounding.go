package oracle

import (
	"math"

	"github.com/x448/float16"

	"github.com/difftest/difftest/harness/internal/fixture"
)

// roundoff is the variance of one float32 rounding of a value near 1: u²/3 for an error spread
// evenly over [-u, u], u = 2⁻²⁴.
const (
	u        = 0x1p-24
	roundoff = u * u / 3
)

// sumOfProducts is the variance that rounding gives a sum of n products t: of the n products,
// and of the n-1 partial sums, whose mean square is near n S²/3 + n Q/6 over the orders in which
// they may be added. sum is S = Σt, squares is Q = Σt².
func sumOfProducts(n int, sum, squares float64) float64 {
	terms := float64(n)
	return roundoff * (terms*sum*sum/3 + terms*squares/6 + squares + sum*sum)
}

// sumWith adds b, of its own variance, to a. Where one is lost in the other even in float64, it is
// lost in float32, too, with all its noise. Where a is lost in float32 alone, the error is a itself
// and no more.
func sumWith(a, variance, b, ownVariance float64) (sum, sumVariance float64) {
	sum = a + b
	switch {
	case sum == a:
		return a, variance
	case sum == b && a != 0:
		return b, ownVariance
	}
	return sum, variance + ownVariance + min(roundoff*sum*sum, a*a)
}

// Precision is the arithmetic that rounds: its variances are of a value near 1, beyond those of
// float32. Sums run in float32 or better in all of them. The zero value is float32's.
type Precision struct {
	stored  float64 // of storing a result
	factor  float64 // of a factor of a matrix product, that is stored in float32
	given   float64 // of the inputs
	learned float64 // of the parameters

	round func(float32) float32
}

// The precisions that an implementation may have, of 11 bits or 8. Half a unit in the last place is
// 2⁻¹¹ in float16 and TensorFloat-32, which rounds factors alone, and 2⁻⁸ in bfloat16.
var (
	Float16       = Precision{stored: half16, given: half16, learned: half16, round: toFloat16}
	BFloat16      = Precision{stored: halfB16, given: halfB16, learned: halfB16, round: toBFloat16}
	TensorFloat32 = Precision{factor: half16, round: toTensorFloat32}
)

const (
	half16  = 0x1p-22 / 3
	halfB16 = 0x1p-16 / 3
)

func toFloat16(v float32) float32       { return float16.Fromfloat32(v).Float32() }
func toBFloat16(v float32) float32      { return nearest(v, 16) }
func toTensorFloat32(v float32) float32 { return nearest(v, 13) }

// nearest rounds away the last bits, ties to even.
func nearest(v float32, bits uint) float32 {
	pattern := math.Float32bits(v)
	below := uint32(1)<<bits - 1
	return math.Float32frombits((pattern + below>>1 + pattern>>bits&1) &^ below)
}

// Round gives the nearest value of the precision.
func (p Precision) Round(v float64) float64 {
	if p.round == nil {
		return float64(float32(v))
	}
	return float64(p.round(float32(v)))
}

// Of a case: its inputs are of its own type, and exact; only those of float64 are more than float32 holds.
var precisions = map[fixture.DType]Precision{
	fixture.Float16:  {stored: half16},
	fixture.BFloat16: {stored: halfB16},
	fixture.Float64:  {given: roundoff},
}

func precisionOf(c *fixture.Case) Precision { return precisions[c.Precision] }

// In is the problem for an implementation of a lower precision, which rounds what it is given, too.
func (p *Problem) In(lower Precision) *Problem {
	q := p.Clone()
	own := p.Precision
	q.Precision = Precision{
		stored: max(own.stored, lower.stored), factor: max(own.factor, lower.factor),
		given: max(own.given, lower.given), learned: max(own.learned, lower.learned), round: lower.round,
	}
	return q
}

// Given is what an implementation is given.
type Given int

// What is given may be both.
const (
	Inputs Given = 1 << iota
	Parameters
)

// Rounded is the problem for an implementation of a lower precision, with inputs or parameters rounded
// already: that part of its errors is known.
func (p *Problem) Rounded(lower Precision, what Given) *Problem {
	q := p.In(lower)
	if what&Inputs != 0 {
		q.Precision.given = p.Precision.given
		q.roundInputs(lower)
	}
	if what&Parameters != 0 {
		q.Precision.learned = p.Precision.learned
		for _, values := range q.learnedIn(lower) {
			for i, v := range *values {
				(*values)[i] = lower.Round(v)
			}
		}
	}
	return q
}

func (p *Problem) roundInputs(lower Precision) {
	for _, in := range []*Array{&p.Query, &p.Key, &p.Value} {
		*in = lower.roundArray(*in)
	}
	if p.Past != nil {
		p.Past = &Past{lower.roundArray(p.Past.Key), lower.roundArray(p.Past.Value)}
	}
}

// learnedIn are the parameters that a lower precision rounds: all, or those alone that are factors.
func (p *Problem) learnedIn(lower Precision) []*[]float64 {
	if lower.learned > 0 || p.Layer == nil {
		return p.Parameters()
	}
	var weights []*[]float64
	for _, m := range p.Layer.Projections() {
		weights = append(weights, &m.Weight)
	}
	return weights
}

func (p Precision) roundArray(a Array) Array {
	out := Array{a.Shape, make([]float64, len(a.Value))}
	for i, v := range a.Value {
		out.Value[i] = p.Round(v)
	}
	return out
}

// IsFloat32 says whether nothing is rounded to fewer bits than float32 has, or was given in more.
func (p Precision) IsFloat32() bool { return !p.Rounds() && p.given == 0 && p.learned == 0 }

// Rounds says whether results are stored in fewer bits than float32 has.
func (p Precision) Rounds() bool { return p.stored > 0 || p.factor > 0 }

// rounded is a result as it is stored. It is exact, but where its noise, as far as any is accepted, decides
// between two neighbours: one and a half deviations of a value's are their distance.
func (p Precision) rounded(f Field) Field {
	const accepted = 16
	out := f.ZerosLike()
	for i, v := range f.Value {
		out.Value[i] = p.Round(v)
		if f.noisy() {
			off := accepted * math.Sqrt(f.Variance[i])
			apart := p.Round(v+off) - p.Round(v-off)
			out.Variance[i] = apart * apart / (1.5 * 1.5)
		}
	}
	return out
}

// store adds the rounding of each value to its variance; float32's is in every step already.
func (p Precision) store(f Field) Field {
	addSquares(f, p.stored)
	return f
}

// noise is what of two precisions must be the same for noise to be.
func (p Precision) noise() [4]float64 { return [4]float64{p.stored, p.factor, p.given, p.learned} }

// exact is an array that was given, not computed: its variance is zero, or that of rounding it to
// float32.
func (p Precision) exact(a Array) Field {
	f := Field{Shape: a.Shape, Value: a.Value, Variance: make([]float64, len(a.Value))}
	for i, v := range a.Value {
		f.Variance[i] = p.given * v * v
	}
	return f
}

// linear adds to y = x W^T + b what factors and parameters have that are rounded, besides what each product has,
// and stores it.
//
//	Var y += rounding of b and of y
func (p Precision) linear(m Linear, y Field) Field {
	if y.noisy() && m.Bias != nil && p.learned > 0 {
		for i := range y.Variance {
			y.Variance[i] += p.learned * m.Bias[i%m.Out] * m.Bias[i%m.Out]
		}
	}
	return p.store(y)
}

// ofProducts is the variance that a product has of its factors and of the parameter that one of them is.
func (p Precision) ofProducts() float64 { return 2*p.factor + p.learned }

func squares(values []float64) []float64 {
	out := make([]float64, len(values))
	for i, v := range values {
		out[i] = v * v
	}
	return out
}

// addSquares adds to each variance so many times the square of its value.
func addSquares(f Field, times float64) {
	if times == 0 || !f.noisy() {
		return
	}
	for i, v := range f.Value {
		f.Variance[i] += times * v * v
	}
}

// norm is n.apply(x) with weights that are rounded.
func (p Precision) norm(n *Norm, x Field) Field {
	if n == nil {
		return x
	}
	y := n.apply(x)
	addSquares(y, p.learned)
	return p.store(y)
}

// rotate is t.rotate(x).
func (p Precision) rotate(t *Rotary, x Field) Field {
	if t == nil {
		return x
	}
	return p.store(t.rotate(x))
}
