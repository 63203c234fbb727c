package checkpoint

import (
	"math"
	"slices"

	"github.com/x448/float16"

	"github.com/difftest/difftest/harness/internal/npy"
)

// numbers holds the values of a tensor to compare.
type numbers struct {
	shape  []int
	values []float64

	// grain is the narrowest type that the values have been rounded to, as far as they show it. It
	// is empty for integers and booleans, which must be equal.
	grain npy.DType
}

func numbersOf(dtype npy.DType, shape []int, values []float64) numbers {
	return numbers{shape, values, grainOf(dtype, values)}
}

// grainOf finds numbers of 16 bits in a wider type. Few or repeated numbers do not show a grain:
// every type has 0 and 1.
func grainOf(dtype npy.DType, values []float64) npy.DType {
	switch {
	case !dtype.IsFloat():
		return ""
	case dtype != npy.Float32 && dtype != npy.Float64:
		return dtype
	case distinct(values, enoughDistinct) < enoughDistinct:
		return npy.Float32
	case !slices.ContainsFunc(values, func(v float64) bool { return !isBFloat16(v) }):
		return npy.BFloat16
	case !slices.ContainsFunc(values, func(v float64) bool { return !isFloat16(v) }):
		return npy.Float16
	}
	return npy.Float32
}

// enoughDistinct is a number of different values that show a grain.
const enoughDistinct = 8

func isBFloat16(v float64) bool {
	f := float32(v)
	return math.IsNaN(v) || float64(f) == v && math.Float32bits(f)&0xffff == 0
}

func isFloat16(v float64) bool {
	return math.IsNaN(v) || float64(float16.Fromfloat32(float32(v)).Float32()) == v
}

// distinct counts different values up to a limit.
func distinct(values []float64, limit int) int {
	seen := map[float64]bool{}
	for _, v := range values {
		if seen[v] = true; len(seen) == limit {
			break
		}
	}
	return len(seen)
}

// float32Units is the distance that float32 values may have, in units in the last place: one
// operation may stand between them, such as adding 1.
const float32Units = 4

// allowed returns the distance that one number may have from itself after rounding to a grain. A
// cut rounds by up to one unit in the last place.
func allowed(grain npy.DType, v float64) float64 {
	switch grain {
	case "":
		return 0
	case npy.Float32, npy.Float64:
		return float32Units * npy.Float32.ULP(v)
	}
	return grain.ULP(v)
}

// matches reports whether two elements are the same number up to the grains of their arrays.
func (a numbers) matches(i int, b numbers, j int) bool {
	v, w := a.values[i], b.values[j]
	return v == w || math.Abs(v-w) <= max(allowed(a.grain, v), allowed(b.grain, w))
}

// equals reports whether all elements of two arrays match, in order.
func (a numbers) equals(b numbers) bool {
	if len(a.values) != len(b.values) {
		return false
	}
	for i := range a.values {
		if !a.matches(i, b, i) {
			return false
		}
	}
	return true
}

// The evidence that values must have before an equality of theirs proves anything, in bits. A file
// and a case may give a million pairs of tensors and a thousand arrangements of each: 30 bits.
const enoughBits = 48

// tells reports whether an equality with these values, at the coarser of two grains, can hardly be
// chance. Values that are all equal, or nearly, prove nothing.
func (a numbers) tells(other npy.DType) bool {
	const most = 4096
	step := 1 + len(a.values)/most
	var sample, off []float64
	for i := 0; i < len(a.values); i += step {
		v := a.values[i]
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return false
		}
		sample, off = append(sample, v), append(off, max(allowed(a.grain, v), allowed(other, v)))
	}
	if len(sample) == 0 {
		return false
	}
	slices.Sort(off)
	tolerance := max(off[len(off)/2], npy.Float32.ULP(slices.Max(sample)))
	slices.Sort(sample)
	center := sample[len(sample)/2]
	spread := make([]float64, len(sample))
	for i, v := range sample {
		spread[i] = math.Abs(v - center)
	}
	slices.Sort(spread)
	const least = 4 // times the tolerance
	ratio := spread[len(spread)/2] / tolerance
	return ratio >= least && float64(distinct(sample, 64)-1)*math.Log2(ratio) >= enoughBits
}

// constant reports whether all values are equal.
func (a numbers) constant() bool {
	return !slices.ContainsFunc(a.values, func(v float64) bool { return v != a.values[0] })
}

// shiftedBy reports whether a + shift is b, each rounded to its own grain before or after.
func (a numbers) shiftedBy(shift float64, b numbers) bool {
	if len(a.values) != len(b.values) {
		return false
	}
	for i, v := range a.values {
		w := b.values[i]
		off := max(allowed(a.grain, v), allowed(b.grain, w), float32Units*npy.Float32.ULP(shift))
		if math.IsNaN(v) || math.IsNaN(w) || math.Abs(v+shift-w) > off {
			return false
		}
	}
	return true
}

// times reports whether a is factor times b.
func (a numbers) times(factor float64, b numbers) bool {
	for i, v := range a.values {
		w := factor * b.values[i]
		if !(math.Abs(v-w) <= max(allowed(a.grain, v), math.Abs(factor)*allowed(b.grain, b.values[i]))) {
			return false
		}
	}
	return true
}
