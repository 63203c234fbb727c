package num

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestErf(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	worst := 0.0
	for range 200_000 {
		x := 14*r.Float64() - 7
		worst = max(worst, math.Abs(erf(x)-math.Erf(x)))
	}
	require.Less(t, worst, 3e-16)
	for _, x := range []float64{0, 1e-300, -1e-9, 0.015625, 5.999999999, -6, 30, math.Inf(1), math.Inf(-1)} {
		require.InDelta(t, math.Erf(x), erf(x), 3e-16, x)
	}
	require.InEpsilon(t, math.Erf(1e-9), erf(1e-9), 1e-15)
	require.True(t, math.Signbit(erf(math.Copysign(0, -1))))
	require.True(t, math.IsNaN(erf(math.NaN())))
}

func BenchmarkErf(b *testing.B) {
	x := -3.0
	for b.Loop() {
		x += erf(x) * 1e-3
		if x > 3 || x < -3 {
			x = 2
		}
	}
}
