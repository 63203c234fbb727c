package compare_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/npy"
)

func inUnits(shape []int, got, want []float64, ofGot, ofWant npy.DType) compare.Units {
	r := compare.NewRunning(shape).InUnits(ofGot.ULP, ofWant.ULP)
	for i := range got { // in blocks of one element
		r.Add(got[i:i+1], want[i:i+1])
	}
	return r.Units()
}

func TestInUnits(t *testing.T) {
	const f16, f32, f64, bf16 = npy.Float16, npy.Float32, npy.Float64, npy.BFloat16
	for _, tc := range []struct {
		name        string
		got, want   float64
		ofGot, ofW  npy.DType
		units       float64
		roundedOnce bool
	}{
		{"equal", 1, 1, f32, f32, 0, true},
		{"neighbours", 1 + 0x1p-23, 1, f32, f32, 1, true},
		{"next but one", 1 + 0x1p-22, 1, f32, f32, 2, false},
		{"neighbours across a power of two", 1 - 0x1p-24, 1, f32, f32, 0.5, true},
		{"the other way round", 1, 1 - 0x1p-24, f32, f32, 0.5, true},
		{"the largest number", math.MaxFloat64, 0, f64, f64, 1<<53 - 1, false},
		{"neighbours of the least size", 0x1p-149, 0, f32, f32, 1, true},
		{"both signs of the least size", 0x1p-149, -0x1p-149, f32, f32, 2, false},
		{"half a unit of float16", 1 + 0x1p-11, 1, f32, f16, 0.5, true},
		{"half a unit of float16, the other way round", 1, 1 + 0x1p-11, f16, f32, 0.5, true},
		{"half a unit of each", 1 + 0x1p-11 + 0x1p-24, 1, f32, f16, 0.5 + 0x1p-14, true},
		{"more than half a unit of each", 1 + 0x1p-11 + 0x1p-23, 1, f32, f16, 0.5 + 0x1p-13, false},
		{"a unit of float16 is no rounding to it", 1 + 0x1p-10, 1, f32, f16, 1, false},
		{"a unit of bfloat16 between two of them", 1 + 0x1p-7, 1, bf16, bf16, 1, true},
		{"half a unit of float32", 1 + 0x1p-24, 1, f64, f32, 0.5, true},
		{"NaN twice", nan, nan, f32, f32, 0, true},
		{"NaN once", nan, 1, f32, f32, inf, false},
		{"overflow of float16", 1e6, inf, f32, f16, inf, false},
		{"infinity twice", -inf, -inf, f32, f32, 0, true},
		{"underflow of float16", 0x1p-26, 0, f32, f16, 0.25, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			u := inUnits([]int{1}, []float64{tc.got}, []float64{tc.want}, tc.ofGot, tc.ofW)
			require.Equal(t, tc.units, u.Median)
			require.Equal(t, tc.units, u.Largest.Z)
			require.Equal(t, map[bool]int{true: 0, false: 1}[tc.roundedOnce], u.Beyond)
		})
	}
}

func TestInUnitsOfManyElements(t *testing.T) {
	got := []float64{1, 1 + 0x1p-23, 1 + 0x1p-22, 1, 1, 5}
	want := []float64{1, 1, 1, 1 + 0x1p-21, 1, 5}
	u := inUnits([]int{2, 3}, got, want, npy.Float32, npy.Float32)
	require.Equal(t, 0.0, u.Median)
	require.Equal(t, []int{1, 0}, u.Largest.Index)
	require.Equal(t, 4.0, u.Largest.Z)
	require.Equal(t, 2, u.Beyond)
	require.True(t, math.IsNaN(inUnits([]int{0}, nil, nil, npy.Float32, npy.Float32).Median))
}

// Every unit is asked for once, by the least magnitude of each exponent.
func TestInUnitsAsksForEachExponent(t *testing.T) {
	var asked []float64
	one := func(float64) float64 { return 1 }
	compare.NewRunning([]int{1}).InUnits(func(m float64) float64 { asked = append(asked, m); return 1 }, one)
	require.Len(t, asked, 2047)
	require.Equal(t, []float64{0, 0x1p-1022, 0x1p-1021}, asked[:3])
	require.Equal(t, 0x1p1023, asked[2046])
}

// The median is the least number of its bin. A bin spans 0.5 of the numbers near 1000.
func TestMedianOfBins(t *testing.T) {
	one := func(float64) float64 { return 1 }
	median := func(distances ...float64) float64 {
		r := compare.NewRunning([]int{len(distances)}).InUnits(one, one)
		r.Add(distances, make([]float64, len(distances)))
		return r.Units().Median
	}
	require.Equal(t, 1000.0, median(1000.25, 1000, 1000.25))
	require.Equal(t, 1000.5, median(1000, 1000.5, 1000.5))
}

// Blocks whose numbers differ by hundreds of orders of magnitude share their sums.
func TestRunningChangesItsScale(t *testing.T) {
	for _, blocks := range [][][2]float64{
		{{1, 1}, {2, 1}},
		{{0x1p-999, 0x1p-999}, {2, 1}},
		{{0, 0x1p-999}, {0x1p-999, 0}, {2, 1}},
		{{0, 0}, {0x1p-1000, 0x1p-1001}},
		{{2, 1}, {0x1p900, 0x1p901}},
		{{0x1p900, 0x1p901}, {2, 1}},
	} {
		r := compare.NewRunning([]int{len(blocks)}).InUnits(npy.Float64.ULP, npy.Float64.ULP)
		var got, want []float64
		for _, b := range blocks {
			r.Add(b[:1], b[1:])
			got, want = append(got, b[0]), append(want, b[1])
		}
		shape := []int{len(got)}
		c := compare.Outputs(shape, got, compare.Expected{Shape: shape, Value: want, Sigma: ones(len(got))})
		d := r.Difference()
		numbers, others := []float64{c.Rel, c.Gain, c.Cosine}, []float64{d.Rel, d.Gain, d.Cosine}
		require.InEpsilonSlice(t, numbers, others, 1e-12, "%v", blocks)
	}
}

// Where all elements are equal, the first stands for the furthest.
func TestRunningOfEqualElements(t *testing.T) {
	r := compare.NewRunning([]int{3}).InUnits(npy.Float64.ULP, npy.Float64.ULP)
	r.Add([]float64{7}, []float64{7})
	r.Add([]float64{8, 9}, []float64{8, 9})
	require.Equal(t, compare.Element{Index: []int{0}, Got: 7, Want: 7}, r.Difference().Largest)
	require.Equal(t, compare.Element{Index: []int{0}, Got: 7, Want: 7}, r.Units().Largest)

	r = compare.NewRunning([]int{2}).InUnits(npy.Float64.ULP, npy.Float64.ULP)
	r.Add([]float64{1, 1}, []float64{1.5, 1.5})
	require.Equal(t, []int{0}, r.Units().Largest.Index, "the first of two equal distances")
}

func TestDistance(t *testing.T) {
	for _, tc := range []struct{ a, b, want float64 }{
		{1, 3, 2}, {3, 1, 2}, {-1, 1, 2}, {nan, nan, 0}, {inf, inf, 0}, {-inf, -inf, 0},
		{nan, 1, inf}, {1, nan, inf}, {inf, 1, inf}, {inf, -inf, inf}, {inf, nan, inf},
	} {
		require.Equal(t, tc.want, compare.Distance(tc.a, tc.b), "%g and %g", tc.a, tc.b)
	}
}

// Blocks give the sums, the extremes and the median of the whole arrays, whatever their sizes.
func TestRunningInBlocks(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	for trial := range 60 {
		scaleOf := []float64{1, 1e-300, 1e300, 0, 1e-12}[trial%5]
		n := r.IntN(400) + 1
		got, want := make([]float64, n), make([]float64, n)
		for i := range got {
			want[i] = float64(float32(r.NormFloat64()))
			got[i] = want[i] * (1 + float64(r.IntN(3))*0x1p-23)
			if trial%3 == 0 && i%2 == 1 { // other sizes in the same array
				got[i], want[i] = got[i]*scaleOf, want[i]*scaleOf
			}
			if special := []float64{nan, inf, -inf, 0}; trial%4 == 0 && r.IntN(20) == 0 {
				got[i], want[i] = special[r.IntN(4)], special[r.IntN(4)]
			}
		}
		c := compare.Outputs([]int{n}, got, compare.Expected{Shape: []int{n}, Value: want, Sigma: make([]float64, n)})
		running := compare.NewRunning([]int{n}).InUnits(npy.Float32.ULP, npy.Float64.ULP)
		for from := 0; from < n; {
			to := min(n, from+r.IntN(50))
			running.Add(got[from:to], want[from:to])
			from = to
		}
		d, u := running.Difference(), running.Units()
		require.Equal(t, c.Elements-c.Outside, d.Equal)
		for _, pair := range [][2]float64{{c.Rel, d.Rel}, {c.Gain, d.Gain}, {c.Cosine, d.Cosine}} {
			if pair[0] != pair[1] && !(math.IsNaN(pair[0]) && math.IsNaN(pair[1])) {
				require.InEpsilon(t, pair[0], pair[1], 1e-9)
			}
		}
		var distances []float64
		for i, g := range got {
			off := compare.Distance(g, want[i])
			if off > 0 && !math.IsInf(off, 1) {
				off /= npy.Float32.ULP(math.Max(math.Abs(g), math.Abs(want[i])))
			}
			distances = append(distances, off)
		}
		require.Equal(t, slices.Max(distances), u.Largest.Z)
		slices.Sort(distances)
		median := distances[(n-1)/2]
		require.LessOrEqual(t, u.Median, median)
		require.GreaterOrEqual(t, u.Median, median*(1-0x1p-10))
	}
}
