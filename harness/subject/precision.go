package subject

import (
	"fmt"
	"slices"
)

// Precision is the arithmetic that a subject computes in, where it says so. It is no tolerance: the noise
// becomes that which this arithmetic gives.
type Precision string

// The precisions that can be declared. The zero value is float32.
const (
	Float32  Precision = ""
	Float16  Precision = "float16"
	BFloat16 Precision = "bfloat16"
	TF32     Precision = "tf32"
)

// ParsePrecision reads what a flag or a child declares. "float32", as nothing at all, is the zero value.
func ParsePrecision(word string) (Precision, error) {
	lower := []Precision{Float16, BFloat16, TF32}
	switch p := Precision(word); {
	case word == "" || word == "float32":
		return Float32, nil
	case slices.Contains(lower, p):
		return p, nil
	}
	return Float32, fmt.Errorf("precision: %q, want one of %q, or %q", word, lower, "float32")
}
