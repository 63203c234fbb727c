package npy_test

import (
	"bytes"
	"io/fs"
	"math"
	"path"
	"testing"

	"github.com/sbinet/npyio"
	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/internal/npy"
)

// The module npyio, which shares no code with this package, reads the same elements from the files
// of the embedded suite. It is not asked about float16, whose subnormals version 0.9.0 gets wrong.
func TestParseAgreesWithNpyio(t *testing.T) {
	checked := map[npy.DType]int{}
	require.NoError(t, fs.WalkDir(fixtures.FS, ".", func(file string, _ fs.DirEntry, err error) error {
		if err != nil || path.Ext(file) != ".npy" {
			return err
		}
		data, err := fs.ReadFile(fixtures.FS, file)
		require.NoError(t, err)
		a, err := npy.Parse(data)
		require.NoError(t, err)
		switch checked[a.DType]++; a.DType {
		case npy.Float32:
			require.Equal(t, bits(widened(elements[float32](t, data))), bits(numbers(t, a)), file)
		case npy.Float64:
			require.Equal(t, bits(elements[float64](t, data)), bits(numbers(t, a)), file)
		case npy.Int64:
			require.Equal(t, widened(elements[int64](t, data)), numbers(t, a), file)
		case npy.Bool:
			mask, err := a.Mask()
			require.NoError(t, err)
			require.Equal(t, elements[bool](t, data), mask.Data, file)
		}
		return nil
	}))
	for _, dtype := range []npy.DType{npy.Float32, npy.Float64, npy.Int64, npy.Bool} {
		require.NotZero(t, checked[dtype], dtype)
	}
}

func elements[E any](t *testing.T, file []byte) (all []E) {
	t.Helper()
	require.NoError(t, npyio.Read(bytes.NewReader(file), &all))
	return all
}

func widened[E float32 | int64](all []E) []float64 {
	wide := make([]float64, len(all))
	for i, x := range all {
		wide[i] = float64(x)
	}
	return wide
}

// bits are equal for NaN, too.
func bits(all []float64) []uint64 {
	made := make([]uint64, len(all))
	for i, x := range all {
		made[i] = math.Float64bits(x)
	}
	return made
}

func numbers(t *testing.T, a *npy.Array) []float64 {
	t.Helper()
	all, err := a.Numbers()
	require.NoError(t, err)
	return all
}
