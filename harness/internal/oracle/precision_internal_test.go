package oracle

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// What each kind of rounding is.
func TestKindsOfPrecision(t *testing.T) {
	for _, tc := range []struct {
		p                                  Precision
		isFloat32, rounds, factors, stores bool
	}{
		{Precision{}, true, false, false, false},
		{Precision{stored: 1}, false, true, false, true},
		{Precision{factor: 1}, false, true, true, false},
		{Precision{softmax: 1}, false, true, false, false},
		{Precision{given: 1}, false, false, false, false},
		{Precision{learned: 1}, false, false, false, false},
		{Precision{factor: 1, stored: 1}, false, true, false, true},
		{Precision{factor: 1, softmax: 1}, false, true, false, false},
		{Precision{factor: 1, given: 1, learned: 1}, false, true, true, false},
	} {
		got := []bool{tc.p.IsFloat32(), tc.p.Rounds(), tc.p.RoundsFactors(), tc.p.Stores()}
		require.Equal(t, []bool{tc.isFloat32, tc.rounds, tc.factors, tc.stores}, got, tc.p)
	}
	require.True(t, BFloat16.Holds([]float64{1, -0.5, math.Inf(1), math.NaN()}))
	require.False(t, BFloat16.Holds([]float64{1, 1 + 0x1p-8}))
	require.True(t, BFloat16.Holds([]float64{1 + 0x1p-7}))
	require.True(t, TensorFloat32.Holds([]float64{1 + 0x1p-10}))
	require.False(t, TensorFloat32.Holds([]float64{1 + 0x1p-11}))
	require.True(t, Float16.Holds([]float64{0x1p-24}))
	require.False(t, Float16.Holds([]float64{0x1p-25}))
}

// The variance of each rounding, by hand.
func TestRoundingsOfAPrecision(t *testing.T) {
	p := Precision{stored: 0.25, factor: 0.5, given: 2, learned: 3, least: 8}
	require.InDelta(t, 4, p.ofProduct(), 0)
	require.Equal(t, []float64{2 * 9, 2 * 16}, p.input(Array{Shape: []int{2}, Value: []float64{3, -4}}).Variance)
	require.Equal(t, []float64{0, 8, 25}, []float64{p.ofStored(0), p.ofStored(2), p.ofStored(-10)})
	require.InDelta(t, 8, p.leastWeight(), 0)
	require.InDelta(t, underflow*underflow, Precision{}.leastWeight(), 0)
	require.InDelta(t, 9, Precision{leastSoftmax: 9}.leastWeight(), 0)

	field := func() Field { return Field{Shape: []int{3}, Value: []float64{0, 2, -10}, Variance: []float64{1, 1, 1}} }
	require.Equal(t, []float64{1, 9, 26}, p.store(field()).Variance)
	require.Equal(t, []float64{1, 1, 1}, Precision{factor: 1}.store(field()).Variance)
	bias := Linear{Out: 3, Bias: []float64{1, 2, 3}}
	learned := Precision{learned: 0.5}
	require.Equal(t, []float64{1.5, 3, 5.5}, learned.linear(bias, field()).Variance)
	require.Equal(t, []float64{1, 1, 1}, learned.linear(Linear{Out: 3}, field()).Variance)
	require.Nil(t, learned.linear(bias, Field{Shape: []int{3}, Value: []float64{1, 2, 3}}).Variance)

	lossy := Precision{stored: 0.25, loss: 0.5}
	require.Equal(t, []float64{0, 1, -5}, lossy.store(field()).Value)
	require.Equal(t, []float64{0, 1.5, -7.5}, lossy.loseWeights(field()).Value)
	require.Equal(t, []float64{0, 2, -10}, lossy.asFactor(field()).Value, "factors are not rounded")
	require.Equal(t, []float64{0, 1, -5}, Precision{factor: 1, loss: 0.5}.asFactor(field()).Value)
	s, variance := lossy.storeScore(6, 1)
	require.Equal(t, []float64{3, 1 + 9}, []float64{s, variance})
	s, variance = Precision{loss: 0.5}.storeScore(6, 1)
	require.Equal(t, []float64{6, 1}, []float64{s, variance}, "nothing is stored")
	require.Equal(t, []float64{0, 4, -20}, times(field(), 2).Value)
	require.Equal(t, []float64{1, 1, 1}, times(field(), 2).Variance)
}

// A rounded value is exact, unless noise within 16 deviations may give its neighbour: then the
// distance of the two counts as 1.5 deviations.
func TestRoundedField(t *testing.T) {
	const step = 0x1p-7
	f := Field{
		Shape: []int{2}, Value: []float64{1 + 0.1*step, 1 + 0.45*step},
		Variance: []float64{1e-4 * step * step, 1e-4 * step * step}, // 16 deviations are 0.16 steps
	}
	got := BFloat16.rounded(f)
	require.Equal(t, []float64{1, 1}, got.Value)
	require.Zero(t, got.Variance[0])
	require.InDelta(t, step*step/2.25, got.Variance[1], 1e-15)
	f.Variance = nil
	require.Equal(t, []float64{1, 1}, BFloat16.rounded(f).Value)
}

// A rotation by an angle, with the position over its factor and the frequency of its pair.
func TestAngleOfARotation(t *testing.T) {
	of := func(r Rotary, row, pair int) float64 {
		a := r.angle(0, row, pair, 0)
		return math.Atan2(a.sin, a.cos)
	}
	plain := Rotary{Dim: 4, Base: 100, Factor: 1}
	require.InDelta(t, 2, of(plain, 2, 0), 1e-12)
	require.InDelta(t, 0.2, of(plain, 2, 1), 1e-12, "100^(-2/4) = 0.1")
	changed := Rotary{Dim: 4, Base: 100, Factor: 4, First: 3, Stretch: []float64{2}}
	require.InDelta(t, 2.5, of(changed, 2, 0), 1e-12, "2·(3 + 2)/4")
	require.InDelta(t, 0.125, of(changed, 2, 1), 1e-12)
	own := Rotary{
		Dim: 4, Base: 100, Factor: 4,
		Position: func(head, row int) float64 { return float64(head+row) / 8 },
		Exponent: func(pair, feature int) float64 { return 0.5 * float64(pair+feature) },
	}
	require.InDelta(t, 0.25, of(own, 2, 0), 1e-12)
	require.InDelta(t, 2.5, of(own, 2, 1), 1e-12, "0.25·100^0.5")
	a := plain.angle(0, 2, 1, 0)
	exponent := -0.5 * math.Log(100)
	require.InDelta(t, roundoff*0.04*(3+exponent*exponent), a.variance, 1e-25)
	turned := rotation{cos: 0.6, sin: 0.8, variance: 0}
	require.InDelta(t, 0.6*5-0.8*10, turned.value(5, 10), 1e-12)
	require.InDelta(t, 0.6*5+0.8*10, turned.reversed().value(5, 10), 1e-12)
	require.InDelta(t, 0.36*7+0.64*11, turned.noise(5, 10, 7, 11), 1e-4)
	turned.variance = 100
	require.InDelta(t, 0.36*7+0.64*11+100*(0.8*5+0.6*10)*(0.8*5+0.6*10), turned.noise(5, 10, 7, 11), 1e-3)
}

// A learned key is rounded as a parameter is.
func TestNoiseOfALearnedKey(t *testing.T) {
	p := &Problem{Layer: &Layer{}, Precision: Precision{learned: 0.25}}
	x := Field{Shape: []int{1, 1, 1, 2}, Value: []float64{5, 6}, Variance: []float64{7, 8}}
	y := p.appendKeys(x, []float64{2, -4})
	require.Equal(t, []float64{5, 6, 2, -4}, y.Value)
	require.Equal(t, []float64{7, 8, 1, 4}, y.Variance)
}
