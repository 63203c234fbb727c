package oracle

import (
	"math"

	"github.com/x448/float16"

	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/fixture"
)

// Precision is an arithmetic that rounds more than float32 does. Its variances hold for a value
// near 1 and are added to float32's. Sums are accumulated in float32 or better. The zero value is
// float32 itself.
type Precision struct {
	stored  float64 // of each result that is stored
	factor  float64 // of each factor of a matrix product, which is stored in float32
	given   float64 // of the inputs
	learned float64 // of the parameters
	softmax float64 // of each step of a softmax: scores, exponentials, their sum, weights

	// round returns the nearest number of the precision; nil for float32.
	round func(float32) float32
}

// The lower precisions that an implementation may have. Half a unit in the last place is 2⁻¹¹ in
// float16 and TensorFloat-32, which have 11 bits, and 2⁻⁸ in bfloat16, which has 8. TensorFloat-32
// rounds the factors of matrix products and nothing else.
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

// nearest rounds away the last bits of a float32, ties to even.
func nearest(v float32, bits uint) float32 {
	pattern := math.Float32bits(v)
	below := uint32(1)<<bits - 1
	return math.Float32frombits((pattern + below>>1 + pattern>>bits&1) &^ below)
}

// Round returns the nearest number of the precision.
func (p Precision) Round(v float64) float64 {
	if p.round == nil {
		return float64(float32(v))
	}
	return float64(p.round(float32(v)))
}

// precisions are the precisions of cases. The inputs of a case have its own type and are exact,
// except that float32 implementations round the inputs of a float64 case.
var precisions = map[fixture.DType]Precision{
	fixture.Float16:  {stored: half16},
	fixture.BFloat16: {stored: halfB16},
	fixture.Float64:  {given: roundoff},
}

// precisionOf returns the precision of a case. A softmax in another precision is part of the noise:
// implementations may round at any of its steps, or compute them more exactly. A softmax that is
// more exact than the case's type rounds no more than the case does.
func precisionOf(c *fixture.Case) Precision {
	p := precisions[c.Precision]
	p.softmax = precisions[c.SoftmaxPrecision].stored
	return p
}

// In returns the problem for an implementation of a lower precision, which also rounds the inputs
// and parameters that it is given.
func (p *Problem) In(lower Precision) *Problem {
	q := p.Clone()
	own := p.Precision
	q.Precision = Precision{
		stored: max(own.stored, lower.stored), factor: max(own.factor, lower.factor),
		given: max(own.given, lower.given), learned: max(own.learned, lower.learned), softmax: own.softmax,
		round: lower.round,
	}
	return q
}

// Given is a set of the things that an implementation is given.
type Given int

// The members of the set.
const (
	Inputs Given = 1 << iota
	Parameters
)

// Rounded returns the problem [Problem.In] a lower precision with its inputs or parameters already
// rounded. The errors of that rounding are then part of the values and no longer of the noise.
func (p *Problem) Rounded(lower Precision, what Given) *Problem {
	q := p.In(lower)
	if what&Inputs != 0 {
		q.Precision.given = p.Precision.given
		q.roundInputs(lower)
	}
	if what&Parameters != 0 {
		q.Precision.learned = p.Precision.learned
		for _, values := range q.parametersRoundedIn(lower) {
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
	if p.Turn != nil {
		p.Turn.RoundTables(lower.Round)
	}
	if p.Past != nil {
		p.Past = &Past{lower.roundArray(p.Past.Key), lower.roundArray(p.Past.Value)}
	}
}

// parametersRoundedIn returns the parameters that a lower precision rounds: all of them, or only
// the weights of the projections if it rounds factors alone.
func (p *Problem) parametersRoundedIn(lower Precision) []*[]float64 {
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

// IsFloat32 reports whether nothing is rounded to fewer bits than float32's, and nothing was given
// in more.
func (p Precision) IsFloat32() bool { return !p.Rounds() && p.given == 0 && p.learned == 0 }

// Rounds reports whether results, factors or the numbers of a softmax are stored in fewer bits than
// float32's.
func (p Precision) Rounds() bool { return p.stored > 0 || p.factor > 0 || p.softmax > 0 }

// variances returns all that decides the noise of a precision.
func (p Precision) variances() [5]float64 {
	return [5]float64{p.stored, p.factor, p.given, p.learned, p.softmax}
}

// input returns an array that was given: exact, or rounded to float32 by the implementation.
func (p Precision) input(a Array) Field {
	f := Field{Shape: a.Shape, Value: a.Value, Variance: make([]float64, len(a.Value))}
	for i, v := range a.Value {
		f.Variance[i] = p.given * v * v
	}
	return f
}

// ofProduct returns the variance that a product of an input and a weight, near 1, inherits from
// the rounding of both factors and of the weight as a parameter.
func (p Precision) ofProduct() float64 { return 2*p.factor + p.learned }

// store adds the rounding of each stored value to its variance. The rounding to float32 is counted
// where the value is computed.
func (p Precision) store(f Field) Field {
	addSquares(f, p.stored)
	return f
}

// linear adds the rounding of the bias, as a parameter, to y = x W^T + b, and stores y.
func (p Precision) linear(m Linear, y Field) Field {
	if y.noisy() && m.Bias != nil && p.learned > 0 {
		for i := range y.Variance {
			y.Variance[i] += p.learned * m.Bias[i%m.Out] * m.Bias[i%m.Out]
		}
	}
	return p.store(y)
}

// norm applies a norm, whose weights are rounded as parameters, and stores the result.
func (p Precision) norm(n *Norm, x Field) Field {
	if n == nil {
		return x
	}
	y := n.apply(x)
	addSquares(y, p.learned)
	return p.store(y)
}

// rotate applies rotary positions and stores the result.
func (p Precision) rotate(t *Rotary, x Field) Field {
	if t == nil {
		return x
	}
	return p.store(t.rotate(x))
}

// rounded rounds a result to the numbers of the precision. A rounded value is exact, unless noise
// within compare.MaxZ deviations could tip it to another number. The distance between the two
// numbers then counts as compare.MaxRMSZ deviations, so that either of them is accepted.
func (p Precision) rounded(f Field) Field {
	out := f.ZerosLike()
	for i, v := range f.Value {
		out.Value[i] = p.Round(v)
		if f.noisy() {
			off := compare.MaxZ * math.Sqrt(f.Variance[i])
			apart := p.Round(v+off) - p.Round(v-off)
			out.Variance[i] = apart * apart / (compare.MaxRMSZ * compare.MaxRMSZ)
		}
	}
	return out
}
