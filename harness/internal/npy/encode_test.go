package npy_test

import (
	"io/fs"
	"math"
	"path"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/internal/npy"
)

// What NumPy wrote is written again byte for byte.
func TestEncodeNPYIsNumPys(t *testing.T) {
	types := map[npy.DType]int{}
	require.NoError(t, fs.WalkDir(fixtures.FS, ".", func(file string, d fs.DirEntry, err error) error {
		if err != nil || path.Ext(file) != ".npy" {
			return err
		}
		want, err := fs.ReadFile(fixtures.FS, file)
		require.NoError(t, err)
		a, err := npy.Parse(want)
		require.NoError(t, err)
		types[a.DType]++
		got, err := a.EncodeNPY()
		require.NoError(t, err)
		require.Equal(t, string(want), string(got), file)
		return nil
	}))
	for _, dtype := range []npy.DType{npy.Float16, npy.Float32, npy.Float64, npy.Bool, npy.Uint16} {
		require.NotZero(t, types[dtype], dtype)
	}
}

func TestEncodeNPYRounds(t *testing.T) {
	nan := float32(math.NaN())
	values := []float32{1, 1 + 1.0/256, 1 + 3.0/256, float32(math.Inf(-1)), nan}
	tensor := &attention.Tensor{Shape: []int{5}, Data: values}
	a, err := npy.TensorArray(tensor, npy.BFloat16)
	require.NoError(t, err)
	file, err := a.EncodeNPY()
	require.NoError(t, err)
	a, err = npy.Parse(file)
	require.NoError(t, err)
	require.Equal(t, npy.Uint16, a.DType)
	a, err = a.BFloat16()
	require.NoError(t, err)
	got, err := a.Float64s()
	require.NoError(t, err)
	require.Equal(t, []float64{1, 1, 1 + 4.0/256, math.Inf(-1)}, got[:4], "ties go to even")
	require.True(t, math.IsNaN(got[4]))
}

func TestArraysRefuse(t *testing.T) {
	short := &attention.Tensor{Shape: []int{2}, Data: []float32{1}}
	_, err := npy.TensorArray(short, npy.Float32)
	require.ErrorContains(t, err, "shape (2,) needs 2 elements")
	_, err = npy.TensorArray(attention.NewTensor(2), npy.Bool)
	require.ErrorContains(t, err, "dtype bool, want float16, bfloat16 or float32")
	_, err = npy.Float64Array([]int{3}, []float64{1})
	require.ErrorContains(t, err, "1 elements of shape (3,)")
	_, err = npy.MaskArray(&attention.Mask{Shape: []int{3}})
	require.ErrorContains(t, err, "shape (3,)")
	long := make([]int, 2000)
	for i := range long {
		long[i] = 1
	}
	a, err := npy.Float64Array(long, []float64{1})
	require.NoError(t, err)
	_, err = a.EncodeNPY()
	require.ErrorContains(t, err, "too many dimensions")
}
