package attention_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
)

func TestConversions(t *testing.T) {
	double, err := attention.FromFloat64([]int{4}, []float64{0.1, 1 + 0x1p-25, 1e300, -1e-300})
	require.NoError(t, err)
	require.Equal(t, []float32{0.1, 1, float32(math.Inf(1)), float32(math.Copysign(0, -1))}, double.Data)

	// 1, -2, the largest finite number, the smallest subnormal, infinity
	half, err := attention.FromFloat16([]int{5}, []uint16{0x3c00, 0xc000, 0x7bff, 0x0001, 0x7c00})
	require.NoError(t, err)
	require.Equal(t, []float32{1, -2, 65504, 0x1p-24, float32(math.Inf(1))}, half.Data)

	// 1, -2, the largest finite number, the smallest subnormal, infinity
	brain, err := attention.FromBFloat16([]int{5}, []uint16{0x3f80, 0xc000, 0x7f7f, 0x0001, 0x7f80})
	require.NoError(t, err)
	require.Equal(t, []float32{1, -2, 0x1.fep127, 0x1p-133, float32(math.Inf(1))}, brain.Data)

	shape := []int{1}
	own, err := attention.FromFloat64(shape, []float64{1})
	require.NoError(t, err)
	shape[0] = 7
	require.Equal(t, []int{1}, own.Shape, "the tensor shares its shape with the caller")

	_, err = attention.FromFloat16([]int{2, 3}, make([]uint16, 5))
	require.ErrorContains(t, err, "shape (2, 3) needs 6 elements, the data has 5")
}
