package oracle

import (
	"math"
	"slices"
)

// Field is an array of values, each with the variance of its rounding, in row-major order.
type Field struct {
	Shape    []int
	Value    []float64
	Variance []float64
}

func newField(shape ...int) Field {
	n := size(shape)
	return Field{Shape: slices.Clone(shape), Value: make([]float64, n), Variance: make([]float64, n)}
}

// Sigma is the standard deviation of each element's rounding.
func (f Field) Sigma() []float64 {
	sigma := make([]float64, len(f.Variance))
	for i, v := range f.Variance {
		sigma[i] = math.Sqrt(v)
	}
	return sigma
}

// row gives values and variances n*width .. (n+1)*width.
func (f Field) row(n, width int) (value, variance []float64) {
	return f.Value[n*width:][:width], f.Variance[n*width:][:width]
}

func (f Field) clone() Field {
	return Field{slices.Clone(f.Shape), slices.Clone(f.Value), slices.Clone(f.Variance)}
}

// part views the n-th matrix of the last two dimensions.
func (f Field) part(n int) Field {
	shape := f.Shape[len(f.Shape)-2:]
	size := size(shape)
	return Field{shape, f.Value[n*size:][:size], f.Variance[n*size:][:size]}
}

// put copies other into f, from a place on.
func (f Field) put(at int, other Field) {
	copy(f.Value[at:], other.Value)
	copy(f.Variance[at:], other.Variance)
}

// line views row n of a matrix.
func (f Field) line(n int) Field {
	width := last(f.Shape)
	return Field{f.Shape[len(f.Shape)-1:], f.Value[n*width:][:width], f.Variance[n*width:][:width]}
}

// MeanOfHeads is the mean over the heads, (B, H, L, S) -> (B, L, S):
//
//	Var mean = Σ Var / H² + rounding of the sum and of its division
func (f Field) MeanOfHeads() Field {
	heads, size := f.Shape[1], f.Shape[2]*f.Shape[3]
	mean := newField(f.Shape[0], f.Shape[2], f.Shape[3])
	for i := range mean.Value {
		var sum, squares, carried float64
		for h := range heads {
			at := (i/size*heads+h)*size + i%size
			sum += f.Value[at]
			squares += f.Value[at] * f.Value[at]
			carried += f.Variance[at]
		}
		n := float64(heads)
		mean.Value[i] = sum / n
		mean.Variance[i] = (carried + sumOfProducts(heads, sum, squares) + roundoff*sum*sum) / (n * n)
	}
	return mean
}
