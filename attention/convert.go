package attention

import (
	"math"
	"slices"

	"github.com/x448/float16"
)

// FromFloat64 rounds float64 values to the nearest float32, ties to even, as torch.Tensor.float
// does. Values beyond the range of float32 become infinities.
//
// FromFloat64 copies its arguments. The error tells that shape and data differ in their number of
// elements.
func FromFloat64(shape []int, data []float64) (*Tensor, error) {
	return convert(shape, data, func(v float64) float32 { return float32(v) })
}

// FromFloat16 widens IEEE 754 half-precision values, given as their bits. Every value, subnormals
// included, is exact in float32.
//
// FromFloat16 copies its arguments. The error tells that shape and bits differ in their number of
// elements.
func FromFloat16(shape []int, bits []uint16) (*Tensor, error) {
	return convert(shape, bits, func(b uint16) float32 { return float16.Frombits(b).Float32() })
}

// FromBFloat16 widens bfloat16 values, given as their bits: the upper half of a float32. Every
// value is exact in float32.
//
// FromBFloat16 copies its arguments. The error tells that shape and bits differ in their number of
// elements.
func FromBFloat16(shape []int, bits []uint16) (*Tensor, error) {
	return convert(shape, bits, func(b uint16) float32 { return math.Float32frombits(uint32(b) << 16) })
}

func convert[T any](shape []int, data []T, element func(T) float32) (*Tensor, error) {
	if err := checkData(shape, len(data)); err != nil {
		return nil, err
	}
	t := &Tensor{Shape: slices.Clone(shape), Data: make([]float32, len(data))}
	for i, v := range data {
		t.Data[i] = element(v)
	}
	return t, nil
}
