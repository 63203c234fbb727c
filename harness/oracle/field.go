package oracle

import (
	"math"
	"slices"

	"github.com/difftest/difftest/attention"
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

// exact is a tensor that was given, not computed: its variance is zero.
func exact(t *attention.Tensor) Field {
	return Field{Shape: t.Shape, Value: t.Float64s(), Variance: make([]float64, len(t.Data))}
}

// Sigma is the standard deviation of each element's rounding.
func (f Field) Sigma() []float64 {
	sigma := make([]float64, len(f.Variance))
	for i, v := range f.Variance {
		sigma[i] = math.Sqrt(v)
	}
	return sigma
}

// as views the same elements in another shape.
func (f Field) as(shape ...int) Field {
	return Field{Shape: shape, Value: f.Value, Variance: f.Variance}
}

// row gives values and variances n*width .. (n+1)*width.
func (f Field) row(n, width int) (value, variance []float64) {
	return f.Value[n*width:][:width], f.Variance[n*width:][:width]
}

func size(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}
