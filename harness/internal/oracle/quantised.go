package oracle

import "math"

// quantisation is a type of 8 bits in which a KV cache holds its numbers.
type quantisation int

const (
	unquantised quantisation = iota
	int8Cache                // 127 steps on either side of zero
	e4m3Cache                // 4 significant bits
	e5m2Cache                // 3 significant bits
)

// The arithmetics of float32 with a KV cache of 8 bits. An int8 cache has a scale for each token,
// each head, or for all keys and for all values. In a problem without a cache they are float32.
var (
	Int8Cache = Precision{cached: int8Cache}
	E4M3Cache = Precision{cached: e4m3Cache}
	E5M2Cache = Precision{cached: e5m2Cache}
)

// ToE4M3 and ToE5M2 round to the nearest number of a type of 8 bits, ties to even. Larger numbers
// become the largest one.
func ToE4M3(v float64) float64 { return toFloat8(v, 4, -6, 448) }
func ToE5M2(v float64) float64 { return toFloat8(v, 3, -14, 57344) }

// toFloat8 rounds to a number of significant bits. Numbers below 2^least have the steps of 2^least.
func toFloat8(v float64, bits, least int, largest float64) float64 {
	if v == 0 || v-v != 0 {
		return v
	}
	_, exponent := math.Frexp(v) // v is 2^exponent times 0.5 to 1
	step := math.Ldexp(1, max(exponent-1, least)-bits+1)
	return math.Copysign(min(largest, math.Abs(step*math.RoundToEven(v/step))), v)
}

// inCache adds the rounding of keys or values that a KV cache holds. Half a step of a type with n
// significant bits is 2⁻ⁿ of a number near 1. The step of int8 is 1/127 of the largest number.
func (p Precision) inCache(f Field) Field {
	if !f.noisy() {
		return f
	}
	switch p.cached {
	case int8Cache:
		step := 0.0
		for _, v := range f.Value {
			step = math.Max(step, math.Abs(v)/127)
		}
		for i := range f.Variance {
			f.Variance[i] += step * step / 12
		}
	case e4m3Cache:
		addSquares(f, 0x1p-8/3)
	case e5m2Cache:
		addSquares(f, 0x1p-6/3)
	}
	return f
}
