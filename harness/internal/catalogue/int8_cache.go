package catalogue

import (
	"math"
	"math/rand/v2"
	"slices"

	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// sharing returns how many neighbouring values of a cache (B, Hk, P, E) share a scale.
type sharing func(shape []int) int

func byToken(shape []int) int  { return shape[3] }
func byHead(shape []int) int   { return shape[2] * shape[3] }
func byTensor(shape []int) int { return num.Size(shape) }

// scaleOfMaximum returns the scale that maps the largest magnitude to 127.
func scaleOfMaximum(largest float64) float64 { return largest / 127 }

func scaleAtLeastOne(largest float64) float64 { return math.Max(1, largest/127) }

// scaled returns the value that an int8 number stands for; unscaled returns the number itself.
func scaled(n, scale float64) float64 { return n * scale }
func unscaled(n, _ float64) float64   { return n }

// cacheInt8 rounds cached keys or values to int8 numbers, and reads them back.
func cacheInt8(
	share sharing, scaleOf func(largest float64) float64, read func(n, scale float64) float64,
) func(oracle.Array) oracle.Array {
	return func(a oracle.Array) oracle.Array {
		values := slices.Clone(a.Value)
		roundToInt8(values, share(a.Shape), scaleOf, read)
		return oracle.Array{Shape: a.Shape, Value: values}
	}
}

// roundToInt8 writes to values. Each group of neighbouring values shares a scale. A group of zeros
// stays as it is.
func roundToInt8(
	values []float64, size int, scaleOf func(largest float64) float64, read func(n, scale float64) float64,
) {
	for group := range slices.Chunk(values, size) {
		scale := scaleOf(maxAbs(group))
		if scale == 0 {
			continue
		}
		for i, v := range group {
			group[i] = read(math.RoundToEven(v/scale), scale)
		}
	}
}

// cacheInt8WithNewKeys also rounds the new keys and values, which are in the cache when queries
// attend. Appended keys stay as they are.
func cacheInt8WithNewKeys(p *oracle.Problem, _ *rand.Rand) bool {
	if pastCount(p) == 0 {
		return false
	}
	keys := keyCount(p)
	rounded := func(f oracle.Field) oracle.Field {
		out, width := f.ZerosLike(), num.Last(f.Shape)
		out.Take(0, f, 0, len(f.Value))
		for head := range slices.Chunk(out.Value, f.Shape[len(f.Shape)-2]*width) {
			roundToInt8(head[:keys*width], width, scaleOfMaximum, scaled)
		}
		return out
	}
	p.Prepare = afterPrepare(p.Prepare, func(_, k, v *oracle.Field) { *k, *v = rounded(*k), rounded(*v) })
	return true
}
