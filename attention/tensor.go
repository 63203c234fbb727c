package attention

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
)

// Tensor is a dense float32 array in row-major (C) order, laid out as the result of
// torch.Tensor.contiguous. An empty Shape is a scalar, which has one element.
type Tensor struct {
	// Shape holds the size of every dimension, the outermost first.
	Shape []int
	// Data holds the elements; the last dimension varies fastest.
	Data []float32
}

// Mask is a dense array of booleans in row-major (C) order. The field that holds a mask tells what
// true means: true takes part in [SDPAOptions.Allow], and is ignored in [Inputs.Block] and
// [Inputs.Padding].
type Mask struct {
	// Shape holds the size of every dimension, the outermost first.
	Shape []int
	// Data holds the elements; the last dimension varies fastest.
	Data []bool
}

// NewTensor returns a tensor of zeros, as torch.zeros does, and panics if [Size]
// refuses the shape.
func NewTensor(shape ...int) *Tensor {
	n, err := Size(shape)
	if err != nil {
		panic("attention: NewTensor: " + err.Error())
	}
	return &Tensor{Shape: slices.Clone(shape), Data: make([]float32, n)}
}

// NewMask returns a mask that is false everywhere, and panics if [Size] refuses the shape.
func NewMask(shape ...int) *Mask {
	n, err := Size(shape)
	if err != nil {
		panic("attention: NewMask: " + err.Error())
	}
	return &Mask{Shape: slices.Clone(shape), Data: make([]bool, n)}
}

// Clone returns a copy that shares no memory with t. The clone of nil is nil.
func (t *Tensor) Clone() *Tensor {
	if t == nil {
		return nil
	}
	return &Tensor{Shape: slices.Clone(t.Shape), Data: slices.Clone(t.Data)}
}

// Clone returns a copy that shares no memory with m. The clone of nil is nil.
func (m *Mask) Clone() *Mask {
	if m == nil {
		return nil
	}
	return &Mask{Shape: slices.Clone(m.Shape), Data: slices.Clone(m.Data)}
}

// Float64s returns the elements as float64. The conversion is exact.
func (t *Tensor) Float64s() []float64 {
	wide := make([]float64, len(t.Data))
	for i, v := range t.Data {
		wide[i] = float64(v)
	}
	return wide
}

// Check returns an error if t is nil, if [Size] refuses its shape, or if Data has another number of
// elements than the shape.
func (t *Tensor) Check() error {
	if t == nil {
		return errors.New("no tensor")
	}
	return checkData(t.Shape, len(t.Data))
}

// Check returns an error if m is nil, if [Size] refuses its shape, or if Data has another number of
// elements than the shape.
func (m *Mask) Check() error {
	if m == nil {
		return errors.New("no mask")
	}
	return checkData(m.Shape, len(m.Data))
}

func checkData(shape []int, elements int) error {
	n, err := Size(shape)
	if err != nil {
		return err
	}
	if n != elements {
		return fmt.Errorf("shape %s needs %d elements, the data has %d", FormatShape(shape), n, elements)
	}
	return nil
}

// Size returns the number of elements of a shape, 1 for the empty shape of a scalar. An error tells
// that a dimension is negative, or that the product of the dimensions other than 0 overflows int.
func Size(shape []int) (int, error) {
	n, empty := 1, false
	for _, d := range shape {
		switch {
		case d < 0:
			return 0, fmt.Errorf("shape %s has a negative dimension", FormatShape(shape))
		case d == 0:
			empty = true
		case n > math.MaxInt/d:
			return 0, fmt.Errorf("shape %s has more elements than an int can count", FormatShape(shape))
		default:
			n *= d
		}
	}
	if empty {
		return 0, nil
	}
	return n, nil
}

// FormatShape formats a shape as Python formats a tuple: (5, 9, 40), (3,), ().
func FormatShape(shape []int) string {
	if len(shape) == 1 {
		return fmt.Sprintf("(%d,)", shape[0])
	}
	words := make([]string, len(shape))
	for i, d := range shape {
		words[i] = fmt.Sprint(d)
	}
	return "(" + strings.Join(words, ", ") + ")"
}

// fromEnd returns the size of a dimension counted from the last, which is 1.
func fromEnd(t *Tensor, back int) int { return t.Shape[len(t.Shape)-back] }

// matrix returns the elements of matrix n of a tensor (..., rows, columns), nil if t is nil.
func matrix(t *Tensor, n int) []float32 {
	if t == nil {
		return nil
	}
	size := fromEnd(t, 2) * fromEnd(t, 1)
	return t.Data[n*size:][:size]
}

// dot returns the dot product of two vectors of float32, summed in float64.
func dot(a, b []float32) float64 {
	sum := 0.0
	for i, x := range a {
		sum += float64(x) * float64(b[i])
	}
	return sum
}

// finite reports whether v is neither NaN nor infinite.
func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }
