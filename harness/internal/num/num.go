// Package num holds the small pieces of arithmetic that several rooms need: sizes of shapes, norms
// and products of vectors.
package num

import (
	"math"

	"gonum.org/v1/gonum/floats"
)

// Last returns the size of the last dimension.
func Last(shape []int) int { return shape[len(shape)-1] }

// Size returns the number of elements of a shape; 1 for a scalar.
func Size(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

// RMS returns the root mean square; 0 if there are no values.
func RMS(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sum := 0.0
	for _, v := range values {
		sum += v * v
	}
	if math.IsInf(sum, 1) { // a square overflowed; this norm is slower and does not
		return floats.Norm(values, 2) / math.Sqrt(float64(len(values)))
	}
	return math.Sqrt(sum / float64(len(values)))
}

// Dot returns the product of a with as many leading values of b.
func Dot(a, b []float64) float64 { return floats.Dot(a, b[:len(a)]) }

// AddScaled adds a times x to as many leading values of y, in place.
func AddScaled(a float64, x, y []float64) { floats.AddScaled(y[:len(x)], a, x) }

// Nearest rounds away the last bits of a float32, ties to even. 16 bits leave a bfloat16, and 13 a
// number of TensorFloat-32.
func Nearest(v float32, bits uint) float32 {
	pattern := math.Float32bits(v)
	below := uint32(1)<<bits - 1
	return math.Float32frombits((pattern + below>>1 + pattern>>bits&1) &^ below)
}
