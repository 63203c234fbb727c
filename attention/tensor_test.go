package attention_test

import (
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
