package attention

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
)

// Tensor is a dense float32 array in row-major (C) order, as torch.Tensor.contiguous().
// An empty Shape is a scalar: one element.
type Tensor struct {
	Shape []int
	Data  []float32
}

// Mask is a dense array of booleans in row-major order. What true means is said by the
// field it sits in: Allow, Block or Padding.
type Mask struct {
	Shape []int
	Data  []bool
}

// NewTensor returns a tensor of zeros. It panics on a shape that [Size] refuses.
func NewTensor(shape ...int) *Tensor {
	n, err := Size(shape)
	if err != nil {
		panic("attention: NewTensor: " + err.Error())
	}
	return &Tensor{Shape: slices.Clone(shape), Data: make([]float32, n)}
}

// NewMask returns a mask that is false everywhere. It panics on a shape that [Size] refuses.
func NewMask(shape ...int) *Mask {
	n, err := Size(shape)
	if err != nil {
		panic("attention: NewMask: " + err.Error())
	}
	return &Mask{Shape: slices.Clone(shape), Data: make([]bool, n)}
}

// Clone returns a deep copy. The clone of nil is nil.
func (t *Tensor) Clone() *Tensor {
	if t == nil {
		return nil
	}
	return &Tensor{Shape: slices.Clone(t.Shape), Data: slices.Clone(t.Data)}
}

// Clone returns a deep copy. The clone of nil is nil.
func (m *Mask) Clone() *Mask {
	if m == nil {
		return nil
	}
	return &Mask{Shape: slices.Clone(m.Shape), Data: slices.Clone(m.Data)}
}

// Float64s returns the values as float64, each of them exact.
func (t *Tensor) Float64s() []float64 {
	wide := make([]float64, len(t.Data))
	for i, v := range t.Data {
		wide[i] = float64(v)
	}
	return wide
}

// Check says whether the tensor holds as many elements as its shape claims.
func (t *Tensor) Check() error {
	if t == nil {
		return errors.New("no tensor")
	}
	return checkData(t.Shape, len(t.Data))
}

// Check says whether the mask holds as many elements as its shape claims.
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

// Size is the number of elements of a shape. It fails on a negative dimension and on a
// product beyond the range of int, also where another dimension is zero.
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

// FormatShape writes a shape as Python does: (5, 9, 40), (3,), ().
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
