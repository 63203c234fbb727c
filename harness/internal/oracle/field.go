package oracle

import (
	"math"
	"slices"

	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/num"
)

// Detail says how much is computed.
type Detail int

const (
	// WithNoise computes values and the variance of each.
	WithNoise Detail = iota
	// ValuesAlone leaves out the variances. It takes a third of the time.
	ValuesAlone
)

// Field is an array of values in row-major order, each with the variance of its rounding. Variance
// is nil if only values were computed.
type Field struct {
	Shape    []int
	Value    []float64
	Variance []float64
}

// newField returns zeros, whose variance is zero, too.
func newField(d Detail, shape ...int) Field {
	n := num.Size(shape)
	f := Field{Shape: slices.Clone(shape), Value: make([]float64, n)}
	if d == WithNoise {
		f.Variance = make([]float64, n)
	}
	return f
}

// ZerosLike returns zeros of the same shape and detail.
func (f Field) ZerosLike() Field { return newField(f.detail(), f.Shape...) }

func (f Field) noisy() bool { return f.Variance != nil }

func (f Field) detail() Detail {
	if f.noisy() {
		return WithNoise
	}
	return ValuesAlone
}

// withDetail returns the field without its variances if the detail leaves them out.
func (f Field) withDetail(d Detail) Field {
	if d == ValuesAlone {
		f.Variance = nil
	}
	return f
}

// Take copies n elements from index place of another field to index at of f.
func (f Field) Take(at int, from Field, place, n int) {
	copy(f.Value[at:][:n], from.Value[place:])
	if f.noisy() && from.noisy() {
		copy(f.Variance[at:][:n], from.Variance[place:])
	}
}

// Expected returns the field as the expectation to compare an output with.
func (f Field) Expected() compare.Expected {
	return compare.Expected{Shape: f.Shape, Value: f.Value, Sigma: f.Sigma()}
}

// Sigma returns the standard deviation of each element's rounding.
func (f Field) Sigma() []float64 {
	sigma := make([]float64, len(f.Variance))
	for i, v := range f.Variance {
		sigma[i] = math.Sqrt(v)
	}
	return sigma
}

// view returns the n elements from index at, in the given shape, without a copy.
func (f Field) view(at, n int, shape ...int) Field {
	v := Field{Shape: shape, Value: f.Value[at:][:n]}
	if f.noisy() {
		v.Variance = f.Variance[at:][:n]
	}
	return v
}

// matrix returns matrix n of the last two dimensions, without a copy.
func (f Field) matrix(n int) Field {
	shape := f.Shape[len(f.Shape)-2:]
	size := num.Size(shape)
	return f.view(n*size, size, shape...)
}

// row returns row n of the last dimension, without a copy.
func (f Field) row(n int) Field {
	width := num.Last(f.Shape)
	return f.view(n*width, width, width)
}

// MeanOfHeads returns the mean over the heads of weights, (B, H, L, S) -> (B, L, S):
//
//	Var mean = Σ Var / H² + rounding of the sum and of its division
func (f Field) MeanOfHeads() Field {
	heads, size := f.Shape[1], f.Shape[2]*f.Shape[3]
	mean := newField(f.detail(), f.Shape[0], f.Shape[2], f.Shape[3])
	n := float64(heads)
	for i := range mean.Value {
		first := i/size*heads*size + i%size
		var sum float64
		for h := range heads {
			sum += f.Value[first+h*size]
		}
		mean.Value[i] = sum / n
		if !f.noisy() {
			continue
		}
		var squares, carried float64
		for h := range heads {
			at := first + h*size
			squares += f.Value[at] * f.Value[at]
			carried += f.Variance[at]
		}
		mean.Variance[i] = (carried + sumOfProducts(heads, sum, squares) + roundoff*sum*sum) / (n * n)
	}
	return mean
}
