package kernel

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// A fused multiply-add in float32 is the exact sum, rounded once: also where the sum is subnormal,
// or halfway between two numbers but for a distant bit.
func TestFMA32RoundsOnce(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 200_000 {
		draw := func() float32 {
			bits := uint32(1)<<23 | r.Uint32()&(1<<23-1)>>r.IntN(24)<<r.IntN(10)
			return float32(math.Ldexp(float64(bits), r.IntN(140)-150)) * float32(1-2*r.IntN(2))
		}
		x, y, z := draw(), draw(), draw()
		if r.IntN(2) == 0 { // near cancellation, or far below
			z = float32(float64(x) * float64(y) * math.Ldexp(1, r.IntN(80)-40))
		}
		product := new(big.Float).SetPrec(400).Mul(exact(x), exact(y))
		want, _ := product.Add(product, exact(z)).Float32()
		require.Equal(t, want, exactFMA32(x, y, z), "%b * %b + %b", x, y, z)
		require.Equal(t, want, fma32(x, y, z), "%b * %b + %b", x, y, z)
	}
}

func exact(v float32) *big.Float { return new(big.Float).SetPrec(400).SetFloat64(float64(v)) }

func TestFMA32OfInfinities(t *testing.T) {
	inf := float32(math.Inf(1))
	require.Equal(t, inf, exactFMA32(inf, 2, 3))
	require.Equal(t, -inf, exactFMA32(2, 3, -inf))
	require.Equal(t, inf, exactFMA32(math.MaxFloat32, 2, 3))
	for _, v := range []float32{exactFMA32(inf, 0, 1), exactFMA32(inf, 1, -inf), exactFMA32(1, float32(math.NaN()), 1)} {
		require.NotEqual(t, v, v)
	}
}
