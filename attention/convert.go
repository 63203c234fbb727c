package attention

import (
	"math"
	"slices"

	"github.com/x448/float16"
)

// FromFloat64 rounds float64 values to the nearest float32, ties to even; values beyond
// float32's range become infinities. It is torch.Tensor.float() (PyTorch 2.15.0).
// It fails when data and shape disagree.
func FromFloat64(shape []int, data []float64) (*Tensor, error) {
	return convert(shape, data, func(v float64) float32 { return float32(v) })
}

// FromFloat16 widens IEEE 754 half-precision values, given as their bits; every one of them,
// subnormals included, is exact in float32. It fails when data and shape disagree.
func FromFloat16(shape []int, bits []uint16) (*Tensor, error) {
	return convert(shape, bits, func(b uint16) float32 { return float16.Frombits(b).Float32() })
}

// FromBFloat16 widens bfloat16 values, given as their bits: the upper half of a float32, so
// every one is exact. It fails when data and shape disagree.
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
