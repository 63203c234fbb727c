package oracle

import (
	"math"
	"slices"

	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/num"
)

// Field is an array of values, each with the variance of its rounding, in row-major order. Where values
// alone were asked for it has no variances.
type Field struct {
	Shape    []int
	Value    []float64
	Variance []float64
}

// newField is one of zeros, which are exact, with variances only where there is noise to follow.
func newField(noise bool, shape ...int) Field {
	n := num.Size(shape)
	f := Field{Shape: slices.Clone(shape), Value: make([]float64, n)}
	if noise {
		f.Variance = make([]float64, n)
	}
	return f
}

// ZerosLike is a field of zeros, which are exact, of the same shape.
func (f Field) ZerosLike() Field { return newField(f.noisy(), f.Shape...) }

func (f Field) noisy() bool { return f.Variance != nil }

// Take copies n elements of another field, from a place on.
func (f Field) Take(at int, from Field, place, n int) {
	copy(f.Value[at:][:n], from.Value[place:])
	if f.noisy() && from.noisy() {
		copy(f.Variance[at:][:n], from.Variance[place:])
	}
}

// Expected returns the field as what an output is compared with.
func (f Field) Expected() compare.Expected {
	return compare.Expected{Shape: f.Shape, Value: f.Value, Sigma: f.Sigma()}
}

// Sigma is the standard deviation of each element's rounding.
func (f Field) Sigma() []float64 {
	sigma := make([]float64, len(f.Variance))
	for i, v := range f.Variance {
		sigma[i] = math.Sqrt(v)
	}
	return sigma
}

// view is the n elements from a place on.
func (f Field) view(at, n int, shape ...int) Field {
	v := Field{Shape: shape, Value: f.Value[at:][:n]}
	if f.noisy() {
		v.Variance = f.Variance[at:][:n]
	}
	return v
}

// part views the n-th matrix of the last two dimensions.
func (f Field) part(n int) Field {
	shape := f.Shape[len(f.Shape)-2:]
	size := num.Size(shape)
	return f.view(n*size, size, shape...)
}

// line views row n, of the last dimension.
func (f Field) line(n int) Field {
	width := num.Last(f.Shape)
	return f.view(n*width, width, width)
}

// MeanOfHeads is the mean over the heads, (B, H, L, S) -> (B, L, S):
//
//	Var mean = Σ Var / H² + rounding of the sum and of its division
func (f Field) MeanOfHeads() Field {
	heads, size := f.Shape[1], f.Shape[2]*f.Shape[3]
	mean := newField(f.noisy(), f.Shape[0], f.Shape[2], f.Shape[3])
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
