package attention_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
)

func TestSize(t *testing.T) {
	for _, tc := range []struct {
		shape []int
		n     int
		err   string
	}{
		{nil, 1, ""},
		{[]int{5, 9, 40}, 1800, ""},
		{[]int{3, 0, 2}, 0, ""},
		{[]int{3, -1}, 0, "negative"},
		{[]int{1 << 40, 1 << 40}, 0, "more elements than an int can count"},
		{[]int{0, 1 << 40, 1 << 40}, 0, "more elements than an int can count"},
	} {
		n, err := attention.Size(tc.shape)
		require.Equal(t, tc.n, n, tc.shape)
		if tc.err == "" {
			require.NoError(t, err)
		} else {
			require.ErrorContains(t, err, tc.err)
		}
	}
}

func TestCloneIsDeep(t *testing.T) {
	a := attention.NewTensor(2)
	b := a.Clone()
	b.Data[0], b.Shape[0] = 1, 7
	require.Equal(t, attention.NewTensor(2), a)
	m := attention.NewMask(2)
	n := m.Clone()
	n.Data[0], n.Shape[0] = true, 7
	require.Equal(t, attention.NewMask(2), m)
	require.Nil(t, (*attention.Tensor)(nil).Clone())
	require.Nil(t, (*attention.Mask)(nil).Clone())
}

func TestNewTensorPanicsOnABadShape(t *testing.T) {
	require.Panics(t, func() { attention.NewTensor(-1) })
	require.Panics(t, func() { attention.NewMask(-1) })
}

func TestConversions(t *testing.T) {
	double, err := attention.FromFloat64([]int{4}, []float64{0.1, 1 + 0x1p-25, 1e300, -1e-300})
	require.NoError(t, err)
	require.Equal(t, []float32{0.1, 1, float32(math.Inf(1)), float32(math.Copysign(0, -1))}, double.Data)

	// 1, -2, the largest half, the smallest subnormal, infinity
	half, err := attention.FromFloat16([]int{5}, []uint16{0x3c00, 0xc000, 0x7bff, 0x0001, 0x7c00})
	require.NoError(t, err)
	require.Equal(t, []float32{1, -2, 65504, 0x1p-24, float32(math.Inf(1))}, half.Data)

	// 1, -2, the largest bfloat16, the smallest subnormal, infinity
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
