package oracle

import (
	"math"
	"slices"

	"github.com/x448/float16"

	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/num"
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

	// least and leastSoftmax are the variances of a stored result, and of a step of a softmax, in
	// the smallest numbers of the type: they have fewer digits than others.
	least, leastSoftmax float64

	// round returns the nearest number of the precision; nil for float32.
	round func(float32) float32

	// loss is the mean of the relative errors that truncation gives, on average over the digits
	// of a number; 0 for rounding to the nearest number, or if the errors are left out.
	loss float64

	// cached is the type in which keys and values are kept, if the problem has a KV cache.
	cached quantisation

	// small describes roundings so small that their effects are proportional to them.
	small bool
}

// The lower precisions that an implementation may have. Half a unit in the last place is 2⁻¹¹ in
// float16 and TensorFloat-32, which have 11 bits, and 2⁻⁸ in bfloat16, which has 8. TensorFloat-32
// and BFloat16Factors round the factors of matrix products and nothing else.
var (
	Float16         = Precision{stored: half16, given: half16, learned: half16, least: least16, round: toFloat16}
	BFloat16        = Precision{stored: halfB16, given: halfB16, learned: halfB16, round: toBFloat16}
	TensorFloat32   = Precision{factor: half16, round: toTensorFloat32}
	BFloat16Factors = Precision{factor: halfB16, round: toBFloat16}
)

// Precisions that drop the last bits instead of rounding to the nearest number. The errors are
// spread over one unit in the last place, as the errors of rounding are, and their mean is half a
// unit towards zero.
var (
	TruncatedBFloat16        = BFloat16.truncated(16)
	TruncatedTensorFloat32   = TensorFloat32.truncated(13)
	TruncatedBFloat16Factors = BFloat16Factors.truncated(16)
)

const (
	half16  = 0x1p-22 / 3
	halfB16 = 0x1p-16 / 3
	least16 = 0x1p-50 / 3 // numbers below 2⁻¹⁴ are multiples of 2⁻²⁴
)

func toBFloat16(v float32) float32      { return num.Nearest(v, 16) }
func toTensorFloat32(v float32) float32 { return num.Nearest(v, 13) }

// toFloat16 rounds numbers from 2⁻¹⁴ to the largest one as TensorFloat-32, which has as many bits.
func toFloat16(v float32) float32 {
	const least, largest = 0x1p-14, 65504
	if size := max(v, -v); size >= least && size <= largest {
		return toTensorFloat32(v)
	}
	return float16.Fromfloat32(v).Float32()
}

// truncated returns the precision that drops the last bits of a float32.
//
// The mean loss of a number m 2ⁿ, with m from 1 to 2, is half a unit over m. The leading digits of
// numbers of many sizes have the density 1/(m ln 2), so the mean of 1/m is 1/(2 ln 2).
func (p Precision) truncated(bits uint) Precision {
	half := math.Ldexp(1, int(bits)-24)
	p.round, p.loss = func(v float32) float32 { return towardsZero(v, bits) }, half/(2*math.Ln2)
	return p
}

// towardsZero drops the last bits of a float32. Infinity and NaN stay what they are.
func towardsZero(v float32, bits uint) float32 {
	if v-v != 0 {
		return v
	}
	return math.Float32frombits(math.Float32bits(v) &^ (1<<bits - 1))
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
	fixture.Float16:  {stored: half16, least: least16},
	fixture.BFloat16: {stored: halfB16},
	fixture.Float64:  {given: roundoff},
}

// precisionOf returns the precision of a case. A softmax in another precision is part of the noise:
// implementations may round at any of its steps, or compute them more exactly. A softmax that is
// more exact than the case's type rounds no more than the case does.
func precisionOf(c *fixture.Case) Precision {
	p := precisions[c.Precision]
	softmax := precisions[c.SoftmaxPrecision]
	p.softmax, p.leastSoftmax = softmax.stored, softmax.least
	return p
}

// In returns the problem for an implementation of a lower precision, which also rounds the inputs
// and parameters that it is given. The two share all arrays.
func (p *Problem) In(lower Precision) *Problem {
	q := p.Uncached()
	own := p.Precision
	q.Precision = Precision{
		stored: max(own.stored, lower.stored), factor: max(own.factor, lower.factor),
		given: max(own.given, lower.given), learned: max(own.learned, lower.learned), softmax: own.softmax,
		least: max(own.least, lower.least), leastSoftmax: own.leastSoftmax,
		round: lower.round, loss: lower.loss, cached: max(own.cached, lower.cached),
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
	q.Precision.loss = 0
	if what&Inputs != 0 {
		q.Precision.given = p.Precision.given
		q.roundInputs(lower)
	}
	if what&Parameters != 0 {
		q.Precision.learned = p.Precision.learned
		for _, values := range q.parametersRoundedIn(lower) {
			right := *values
			*values = q.BorrowCopy(right)
			for i, v := range right {
				(*values)[i] = lower.Round(v)
			}
		}
	}
	return q
}

// WithMeanErrors returns the problem with the mean errors of the precision's results in its values.
// Only truncation has mean errors.
func (p *Problem) WithMeanErrors(lower Precision) *Problem {
	q := p.Fork()
	q.Precision.loss = lower.loss
	return q
}

func (p *Problem) roundInputs(lower Precision) {
	done := map[identity]Array{}
	for _, in := range []*Array{&p.Query, &p.Key, &p.Value} {
		rounded, ok := done[identityOf(in.Value)]
		if !ok {
			rounded = lower.roundArray(*in)
			done[identityOf(in.Value)] = rounded
		}
		*in = Array{in.Shape, rounded.Value}
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

func (p Precision) roundArray(a Array) Array { return Array{a.Shape, p.roundAll(a.Value)} }

// roundAll returns rounded numbers; nil for nil.
func (p Precision) roundAll(values []float64) []float64 {
	if values == nil {
		return nil
	}
	out := make([]float64, len(values))
	for i, v := range values {
		out[i] = p.Round(v)
	}
	return out
}

// IsFloat32 reports whether nothing is rounded to fewer bits than float32's, and nothing was given
// in more.
func (p Precision) IsFloat32() bool {
	return !p.Rounds() && p.given == 0 && p.learned == 0 && p.cached == unquantised
}

// Rounds reports whether results, factors or the numbers of a softmax are stored in fewer bits than
// float32's.
func (p Precision) Rounds() bool { return p.stored > 0 || p.factor > 0 || p.softmax > 0 }

// arithmetic is all that decides the noise of a precision, and its mean errors.
type arithmetic struct {
	stored, factor, given, learned, loss, softmax, least, leastSoftmax float64
	cached                                                             quantisation
}

func (p Precision) arithmetic() arithmetic {
	return arithmetic{
		p.stored, p.factor, p.given, p.learned, p.loss, p.softmax, p.least, p.leastSoftmax, p.cached,
	}
}

// Holds reports whether every finite value is a number of the precision. A result of an arithmetic
// that stores fewer bits holds no other numbers.
func (p Precision) Holds(values []float64) bool {
	return !slices.ContainsFunc(values, func(v float64) bool { return v-v == 0 && p.Round(v) != v })
}

// Stores reports whether results are stored in fewer bits than float32's.
func (p Precision) Stores() bool { return p.stored > 0 }

// RoundsFactors reports whether the factors of matrix products are rounded, and nothing else is.
func (p Precision) RoundsFactors() bool {
	return p.factor > 0 && p.stored == 0 && p.softmax == 0 && p.cached == unquantised
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
	if p.stored == 0 {
		return f
	}
	if f.noisy() {
		for i, v := range f.Value {
			f.Variance[i] += p.ofStored(v)
		}
	}
	return p.lose(f)
}

// ofStored returns the variance of the rounding of a stored value. Zero is not rounded.
func (p Precision) ofStored(v float64) float64 {
	if v == 0 {
		return 0
	}
	return max(p.stored*v*v, p.least)
}

// leastWeight returns the variance of the smallest weights of a softmax. Float32 may turn them into
// zero.
func (p Precision) leastWeight() float64 { return max(underflow*underflow, p.least, p.leastSoftmax) }

// storeScore is [Precision.store] for one score.
func (p Precision) storeScore(s, variance float64) (stored, storedVariance float64) {
	if p.stored == 0 {
		return s, variance
	}
	return s * (1 - p.loss), variance + p.ofStored(s)
}

// asFactor adds the mean error of a result as a factor of the next product.
func (p Precision) asFactor(f Field) Field {
	if p.factor > 0 {
		return p.lose(f)
	}
	return f
}

// loseWeights adds the mean error of truncated attention weights to a context. Weights that sum to
// one lose as other numbers do. Exponentials that are divided by their sum later lose less: the
// largest is exactly 1. The mean of the two is taken.
func (p Precision) loseWeights(context Field) Field { return times(context, 1-p.loss/2) }

// lose adds the mean error of truncation to each value.
func (p Precision) lose(f Field) Field { return times(f, 1-p.loss) }

// times returns the field with its values multiplied, and the same variances.
func times(f Field, factor float64) Field {
	if factor == 1 {
		return f
	}
	value := make([]float64, len(f.Value))
	for i, v := range f.Value {
		value[i] = v * factor
	}
	return Field{Shape: f.Shape, Value: value, Variance: f.Variance}
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
