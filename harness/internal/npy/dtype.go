package npy

import "math"

// DType is the type of an array's elements, named as PyTorch and NumPy name it.
type DType string

// The element types. An [Array] has one of the first seven. Checkpoints hold the others too, so
// their names and sizes are known.
const (
	Float16  DType = "float16"
	Float32  DType = "float32"
	Float64  DType = "float64"
	BFloat16 DType = "bfloat16" // a .npy file holds its bits as uint16
	Bool     DType = "bool"
	Int64    DType = "int64" // indices, lengths and positions
	Uint16   DType = "uint16"

	Int8   DType = "int8"
	Int16  DType = "int16"
	Int32  DType = "int32"
	Uint8  DType = "uint8"
	Uint32 DType = "uint32"
	Uint64 DType = "uint64"

	Float8E4M3FN DType = "float8_e4m3fn" // without infinities
	Float8E5M2   DType = "float8_e5m2"
)

// types holds the size of each type in bytes. For a floating-point type it also holds the stored
// bits of the significand and the smallest exponent of a normal number.
var types = map[DType]struct{ size, bits, least int }{
	Float16: {2, 10, -14}, BFloat16: {2, 7, -126}, Float32: {4, 23, -126}, Float64: {8, 52, -1022},
	Float8E4M3FN: {1, 3, -6}, Float8E5M2: {1, 2, -14},
	Bool: {size: 1}, Int8: {size: 1}, Uint8: {size: 1}, Int16: {size: 2}, Uint16: {size: 2},
	Int32: {size: 4}, Uint32: {size: 4}, Int64: {size: 8}, Uint64: {size: 8},
}

// Size returns the number of bytes of an element, 0 for an unknown type.
func (t DType) Size() int { return types[t].size }

// IsFloat reports whether the elements are floating-point numbers.
func (t DType) IsFloat() bool { return types[t].bits > 0 }

// ULP returns the unit in the last place of v in a floating-point type: the distance from the
// magnitude of v to the next larger number of that type.
func (t DType) ULP(v float64) float64 {
	exponent := types[t].least
	if v != 0 {
		exponent = max(exponent, math.Ilogb(v))
	}
	return math.Ldexp(1, exponent-types[t].bits)
}
