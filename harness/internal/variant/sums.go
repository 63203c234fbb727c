package variant

import "math"

// Sequential adds from left to right.
func Sequential(a, b []float32) float32 {
	var sum float32
	for i, x := range a {
		sum += float32(x * b[i])
	}
	return sum
}

// Reversed adds from right to left.
func Reversed(a, b []float32) float32 {
	var sum float32
	for i := len(a) - 1; i >= 0; i-- {
		sum += float32(a[i] * b[i])
	}
	return sum
}

// Pairwise adds the sums of two halves, recursively.
func Pairwise(a, b []float32) float32 {
	if len(a) <= 2 {
		return Sequential(a, b)
	}
	half := len(a) / 2
	return Pairwise(a[:half], b[:half]) + Pairwise(a[half:], b[half:])
}

// Lanes adds into eight sums, as vector units do, with fused multiply-adds.
func Lanes(a, b []float32) float32 {
	var lanes [8]float32
	for i, x := range a {
		lane := &lanes[i%8]
		*lane = float32(math.FMA(float64(x), float64(b[i]), float64(*lane)))
	}
	return (lanes[0] + lanes[4]) + (lanes[1] + lanes[5]) + ((lanes[2] + lanes[6]) + (lanes[3] + lanes[7]))
}

// Chunks divides the sum into n parts, as threads do, and then adds their sums.
func Chunks(n int) func(a, b []float32) float32 {
	return func(a, b []float32) float32 {
		var sum float32
		share := max(1, (len(a)+n-1)/n)
		for at := 0; at < len(a); at += share {
			end := min(at+share, len(a))
			sum += Sequential(a[at:end], b[at:end])
		}
		return sum
	}
}

// BFloat16 rounds to the nearest bfloat16, ties to even.
func BFloat16(x float32) float32 { return toBits(x, 16) }

// TensorFloat32 rounds to the 11 bits of TensorFloat-32, ties to even.
func TensorFloat32(x float32) float32 { return toBits(x, 13) }

// toBits drops the last bits of a float32.
func toBits(x float32, drop uint) float32 {
	bits := math.Float32bits(x)
	half := uint32(1)<<(drop-1) - 1 + bits>>drop&1
	return math.Float32frombits((bits + half) &^ (1<<drop - 1))
}
