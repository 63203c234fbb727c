package compare_test

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/compare"
)

var nan, inf = math.NaN(), math.Inf(1)

// numbers are the numbers of a comparison.
type numbers struct {
	outside, nonFinite            int
	maxZ, rmsZ, rel, gain, cosine float64
}

func TestOutputs(t *testing.T) {
	for _, tc := range []struct {
		name             string
		got, want, sigma []float64
		ok               bool
		numbers          numbers
	}{
		{
			"equal", []float64{3, 4}, []float64{3, 4}, []float64{1, 1}, true,
			numbers{gain: 1, cosine: 1},
		},
		{
			"at the limit of max z",
			append([]float64{16}, make([]float64, 127)...), make([]float64, 128), ones(128), true,
			numbers{maxZ: 16, rmsZ: math.Sqrt2, rel: inf, gain: inf, cosine: nan},
		},
		{
			"beyond max z", []float64{16.001, 1}, []float64{0, 1}, []float64{1, 1}, false,
			numbers{
				outside: 1, maxZ: 16.001, rmsZ: 16.001 / math.Sqrt2, rel: 16.001,
				gain: math.Hypot(16.001, 1), cosine: 1 / math.Hypot(16.001, 1),
			},
		},
		{
			"beyond rms z", []float64{3, 4}, []float64{0, 1}, []float64{1, 1}, false,
			numbers{maxZ: 3, rmsZ: 3, rel: math.Sqrt(18), gain: 5, cosine: 0.8},
		},
		{
			"NaN is wrong", []float64{nan, 1}, []float64{1, 1}, []float64{1, 1}, false,
			numbers{outside: 1, nonFinite: 1, maxZ: inf, rmsZ: inf, gain: 1, cosine: 1},
		},
		{
			"infinity is wrong", []float64{inf, 1}, []float64{1, 1}, []float64{1, 1}, false,
			numbers{outside: 1, nonFinite: 1, maxZ: inf, rmsZ: inf, gain: 1, cosine: 1},
		},
		{
			"NaN where it is expected", []float64{nan, 1}, []float64{nan, 1}, []float64{0, 1}, true,
			numbers{gain: 1, cosine: 1},
		},
		{
			"a number where NaN is expected", []float64{0, 1}, []float64{nan, 1}, []float64{0, 1}, false,
			numbers{outside: 1, nonFinite: 1, maxZ: inf, rmsZ: inf, gain: 1, cosine: 1},
		},
		{
			"infinity where NaN is expected", []float64{inf, 1}, []float64{nan, 1}, []float64{0, 1}, false,
			numbers{outside: 1, nonFinite: 1, maxZ: inf, rmsZ: inf, gain: 1, cosine: 1},
		},
		{
			"nothing finite", []float64{nan, nan}, []float64{1, 1}, []float64{1, 1}, false,
			numbers{outside: 2, nonFinite: 2, maxZ: inf, rmsZ: inf, rel: nan, gain: nan, cosine: nan},
		},
		{
			"at the limit of rms z", []float64{2.6457, -2.6457}, []float64{0, 0}, []float64{1, 1}, true,
			numbers{maxZ: 2.6457, rmsZ: 2.6457, rel: inf, gain: inf, cosine: nan},
		},
		{
			"just beyond the limit of rms z", []float64{2.646, -2.646}, []float64{0, 0}, []float64{1, 1}, false,
			numbers{maxZ: 2.646, rmsZ: 2.646, rel: inf, gain: inf, cosine: nan},
		},
		{
			"exact where there is no noise", []float64{5, 1}, []float64{5, 1}, []float64{0, 1}, true,
			numbers{gain: 1, cosine: 1},
		},
		{
			"not exact where there is no noise", []float64{5 + 1e-12, 0}, []float64{5, 0}, []float64{0, 1}, false,
			numbers{outside: 1, maxZ: inf, rmsZ: inf, rel: 2e-13, gain: 1, cosine: 1},
		},
		{
			"NaN sigma allows nothing", []float64{2, 1}, []float64{1, 1}, []float64{nan, 1}, false,
			numbers{
				outside: 1, maxZ: inf, rmsZ: inf,
				rel: math.Sqrt(0.5), gain: math.Sqrt(2.5), cosine: 3 / math.Sqrt(10),
			},
		},
		{
			"a number with noise where NaN is expected", []float64{0, 1}, []float64{nan, 1}, []float64{1, 1}, false,
			numbers{outside: 1, nonFinite: 1, maxZ: inf, rmsZ: inf, gain: 1, cosine: 1},
		},
		{
			"-infinity is wrong", []float64{-inf, 1}, []float64{1, 1}, []float64{1, 1}, false,
			numbers{outside: 1, nonFinite: 1, maxZ: inf, rmsZ: inf, gain: 1, cosine: 1},
		},
		{
			"beyond max z alone",
			append([]float64{16.001}, make([]float64, 255)...), make([]float64, 256), ones(256), false,
			numbers{outside: 1, maxZ: 16.001, rmsZ: 1.00006, rel: inf, gain: inf, cosine: nan},
		},
		{
			"at the limit of rms z of many", scaled(1.5, ones(64)), make([]float64, 64), ones(64), true,
			numbers{maxZ: 1.5, rmsZ: 1.5, rel: inf, gain: inf, cosine: nan},
		},
		{
			"no noise at all", []float64{3, 4}, []float64{3, 4}, []float64{0, 0}, true,
			numbers{gain: 1, cosine: 1},
		},
		{
			"zeros in both", []float64{0, 0}, []float64{0, 0}, []float64{1, 1}, true,
			numbers{cosine: nan},
		},
		{
			"all zero", []float64{0, 0}, []float64{3, 4}, []float64{1, 1}, false,
			numbers{maxZ: 4, rmsZ: 5 / math.Sqrt2, rel: 1, cosine: nan},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			shape := []int{len(tc.want)}
			c := compare.Outputs(shape, tc.got, compare.Expected{Shape: shape, Value: tc.want, Sigma: tc.sigma})
			require.Equal(t, tc.ok, c.OK())
			got := numbers{c.Outside, c.NonFinite, c.MaxZ, c.RMSZ, c.Rel, c.Gain, c.Cosine}
			options := cmp.Options{
				cmp.AllowUnexported(numbers{}), cmpopts.EquateNaNs(), cmpopts.EquateApprox(1e-3, 1e-15),
			}
			require.Empty(t, cmp.Diff(got, tc.numbers, options))
		})
	}
}

func ones(n int) []float64 {
	v := make([]float64, n)
	for i := range v {
		v[i] = 1
	}
	return v
}

func scaled(by float64, values []float64) []float64 {
	for i := range values {
		values[i] *= by
	}
	return values
}

// Rows that are exact by nature must not hide an error that is everywhere else.
func TestExactElementsDoNotDiluteRMSZ(t *testing.T) {
	want := compare.Expected{Shape: []int{4}, Value: make([]float64, 4), Sigma: []float64{0, 0, 0, 1}}
	c := compare.Outputs([]int{4}, []float64{0, 0, 0, 3.1}, want)
	require.InDelta(t, 3.1, c.RMSZ, 1e-12)
	require.False(t, c.OK())
}

func TestOutputsLocates(t *testing.T) {
	want := compare.Expected{Shape: []int{2, 2, 2}, Value: make([]float64, 8), Sigma: ones(8)}
	got := []float64{0, 20, 17, 30, 1, 40, 18, 19}
	c := compare.Outputs([]int{2, 2, 2}, got, want)
	require.Equal(t, compare.Element{Index: []int{1, 0, 1}, Got: 40, Want: 0, Allowed: 16, Z: 40}, c.Worst)
	var first [][]int
	for _, e := range c.First {
		first = append(first, e.Index)
	}
	require.Equal(t, [][]int{{0, 0, 1}, {0, 1, 0}, {0, 1, 1}, {1, 0, 1}, {1, 1, 0}}, first)
	require.Equal(t, 6, c.Outside)
}

// An element at the limit is not outside. The first of two equal distances is the worst.
func TestLocatesAtTheLimit(t *testing.T) {
	want := compare.Expected{Shape: []int{4}, Value: make([]float64, 4), Sigma: []float64{0.5, 0.5, 0.25, 0.25}}
	c := compare.Outputs([]int{4}, []float64{1, 8, 4, 0}, want)
	require.Empty(t, c.First)
	require.Equal(t, compare.Element{Index: []int{1}, Got: 8, Allowed: 8, Z: 16}, c.Worst)

	one := compare.Expected{Shape: []int{1}, Value: []float64{2}, Sigma: []float64{1}, Measured: true}
	c = compare.Outputs([]int{1}, []float64{22}, one)
	require.Equal(t, compare.Element{Index: []int{0}, Got: 22, Want: 2, Allowed: 20, Z: 20}, c.Worst)
	require.Empty(t, c.First)
	require.Equal(t, compare.Limits{Z: 20, RMS: 2}, one.Limits())
}

func TestOtherShapesAreNotCompared(t *testing.T) {
	want := compare.Expected{Shape: []int{2}, Value: []float64{1, 2}, Sigma: ones(2)}
	c := compare.Outputs([]int{1, 2}, []float64{1, 2}, want)
	require.False(t, c.SameShape())
	require.False(t, c.OK())
	require.Nil(t, c.Z)
}

func TestNothingComparedIsNotOK(t *testing.T) {
	c := compare.Outputs([]int{0}, nil, compare.Expected{Shape: []int{0}})
	require.False(t, c.OK())
}

func TestValues(t *testing.T) {
	d := compare.Values([]int{3}, []float64{1, nan, 3}, []float64{1, nan, 3})
	require.Equal(t, 3, d.Equal)

	d = compare.Values([]int{3}, []float64{1.5, 2, 5}, []float64{1, 2, 3})
	require.Equal(t, 1, d.Equal)
	require.Equal(t, 3, d.Elements)
	require.Equal(t, []int{2}, d.Largest.Index)
	require.InDelta(t, math.Sqrt(4.25/14), d.Rel, 1e-12)

	d = compare.Values([]int{3}, []float64{9, nan, 3}, []float64{1, 2, 3})
	require.Equal(t, 1, d.Equal)
	require.Equal(t, []int{1}, d.Largest.Index)

	d = compare.Values([]int{3}, []float64{1, 5, -1}, []float64{1, 3, 1})
	first := compare.Element{Index: []int{1}, Got: 5, Want: 3, Z: 2}
	require.Equal(t, first, d.Largest, "the first of two equal distances")

	d = compare.Values([]int{2}, []float64{7, 8}, []float64{7, 8})
	require.Equal(t, compare.Element{Index: []int{0}, Got: 7, Want: 7}, d.Largest)

	d = compare.Values([]int{2}, []float64{nan, 1}, []float64{1, inf})
	require.True(t, math.IsNaN(d.Rel) && math.IsNaN(d.Gain) && math.IsNaN(d.Cosine), "nothing is finite in both")

	d = compare.Values([]int{4}, []float64{nan, 1, 2, 4}, []float64{nan, 1, 2, 3})
	require.Equal(t, []int{3}, d.Largest.Index, "NaN that is equal is no difference")
}

// Squares of numbers near the largest and the smallest float64 leave its range. The summary of an
// output does not.
func TestOutputsOfAnySize(t *testing.T) {
	want := compare.Expected{Shape: []int{4}, Value: []float64{1, -2, 0.5, 3}, Sigma: []float64{1e-7, 1e-7, 1e-7, 1e-7}}
	for _, gain := range []float64{1e-300, 1e-160, 0.5, 3e38, 1e200, 1e290} {
		got := make([]float64, len(want.Value))
		for i, w := range want.Value {
			got[i] = gain * w
		}
		c := compare.Outputs(want.Shape, got, want)
		require.InEpsilon(t, gain, c.Gain, 1e-12)
		require.InEpsilon(t, 1, c.Cosine, 1e-12)
		require.InEpsilon(t, math.Abs(gain-1), c.Rel, 1e-12)
		require.InEpsilon(t, math.Abs(gain-1)*math.Sqrt(14.25/4)/1e-7, c.RMSZ, 1e-12)
		require.Zero(t, c.NonFinite)

		tiny := compare.Outputs(want.Shape, want.Value, compare.Expected{
			Shape: want.Shape, Value: got, Sigma: want.Sigma,
		})
		require.InEpsilon(t, 1/gain, tiny.Gain, 1e-12)
		require.InEpsilon(t, math.Abs(1/gain-1), tiny.Rel, 1e-12)

		d, back := compare.Values(want.Shape, got, want.Value), compare.Values(want.Shape, want.Value, got)
		require.InEpsilonSlice(t, []float64{c.Gain, c.Rel, 1}, []float64{d.Gain, d.Rel, d.Cosine}, 1e-12)
		require.InEpsilonSlice(t, []float64{tiny.Gain, tiny.Rel, 1}, []float64{back.Gain, back.Rel, back.Cosine}, 1e-12)
	}
}

func TestTheLargestNumber(t *testing.T) {
	want := compare.Expected{Shape: []int{2}, Value: []float64{1, 1}, Sigma: ones(2)}
	c := compare.Outputs(want.Shape, []float64{math.MaxFloat64, 0}, want)
	require.InEpsilon(t, 1/math.Sqrt2, c.Cosine, 1e-12)
	require.Zero(t, c.NonFinite)
}

// The mean square of few elements varies by chance. Its limit is larger by six of its deviations.
func TestTheLimitOfFewElements(t *testing.T) {
	for n, rms := range map[int]float64{1: 3.0797, 2: 2.6458, 12: 1.8572, 46: 1.5, 1000: 1.5} {
		want := compare.Expected{Shape: []int{n}, Value: make([]float64, n), Sigma: make([]float64, n)}
		within, beyond := make([]float64, n), make([]float64, n)
		for i := range n {
			want.Value[i], want.Sigma[i] = 5, 0.25
			within[i], beyond[i] = 5+0.25*0.999*rms, 5+0.25*1.001*rms
		}
		require.True(t, compare.Outputs(want.Shape, within, want).OK(), "%d", n)
		require.False(t, compare.Outputs(want.Shape, beyond, want).OK(), "%d", n)
	}
}
