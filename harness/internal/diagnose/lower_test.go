package diagnose

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/compare"
)

// Errors are classed as float16's only if they are about as large as right programs have them
// there. Errors an eighth as large as the noise have another cause.
func TestErrorsOfTheSizeOfALowerPrecision(t *testing.T) {
	const rows, width, low = 12, 16, 1e-3
	want := compare.Expected{Shape: []int{rows, width}, Measured: true}
	sigma := make([]float64, rows*width)
	for i := range sigma {
		want.Value = append(want.Value, math.Sin(float64(3*i+1)))
		want.Sigma = append(want.Sigma, 1e-7)
		sigma[i] = low
	}
	for size, class := range map[float64]Class{0.04: Unclear, 0.13: Unclear, 0.3: Rounding, 0.45: Rounding, 3: Unclear} {
		r := rand.New(rand.NewPCG(1, 2))
		got := make([]float64, rows*width)
		for i, v := range want.Value {
			got[i] = v + size*low*r.NormFloat64()
		}
		c := compare.Outputs(want.Shape, got, want)
		d := DiagnoseModule(context.Background(), want, map[string][]float64{"float16": sigma}, nil, got, c)
		require.Equal(t, class, d.Class, "%g: %v", size, d.Reasons)
	}
}

// inLow is an output of errors in a module, in units of the noise that it has in float16.
func inLow(low float64, truth []float64, width int, errors func(i int) float64) *input {
	got := slices.Clone(truth)
	for i := range got {
		got[i] += low * errors(i)
	}
	in := looked(low/1000, []int{len(truth) / width, width}, truth, got)
	in.lower = map[string][]float64{"float16": slices.Repeat([]float64{low}, len(truth))}
	return in
}

func alternating(size float64) func(i int) float64 {
	return func(i int) float64 { return size * (1 - 2*float64(i/3%2)) }
}

// The errors of a lower precision are neither a tenth of its noise nor as large as it, and without
// direction: no gain, and no shift.
func TestLimitsOfALowerPrecision(t *testing.T) {
	for size, want := range map[float64]bool{
		0.09: false, 0.1: true, 0.125: true, 0.5: true, 1: true, 1.01: false, math.NaN(): false,
	} {
		_, ok := inNoiseOf(inLow(1, make([]float64, 24), 3, alternating(size)), "float16")
		require.Equal(t, want, ok, size)
	}
	_, ok := inNoiseOf(inLow(1, make([]float64, 24), 3, alternating(0.5)), "bfloat16")
	require.False(t, ok, "no noise of this precision is known")

	for size, want := range map[float64]bool{0.19: false, 0.2: true, 0.25: true, 1: true, 1.01: false} {
		for _, size := range []float64{0.1, 1} { // the limits are within
			_, ok := inNoiseOf(inLow(1, make([]float64, 2), 1, func(int) float64 { return size }), "float16")
			require.True(t, ok, size)
		}
		least := inLow(1, make([]float64, 2), 1, func(i int) float64 { return 0.2 - 0.4*float64(i) })
		require.NotNil(t, sizeOfLowerPrecision(least))
		f := sizeOfLowerPrecision(inLow(1, make([]float64, 24), 3, alternating(size)))
		require.Equal(t, want, f != nil, size)
	}
	f := sizeOfLowerPrecision(inLow(1, make([]float64, 24), 3, alternating(0.5)))
	require.Equal(t, Rounding, f.class)
	require.Contains(t, told(f), "of the size that this module has in float16")
	require.Contains(t, told(f), "0.5 times the noise of that precision")
	require.Contains(t, told(f), "declare it: --precision float16")

	// Half of the errors go the way of another direction: of the truth, or of a shift.
	truth := make([]float64, 48)
	for i := range truth {
		truth[i] = 1 - 2*float64(i/6%2)
	}
	for _, direction := range [][]float64{truth, slices.Repeat([]float64{1}, 48)} {
		for cosine, want := range map[float64]bool{0: true, 0.34: true, 0.36: false, -0.36: false} {
			in := inLow(1, truth, 3, func(i int) float64 {
				return 0.5 * (cosine*direction[i] + math.Sqrt(1-cosine*cosine)*alternating(1)(i))
			})
			require.Equal(t, want, sizeOfLowerPrecision(in) != nil, cosine)
		}
	}
	// A cosine of 7/20 is within: the errors have the length 20, and 7 along a row of the truth.
	errors := []float64{7, 13, 2, -13, -3, 0}
	along := inLow(1.0/16, []float64{1, 0, 0, 0, 0, 0}, 2, func(i int) float64 { return errors[i] })
	along.lower["float16"] = slices.Repeat([]float64{1}, 6)
	require.NotNil(t, sizeOfLowerPrecision(along))
	spike := inLow(1, truth, 3, func(i int) float64 { return alternating(0.05)(i) + 3*float64(max(0, i-46)) })
	require.Nil(t, sizeOfLowerPrecision(spike), "an element stands out")
}

// One element may be twenty times the noise off, as measured noise allows. One more than that
// refutes a lower precision, however small the other errors are.
func TestAnElementOutsideALowerPrecision(t *testing.T) {
	for size, want := range map[float64]bool{0.5: true, 18: true, 20: true, 21: false} {
		in := inLow(0x1p-9, make([]float64, 600), 3, func(i int) float64 {
			if i == 7 {
				return size
			}
			return alternating(0.25)(i)
		})
		_, ok := inNoiseOf(in, "float16")
		require.Equal(t, want, ok, size)
		require.Equal(t, want, lowerPrecision(in) != nil, size)
	}
}

// An output of numbers of a lower precision alone, off by its noise, is of this precision.
func TestOutputsInALowerPrecision(t *testing.T) {
	truth := slices.Repeat([]float64{0}, 24)
	held := inLow(0x1p-9, truth, 3, alternating(0.5))
	f := lowerPrecision(held)
	require.Equal(t, Rounding, f.class)
	require.Contains(t, told(f), "every element is a number of float16")
	held.lower["bfloat16"] = held.lower["float16"]
	require.Contains(t, told(lowerPrecision(held)), "every element is a number of bfloat16")
	require.Nil(t, lowerPrecision(inLow(0x1p-9, truth, 3, alternating(0.51234567))), "no numbers of it")
	require.Nil(t, lowerPrecision(inLow(0x1p-9, truth, 3, alternating(2))), "too large")
}
