package fit

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/mat"

	"github.com/difftest/difftest/harness/internal/num"
)

// matrix is the operator of a matrix whose rows are given.
func matrix(rows [][]float64) operator {
	return operator{
		forward: func(step []float64) []float64 {
			out := make([]float64, len(rows))
			for i, row := range rows {
				out[i] = num.Dot(row, step)
			}
			return out
		},
		backward: func(y []float64) []float64 {
			out := make([]float64, len(rows[0]))
			for i, row := range rows {
				num.AddScaled(y[i], row, out)
			}
			return out
		},
	}
}

// unconditioned is no preconditioner.
func unconditioned(n int) blocks {
	identity := mat.NewDense(n, n, nil)
	for i := range n {
		identity.Set(i, i, 1)
	}
	return blocks{{inputs: identity, places: num.UpTo(n)}}
}

// Conjugate gradients find the step of least squares: for the rows below, by hand, it is the mean
// of the first two right sides, and a third of the last.
func TestConjugateGradients(t *testing.T) {
	a := matrix([][]float64{{1, 0}, {1, 0}, {0, 3}})
	r := []float64{1000, 3000, 600}
	require.InDeltaSlice(t, []float64{2000, 200}, cgls(t.Context(), a, unconditioned(2), r, 2), 1)
	require.Equal(t, []float64{1000, 3000, 600}, r, "the right side stays")

	weights := mat.NewDense(2, 2, []float64{0.5, 0, 0, 1. / 9})
	exact := blocks{{inputs: weights, places: []int{0, 1}}}
	require.InDeltaSlice(t, []float64{2000, 200}, cgls(t.Context(), a, exact, r, 2), 1e-9)

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	require.Equal(t, []float64{0, 0}, cgls(ended, a, unconditioned(2), r, 2))
}

// A step is taken only if it brings the output nearer by more than a hundred-thousandth of the
// squared distance, and by more than a thousandth of the noise.
func TestConjugateGradientsEnd(t *testing.T) {
	for _, tc := range []struct {
		a, r float64
		want float64
	}{
		{1, 0.03, 0}, {1, 0.035, 0.035}, // squares of 0.0009 and 0.0012
		{0.0031, 1000, 0}, {0.0035, 1000, 1000 / 0.0035}, // squares of 0.0000096 and 0.000012
		{0, 1000, 0},
	} {
		step := cgls(t.Context(), matrix([][]float64{{tc.a}}), unconditioned(1), []float64{tc.r}, 1)
		require.InDelta(t, tc.want, step[0], 1e-9*(1+tc.want))
	}
}

// A preconditioner multiplies the rows of a block by one matrix from the right, and by another from
// the left. Unknowns that no block holds stay zero.
func TestPrecondition(t *testing.T) {
	b := blocks{
		{
			features: mat.NewDense(2, 2, []float64{1, 2, 0, 1}), inputs: mat.NewDense(2, 2, []float64{1, 0, 1, 3}),
			places: []int{0, 1, 2, 3},
		},
		{inputs: mat.NewDense(1, 1, []float64{5}), places: []int{5}},
	}
	// (1 2, 3 4) times inputs is (3 6, 7 12); features times these is (17 30, 7 12).
	require.Equal(t, []float64{17, 30, 7, 12, 0, 30}, b.precondition([]float64{1, 2, 3, 4, 5, 6}))
}

// fixed is an operator that returns the same numbers whatever it is given, and counts its calls.
func fixed(forward, backward []float64, calls *int) operator {
	return operator{
		forward:  func([]float64) []float64 { *calls++; return forward },
		backward: func([]float64) []float64 { return backward },
	}
}

// Conjugate gradients end after 300 iterations, at a step that changes nothing, or where a step
// can shrink the residual by no more than the limits, the limits included for the squared distance.
func TestLimitsOfConjugateGradients(t *testing.T) {
	preconditioned := func(by float64) blocks {
		return blocks{{inputs: mat.NewDense(1, 1, []float64{by}), places: []int{0}}}
	}
	calls := 0
	cgls(t.Context(), fixed([]float64{1e9}, []float64{1000}, &calls), preconditioned(1), []float64{1}, 1)
	require.Equal(t, 300, calls)

	calls = 0
	step := cgls(t.Context(), fixed([]float64{0}, []float64{1000}, &calls), preconditioned(1), []float64{1}, 1)
	require.Equal(t, []float64{0}, step)

	tried := func(by float64, r ...float64) bool {
		calls := 0
		cgls(t.Context(), fixed(make([]float64, len(r)), []float64{1}, &calls), preconditioned(by), r, 1)
		return calls > 0
	}
	require.True(t, tried(1e-3, 0), "a thousandth of the noise of one element")
	require.False(t, tried(0.9e-3, 0))
	require.True(t, tried(4e-3, 0, 0, 0, 0))
	require.False(t, tried(3.9e-3, 0, 0, 0, 0), "of four elements")
	squared := 1000.0 * 1000
	require.False(t, tried(1e-5*squared, 1000))
	require.True(t, tried(1.01e-5*squared, 1000))
}
