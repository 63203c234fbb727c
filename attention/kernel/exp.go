package kernel

import "math"

// ExpSum replaces each s, at most top, by exp(s - top), and returns their sum. Exponentials below
// about 1e-38 in float32 and 1e-307 in float64 become zero. Others have an error below one unit in
// the last place.
//
// The sum has a partial sum for every 16th element in float32, for every 8th in float64. It then
// adds the second half of the partial sums to the first, until one is left.
func ExpSum[F Float](s []F, top F) F {
	if len(s) == 0 {
		return 0
	}
	if k := kernelsOf[F](); k.expSum != nil {
		return k.expSum(&s[0], len(s), top)
	}
	switch s := any(s).(type) {
	case []float32:
		return F(expSum32(s, float32(top)))
	case []float64:
		return F(expSum64(s, float64(top)))
	}
	panic("no other type")
}

// ScaleMax multiplies each s by a scale, and returns the largest result: -Inf if there is none. It
// passes over NaN.
func ScaleMax[F Float](s []F, scale F) F {
	if k := kernelsOf[F](); k.scaleMax != nil && len(s) > 0 {
		return k.scaleMax(&s[0], len(s), scale)
	}
	top := F(math.Inf(-1))
	for i, v := range s {
		v *= scale
		s[i] = v
		if v > top {
			top = v
		}
	}
	return top
}

// fold adds the second half of partial sums to the first, until one is left.
func fold[F Float](sums []F) F {
	for n := len(sums) / 2; n > 0; n /= 2 {
		for i := range n {
			sums[i] += sums[i+n]
		}
	}
	return sums[0]
}

// exp(x) is 2^n exp(r), where n is the nearest integer to x/ln 2 and r = x - n ln 2. A polynomial
// of r is exp(r): its Taylor series, which ends where the rest is below a tenth of a unit in the
// last place.
//
// x/ln 2 + magic has the bits of the integer n at its end.
const (
	magic32 = 3 << 22
	magic64 = 3 << 51

	ln2High32 = 0x1.62e43p-1
	ln2Low32  = -0x1.05c61p-29
	ln2High64 = 0x1.62e42fefa39efp-1
	ln2Low64  = 0x1.abc9e3b39803fp-56

	least32 = -87.25
	least64 = -708
)

func expSum32(s []float32, top float32) float32 {
	var sums [16]float32
	for i, v := range s {
		e := exp32(v - top)
		s[i] = e
		sums[i%len(sums)] += e
	}
	return fold(sums[:])
}

func expSum64(s []float64, top float64) float64 {
	var sums [8]float64
	for i, v := range s {
		e := exp64(v - top)
		s[i] = e
		sums[i%len(sums)] += e
	}
	return fold(sums[:])
}

// exp32 returns exp(x) for x up to 0. Conversions keep the compiler from fusing operations.
func exp32(x float32) float32 {
	if x < least32 {
		return 0
	}
	shifted := fma32(x, 1/math.Ln2, magic32)
	n := shifted - magic32
	r := fma32(n, -ln2Low32, fma32(n, -ln2High32, x))
	p := float32(taylor32[0])
	for _, c := range taylor32[1:] {
		p = fma32(p, r, c)
	}
	return float32(p * math.Float32frombits(math.Float32bits(shifted)<<23+127<<23))
}

func exp64(x float64) float64 {
	if x < least64 {
		return 0
	}
	shifted := math.FMA(x, 1/math.Ln2, magic64)
	n := shifted - magic64
	r := math.FMA(n, -ln2Low64, math.FMA(n, -ln2High64, x))
	p := float64(taylor64[0])
	for _, c := range taylor64[1:] {
		p = math.FMA(p, r, c)
	}
	return float64(p * math.Float64frombits(math.Float64bits(shifted)<<52+1023<<52))
}

// The coefficients 1/7!, ..., 1/0! and 1/13!, ..., 1/0!.
var (
	taylor32 = [...]float32{1. / 5040, 1. / 720, 1. / 120, 1. / 24, 1. / 6, 1. / 2, 1, 1}
	taylor64 = [...]float64{
		1. / 6227020800, 1. / 479001600, 1. / 39916800, 1. / 3628800, 1. / 362880, 1. / 40320, 1. / 5040,
		1. / 720, 1. / 120, 1. / 24, 1. / 6, 1. / 2, 1, 1,
	}
)
