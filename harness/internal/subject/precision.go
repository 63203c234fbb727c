package subject

import (
	"fmt"
	"slices"
)

// Precision is the arithmetic that a subject declares. It is no tolerance: the output is judged by
// the noise that this arithmetic gives.
type Precision string

// The precisions that can be declared. The zero value is float32.
const (
	Float32  Precision = ""
	Float16  Precision = "float16"
	BFloat16 Precision = "bfloat16"
	TF32     Precision = "tf32"

	// Float32 with a KV cache of 8 bits.
	Int8Cache Precision = "int8-cache"
	E4M3Cache Precision = "fp8-e4m3-cache"
	E5M2Cache Precision = "fp8-e5m2-cache"
)

var lower = []Precision{Float16, BFloat16, TF32, Int8Cache, E4M3Cache, E5M2Cache}

// Check refuses an unknown precision.
func (p Precision) Check() error {
	if p != Float32 && !slices.Contains(lower, p) {
		return fmt.Errorf("precision: %q, want one of %q, or nothing for float32", p, lower)
	}
	return nil
}

// ParsePrecision reads a precision that a flag or a child process declares. Both "" and "float32"
// are the zero value.
func ParsePrecision(word string) (Precision, error) {
	p := Precision(word)
	if p == "float32" {
		p = Float32
	}
	if err := p.Check(); err != nil {
		return Float32, err
	}
	return p, nil
}
