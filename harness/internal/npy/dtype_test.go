package npy_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/npy"
)

func TestULP(t *testing.T) {
	for _, tc := range []struct {
		dtype   npy.DType
		v, want float64
	}{
		{npy.Float32, 1, 0x1p-23},
		{npy.Float32, -1.5, 0x1p-23},
		{npy.Float32, 0, 0x1p-149},
		{npy.Float32, 0x1p-140, 0x1p-149},
		{npy.Float16, 1, 0x1p-10},
		{npy.Float16, 0x1p-20, 0x1p-24},
		{npy.BFloat16, 255, 1},
		{npy.Float64, 1, 0x1p-52},
		{npy.Float64, math.Nextafter(2, 0), 0x1p-52},
	} {
		require.Equal(t, tc.want, tc.dtype.ULP(tc.v), "%s %v", tc.dtype, tc.v)
	}
}

func TestDTypes(t *testing.T) {
	require.Equal(t, 2, npy.BFloat16.Size())
	require.Equal(t, 0, npy.DType("complex64").Size())
	require.True(t, npy.Float64.IsFloat())
	require.False(t, npy.Int64.IsFloat())
}
