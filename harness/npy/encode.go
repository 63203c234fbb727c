package npy

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/x448/float16"

	"github.com/difftest/difftest/attention"
)

// TensorArray is a tensor as an array of float16, bfloat16 or float32, each value rounded to the
// nearest of that type.
func TensorArray(t *attention.Tensor, dtype DType) (*Array, error) {
	if err := t.Check(); err != nil {
		return nil, err
	}
	if !slices.Contains([]DType{Float16, BFloat16, Float32}, dtype) {
		return nil, fmt.Errorf("dtype %s, want %s, %s or %s", dtype, Float16, BFloat16, Float32)
	}
	return &Array{DType: dtype, Shape: t.Shape, float32s: t.Data}, nil
}

// Float64Array is an array of float64.
func Float64Array(shape []int, values []float64) (*Array, error) {
	if n, err := attention.Size(shape); err != nil || n != len(values) {
		return nil, fmt.Errorf("%d elements of shape %s", len(values), attention.FormatShape(shape))
	}
	return &Array{DType: Float64, Shape: shape, float64s: values}, nil
}

// MaskArray is a mask as an array of bool.
func MaskArray(m *attention.Mask) (*Array, error) {
	if err := m.Check(); err != nil {
		return nil, err
	}
	return &Array{DType: Bool, Shape: m.Shape, bools: m.Data}, nil
}

// EncodeNPY writes the array as a whole .npy file of version 1.0, little endian, in C order, as NumPy 2.4
// does. bfloat16, for which the format has no type, is its bits in uint16. It fails on a shape that is too long
// for such a header.
func (a *Array) EncodeNPY() ([]byte, error) {
	descr, body, err := a.body()
	if err != nil {
		return nil, err
	}
	const before, alignment = 10, 64 // bytes before the text; where the data begins is a multiple of 64
	text := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': %s, }", descr, attention.FormatShape(a.Shape))
	for (before+len(text)+1)%alignment != 0 {
		text += " "
	}
	if len(text) >= maxHeader {
		return nil, errors.New(".npy header: too many dimensions")
	}
	file := append([]byte("\x93NUMPY\x01\x00"), byte((len(text)+1)%256), byte((len(text)+1)/256))
	return append(append(append(file, text...), '\n'), body...), nil
}

// body is the data, and its type in a header.
func (a *Array) body() (descr string, body []byte, err error) {
	switch a.DType {
	case Float64:
		descr = "<f8"
		body, err = binary.Append(nil, binary.LittleEndian, a.float64s)
	case Float32:
		descr = "<f4"
		body, err = binary.Append(nil, binary.LittleEndian, a.float32s)
	case Float16:
		descr = "<f2"
		body, err = binary.Append(nil, binary.LittleEndian, narrowed(a.float32s, func(v float32) uint16 { return float16.Fromfloat32(v).Bits() }))
	case BFloat16:
		descr = "<u2"
		body, err = binary.Append(nil, binary.LittleEndian, narrowed(a.float32s, bfloat16Bits))
	case Uint16:
		descr = "<u2"
		body, err = binary.Append(nil, binary.LittleEndian, a.bits)
	case Int64:
		descr = "<i8"
		body, err = binary.Append(nil, binary.LittleEndian, a.int64s)
	case Bool:
		descr = "|b1"
		body, err = binary.Append(nil, binary.LittleEndian, a.bools)
	default:
		err = fmt.Errorf("dtype %q cannot be written", a.DType)
	}
	return descr, body, err
}

func narrowed(values []float32, bits func(float32) uint16) []uint16 {
	out := make([]uint16, len(values))
	for i, v := range values {
		out[i] = bits(v)
	}
	return out
}

// bfloat16Bits rounds to the nearest bfloat16, ties to even; NaN stays NaN.
func bfloat16Bits(v float32) uint16 {
	bits := math.Float32bits(v)
	if v != v {
		return uint16(bits>>16) | 1<<6
	}
	return uint16((bits + 0x7fff + bits>>16&1) >> 16)
}
