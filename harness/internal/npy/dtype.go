package npy

import "math"

// DType is the type of an array's elements, under PyTorch's and NumPy's name.
type DType string

// The element types. Arrays are made of the first six alone; the others are known by name and size.
const (
	Float16 DType = "float16"
	Float32 DType = "float32"
	Float64 DType = "float64"
	Bool    DType = "bool"
	Int64   DType = "int64"  // indices, which only a module takes
	Uint16  DType = "uint16" // bits of bfloat16, for which .npy has no type

	// BFloat16 is what case.json says of a file of uint16.
	BFloat16 DType = "bfloat16"

	Int8   DType = "int8"
	Int16  DType = "int16"
	Int32  DType = "int32"
	Uint8  DType = "uint8"
	Uint32 DType = "uint32"
	Uint64 DType = "uint64"
)

// types are what is known of each type.
var types = map[DType]struct {
	size        int // bytes an element
	bits, least int // of a floating-point type: stored bits of the significand, smallest exponent
}{
	Float16: {2, 10, -14}, BFloat16: {2, 7, -126}, Float32: {4, 23, -126}, Float64: {8, 52, -1022},
	Bool: {size: 1}, Int8: {size: 1}, Uint8: {size: 1}, Int16: {size: 2}, Uint16: {size: 2},
	Int32: {size: 4}, Uint32: {size: 4}, Int64: {size: 8}, Uint64: {size: 8},
}

// Size is the number of bytes of an element, 0 for a type that is not known.
func (t DType) Size() int { return types[t].size }

// IsFloat says whether the elements are floating-point numbers.
func (t DType) IsFloat() bool { return types[t].bits > 0 }

// ULP is the unit in the last place of a number: the distance from its magnitude to the next number of
// a floating-point type.
func (t DType) ULP(v float64) float64 {
	exponent := types[t].least
	if v != 0 {
		exponent = max(exponent, math.Ilogb(v))
	}
	return math.Ldexp(1, exponent-types[t].bits)
}
