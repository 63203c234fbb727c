package checkpoint

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"

	"github.com/x448/float16"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/npy"
)

// Tensor is one named tensor of a file. Its values can be read if its type is one of [npy.DType].
// Complex numbers and some types of 8 bits and less are only listed.
type Tensor struct {
	Name  string // empty for the one array of a .npy file
	DType npy.DType
	Shape []int

	read func() ([]byte, error)
}

// Readable reports whether the values can be read.
func (t *Tensor) Readable() bool { return readable(t.DType) }

// wide returns the number of bytes of the values as float64, or of the values themselves if they
// are wider.
func (t *Tensor) wide() (int64, error) {
	n, err := attention.Size(t.Shape)
	if err != nil {
		return 0, err
	}
	size := max(int64(sizeOf(t.DType)), 8)
	if int64(n) > math.MaxInt64/size {
		return 0, fmt.Errorf("shape %s has more bytes than an int64 can count", attention.FormatShape(t.Shape))
	}
	return int64(n) * size, nil
}

// Bytes reads the values in row-major order, little endian, whatever the order of the file is.
// Other tensors may share the bytes: do not change them.
func (t *Tensor) Bytes() ([]byte, error) {
	if !t.Readable() {
		return nil, fmt.Errorf("%s: the values of dtype %s cannot be read", t.Name, t.DType)
	}
	data, err := t.read()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", t.Name, err)
	}
	return data, nil
}

// Float64s reads the values as float64. All are exact, except integers beyond 2^53. true is 1.
func (t *Tensor) Float64s() ([]float64, error) {
	data, err := t.Bytes()
	if err != nil {
		return nil, err
	}
	return decodeAll(t.DType, data), nil
}

func decodeAll(dtype npy.DType, data []byte) []float64 {
	size, decode := dtype.Size(), decoders[dtype]
	values := make([]float64, len(data)/size)
	for i := range values {
		values[i] = decode(data[i*size:])
	}
	return values
}

// Float32s reads the values as float32. Values of float64 are rounded, all others are exact. It
// fails on integers and booleans, which are not parameters, and on values too large for float32.
func (t *Tensor) Float32s() (*attention.Tensor, error) {
	if t.Readable() && !t.DType.IsFloat() {
		return nil, fmt.Errorf("%s: dtype %s, want a floating-point type", t.Name, t.DType)
	}
	values, err := t.Float64s()
	if err != nil {
		return nil, err
	}
	out := &attention.Tensor{Shape: t.Shape, Data: make([]float32, len(values))}
	for i, v := range values {
		out.Data[i] = float32(v)
		if math.IsInf(float64(out.Data[i]), 0) && !math.IsInf(v, 0) {
			return nil, fmt.Errorf("%s: element %d is %g, too large for float32", t.Name, i, v)
		}
	}
	return out, nil
}

// decoders holds a function for each type that decodes the first element of some bytes.
var decoders = map[npy.DType]func([]byte) float64{
	npy.Float16: func(b []byte) float64 {
		return float64(float16.Frombits(binary.LittleEndian.Uint16(b)).Float32())
	},
	npy.BFloat16: func(b []byte) float64 {
		return float64(math.Float32frombits(uint32(binary.LittleEndian.Uint16(b)) << 16))
	},
	npy.Float32:      func(b []byte) float64 { return float64(math.Float32frombits(binary.LittleEndian.Uint32(b))) },
	npy.Float64:      func(b []byte) float64 { return math.Float64frombits(binary.LittleEndian.Uint64(b)) },
	npy.Float8E4M3FN: func(b []byte) float64 { return float8(b[0], 3) },
	npy.Float8E5M2:   func(b []byte) float64 { return float8(b[0], 2) },
	npy.Bool:         func(b []byte) float64 { return float64(min(b[0], 1)) },
	npy.Int8:         func(b []byte) float64 { return float64(int8(b[0])) },
	npy.Uint8:        func(b []byte) float64 { return float64(b[0]) },
	npy.Int16:        func(b []byte) float64 { return float64(int16(binary.LittleEndian.Uint16(b))) },
	npy.Uint16:       func(b []byte) float64 { return float64(binary.LittleEndian.Uint16(b)) },
	npy.Int32:        func(b []byte) float64 { return float64(int32(binary.LittleEndian.Uint32(b))) },
	npy.Uint32:       func(b []byte) float64 { return float64(binary.LittleEndian.Uint32(b)) },
	npy.Int64:        func(b []byte) float64 { return float64(int64(binary.LittleEndian.Uint64(b))) },
	npy.Uint64:       func(b []byte) float64 { return float64(binary.LittleEndian.Uint64(b)) },
}

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

// section reads n bytes of a file at an offset.
func section(r io.ReaderAt, offset, n int64) ([]byte, error) {
	data := make([]byte, n)
	if _, err := io.ReadFull(io.NewSectionReader(r, offset, n), data); err != nil {
		return nil, fmt.Errorf("%d bytes at %d: %w", n, offset, err)
	}
	return data, nil
}
