package fit

import (
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/mat"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/oracletest"
)

// fitterOf asks about an output of a problem.
func fitterOf(t *testing.T, p *oracle.Problem, got []float64) *fitter {
	trace := p.Trace()
	return &fitter{ctx: t.Context(), p: p, trace: trace, shape: trace.Output.Shape, got: got, placements: placements}
}

// identity is the identity matrix.
func identity(n int) *mat.Dense {
	one := mat.NewDense(n, n, nil)
	for i := range n {
		one.Set(i, i, 1)
	}
	return one
}

// The part outside of the mixtures of two values is at right angles to their difference.
// With a sink the weights add to any number, and what is outside is at right angles to both.
func TestOutsideMixtures(t *testing.T) {
	f := &fitter{p: &oracle.Problem{}, trace: oracle.Trace{
		Keys: 3, ValueWidth: 3, Group: 2,
		Value: []float64{
			0, 0, 0, 0, 0, 0, 0, 0, 0, // of the first key head
			1, 0, 0, 1, 2, 0, 3, 4, 0,
		},
	}}
	outside := func(keys ...int) []float64 {
		m := f.outsideMixtures(identity(3), 3, keys)
		if m == nil {
			return nil
		}
		for i, v := range m.RawMatrix().Data {
			m.RawMatrix().Data[i] = math.Round(1e9*v) / 1e9
		}
		return m.RawMatrix().Data
	}
	for range 2 { // the size of the values does not matter
		require.Equal(t, []float64{1, 0, 0, 0, 0, 0, 0, 0, 1}, outside(0, 1), "the difference is (0, 2, 0)")
		f.trace.Value = scaled(1e-4, f.trace.Value)
	}
	f.trace.Value = scaled(1e8, f.trace.Value)
	require.Equal(t, []float64{0.5, -0.5, 0, -0.5, 0.5, 0, 0, 0, 1}, outside(1, 2), "the difference is (2, 2, 0)")
	require.Equal(t, []float64{0, 0, 0, 0, 0, 0, 0, 0, 1}, outside(0, 1, 2))
	require.Equal(t, identity(3).RawMatrix().Data, outside(2), "one value")
	require.Equal(t, identity(3).RawMatrix().Data, outside(), "no key")
	flat := &fitter{p: f.p, trace: oracle.Trace{Keys: 2, ValueWidth: 2, Group: 1}}
	for k := range 20 { // one direction of two is left, whatever rounding leaves of it
		flat.trace.Value = []float64{0, 0, 1, float64(k)}
		require.NotNil(t, flat.outsideMixtures(identity(2), 0, []int{0, 1}), "%d", k)
	}
	// One value is nearly a multiple of the other.
	for off, want := range map[float64]bool{0.9e-6: true, 1.5e-6: false} {
		flat.trace.Keys, flat.trace.Value = 3, []float64{0, 0, 1, 0, 1, off}
		require.Equal(t, want, flat.outsideMixtures(identity(2), 0, []int{0, 1, 2}) != nil, "%g", off)
	}
	require.Equal(t, identity(3).RawMatrix().Data, outside(2, 2), "two equal values")
	f.p.Sinks = []float64{0}
	require.Equal(t, []float64{0, 0, 0, 0, 1, 0, 0, 0, 1}, outside(0), "the multiples of (1, 0, 0)")
	require.Equal(t, []float64{0, 0, 0, 0, 0, 0, 0, 0, 1}, outside(0, 1))
	f.trace.Value[17] = 1
	require.Nil(t, outside(0, 1, 2), "every context is a mixture")
	context := mat.NewDense(1, 3, []float64{5, 6, 7})
	require.Equal(t, []float64{0, 6, 7}, f.outsideMixtures(context, 2, []int{0}).RawMatrix().Data)
}

// An error is a mixture if what is outside of the mixtures is within the noise.
func TestIsMixture(t *testing.T) {
	f := &fitter{
		p:     &oracle.Problem{Layer: &oracle.Layer{Output: oracle.Linear{Out: 2}}},
		trace: oracle.Trace{ValueWidth: 2, Output: oracle.Field{Value: make([]float64, 6), Variance: slices.Repeat([]float64{1}, 6)}},
	}
	for row := range 3 {
		f.trace.Output.Value[2*row], f.trace.Output.Value[2*row+1] = 1e6, 1e6
	}
	second := mat.NewDense(2, 2, []float64{0, 0, 0, 1})
	for _, tc := range []struct {
		first, second float64
		want          bool
	}{{1000, 15.9, true}, {0, -15.9, true}, {0, 16, true}, {1000, 16.1, false}, {0, -16.1, false}} {
		f.got = slices.Clone(f.trace.Output.Value)
		f.got[2] += tc.first
		f.got[3] += tc.second
		require.Equal(t, tc.want, f.isMixture(1, second), "%+v", tc)
		require.True(t, f.isMixture(0, second))
		require.True(t, f.isMixture(2, second))
	}
	f.got[3] = math.NaN()
	require.False(t, f.isMixture(1, second))
}

// Uniform weights give a mixture of the right values in every row, and other values do not. One row
// that is no mixture is enough, and fewer than three rows prove nothing.
func TestOtherMixtures(t *testing.T) {
	const others = "other attention weights give the output as well, with all parameters right"
	p := oracletest.First(oracletest.Tall(2), 2)
	uniform := p.Clone()
	clear(uniform.Layer.Query.Weight)
	clear(uniform.Layer.Query.Bias)
	got := uniform.Run().Value
	require.Equal(t, others, fitterOf(t, p, got).otherMixtures())

	values := p.Clone()
	redraw(values, ValueProjection, "weight")
	require.Empty(t, fitterOf(t, p, values.Run().Value).otherMixtures())

	for row := range 8 {
		one := slices.Clone(got)
		one[13*row] += 1
		require.Empty(t, fitterOf(t, p, one).otherMixtures(), "row %d", row)
	}

	for rows, want := range map[int]string{2: "", 3: others} {
		few := oracletest.First(oracletest.Tall(2), 1)
		few.Layer.Heads, few.Layer.KVHeads = 1, 1
		few.Query.Shape, few.Query.Value = []int{1, rows, 13}, few.Query.Value[:13*rows]
		require.Equal(t, want, fitterOf(t, few, few.Run().Value).otherMixtures(), "%d rows", rows)
	}

	narrow := p.Clone()
	narrow.Layer.Output.Out = 11
	narrow.Layer.Output.Weight, narrow.Layer.Output.Bias = narrow.Layer.Output.Weight[:11*12], narrow.Layer.Output.Bias[:11]
	require.Empty(t, fitterOf(t, narrow, narrow.Run().Value).otherMixtures(), "contexts cannot be seen")
	narrow.Layer.Output.Out = 12
	narrow.Layer.Output.Weight, narrow.Layer.Output.Bias = p.Layer.Output.Weight[:12*12], p.Layer.Output.Bias[:12]
	require.Equal(t, others, fitterOf(t, narrow, narrow.Run().Value).otherMixtures())

	blank := oracletest.First(oracletest.Tall(2), 2)
	blankRows(blank)
	blank.EmptyRow = attention.EmptyZero
	require.Equal(t, others, fitterOf(t, blank, blank.Run().Value).otherMixtures())
	blank.EmptyRow = attention.EmptyNaN
	require.Empty(t, fitterOf(t, blank, blank.Run().Value).otherMixtures())
}
