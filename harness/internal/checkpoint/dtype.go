package checkpoint

import (
	"strings"

	"github.com/difftest/difftest/harness/internal/npy"
)

const (
	complex64  npy.DType = "complex64"
	complex128 npy.DType = "complex128"
)

// unread holds the bits of an element of each type that a file may have and that is not read.
// Parameters of attention have none of them. Half a byte and less are safetensors' alone.
var unread = map[npy.DType]int{
	"complex32": 32, complex64: 64, complex128: 128, "bcomplex32": 32,
	"float8_e4m3fnuz": 8, "float8_e5m2fnuz": 8, "float8_e8m0fnu": 8,
	"float4_e2m1fn": 4, "float6_e2m3fn": 6, "float6_e3m2fn": 6,
}

// readable reports whether the values of a type can be read.
func readable(dtype npy.DType) bool { return dtype.Size() > 0 }

func isComplex(dtype npy.DType) bool { return strings.Contains(string(dtype), "complex") }

// bitsOf returns the number of bits of an element, 0 for an unknown type.
func bitsOf(dtype npy.DType) int {
	if readable(dtype) {
		return 8 * dtype.Size()
	}
	return unread[dtype]
}

// sizeOf returns the number of whole bytes of an element, 0 for half a byte.
func sizeOf(dtype npy.DType) int { return bitsOf(dtype) / 8 }
