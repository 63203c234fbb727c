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
		{npy.Float16, 0, 0x1p-24},
		{npy.BFloat16, 0, 0x1p-133},
		{npy.Float64, 0, 0x1p-1074},
		{npy.Float8E4M3FN, 0, 0x1p-9},
		{npy.Float8E4M3FN, 448, 32},
		{npy.Float8E5M2, 0, 0x1p-16},
		{npy.Float8E5M2, 57344, 8192},
		{npy.Float64, math.Nextafter(2, 0), 0x1p-52},
	} {
		require.Equal(t, tc.want, tc.dtype.ULP(tc.v), "%s %v", tc.dtype, tc.v)
	}
}

func TestDTypes(t *testing.T) {
	for size, types := range map[int][]npy.DType{
		0: {"complex64"},
		1: {npy.Bool, npy.Int8, npy.Uint8, npy.Float8E4M3FN, npy.Float8E5M2},
		2: {npy.Int16, npy.Uint16, npy.Float16, npy.BFloat16},
		4: {npy.Int32, npy.Uint32, npy.Float32},
		8: {npy.Int64, npy.Uint64, npy.Float64},
	} {
		for _, dtype := range types {
			require.Equal(t, size, dtype.Size(), dtype)
		}
	}
	require.True(t, npy.Float64.IsFloat())
	require.False(t, npy.Int64.IsFloat())
}
