package checkpoint

import (
	"encoding/binary"
	"math"
	"sync"

	"github.com/x448/float16"

	"github.com/difftest/difftest/harness/internal/npy"
)

// decode decodes little-endian elements. There is one loop for each type, because weights are
// gigabytes of them.
func decode(dtype npy.DType, data []byte, to []float64) {
	little := binary.LittleEndian
	switch dtype {
	case npy.Float16:
		table := float16s()
		for i := range to {
			to[i] = float64(table[little.Uint16(data[2*i:])])
		}
	case npy.BFloat16:
		for i := range to {
			to[i] = float64(math.Float32frombits(uint32(little.Uint16(data[2*i:])) << 16))
		}
	case npy.Float32:
		for i := range to {
			to[i] = float64(math.Float32frombits(little.Uint32(data[4*i:])))
		}
	case npy.Float64:
		for i := range to {
			to[i] = math.Float64frombits(little.Uint64(data[8*i:]))
		}
	case npy.Float8E4M3FN:
		decodeBytes(data, to, func(b byte) float64 { return float8(b, 3) })
	case npy.Float8E5M2:
		decodeBytes(data, to, func(b byte) float64 { return float8(b, 2) })
	default:
		decodeIntegers(dtype, data, to)
	}
}

func decodeAll(dtype npy.DType, data []byte) []float64 {
	values := make([]float64, len(data)/dtype.Size())
	decode(dtype, data, values)
	return values
}

func decodeIntegers(dtype npy.DType, data []byte, to []float64) {
	little := binary.LittleEndian
	switch dtype {
	case npy.Int8:
		decodeBytes(data, to, func(b byte) float64 { return float64(int8(b)) })
	case npy.Uint8, npy.Bool:
		decodeBytes(data, to, func(b byte) float64 { return float64(b) })
	case npy.Int16:
		for i := range to {
			to[i] = float64(int16(little.Uint16(data[2*i:])))
		}
	case npy.Uint16:
		for i := range to {
			to[i] = float64(little.Uint16(data[2*i:]))
		}
	case npy.Int32:
		for i := range to {
			to[i] = float64(int32(little.Uint32(data[4*i:])))
		}
	case npy.Uint32:
		for i := range to {
			to[i] = float64(little.Uint32(data[4*i:]))
		}
	case npy.Int64:
		for i := range to {
			to[i] = float64(int64(little.Uint64(data[8*i:])))
		}
	case npy.Uint64:
		for i := range to {
			to[i] = float64(little.Uint64(data[8*i:]))
		}
	}
}

// decodeBytes decodes elements of a byte by a table of all bytes.
func decodeBytes(data []byte, to []float64, value func(byte) float64) {
	var table [256]float64
	for b := range table {
		table[b] = value(byte(b))
	}
	for i := range to {
		to[i] = table[data[i]]
	}
}

// float16s returns the value of each pattern of bits.
var float16s = sync.OnceValue(func() *[1 << 16]float32 {
	var table [1 << 16]float32
	for bits := range table {
		table[bits] = float16.Frombits(uint16(bits)).Float32()
	}
	return &table
})

// float8 decodes a float of 8 bits with 3 bits of significand, float8_e4m3fn, or 2, float8_e5m2.
// The first has no infinity, and one NaN of each sign (torch/headeronly/util/Float8_e4m3fn.h).
func float8(b byte, significand int) float64 {
	bias := 7
	if significand == 2 {
		bias = 15
	}
	exponent, fraction := int(b&0x7f)>>significand, int(b)&(1<<significand-1)
	sign := 1.0
	if b&0x80 != 0 {
		sign = -1
	}
	switch {
	case significand == 3 && b&0x7f == 0x7f, significand == 2 && exponent == 31 && fraction > 0:
		return math.NaN()
	case significand == 2 && exponent == 31:
		return math.Inf(int(sign))
	case exponent == 0:
		return math.Copysign(math.Ldexp(float64(fraction), 1-bias-significand), sign)
	}
	return sign * math.Ldexp(float64(fraction+1<<significand), exponent-bias-significand)
}
