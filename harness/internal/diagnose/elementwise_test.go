package diagnose

import (
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/replay"
)

// looked returns an output for steps. All rows see a key, and noise is the same everywhere.
func looked(sigma float64, shape []int, want, got []float64) *input {
	truth := compare.Expected{Shape: shape, Value: want, Sigma: slices.Repeat([]float64{sigma}, len(want))}
	in := &input{
		problem: &oracle.Problem{}, truth: truth, whole: truth, got: got, output: got,
		comparison: compare.Outputs(shape, got, truth),
		visible:    slices.Repeat([]int{1}, len(want)/num.Last(shape)),
	}
	in.replays.Sampled = replay.Sampled{Sample: replay.Sample{Truth: truth}, Got: got, Comparison: in.comparison}
	if len(shape) > 1 {
		in.structure = newStructure(in.comparison, in.visible)
	}
	return in
}

// Chatterjee's xi, 1 - 3·steps/(n² - 1), of four elements. The output's ranks take the steps, in
// the order of the expected elements.
func TestDependence(t *testing.T) {
	require.InDelta(t, 1-3*3.0/15, dependence([]float64{10, 20, 30, 40}, []float64{1, 2, 3, 4}), 1e-15)
	// ranks 1, 0, 3, 2
	require.InDelta(t, 1-3*5.0/15, dependence([]float64{-1, -7, 9, 8}, []float64{1, 2, 3, 4}), 1e-15)
	// in the order of the expected elements: ranks 2, 1, 3, 0
	require.InDelta(t, 1-3*6.0/15, dependence([]float64{5, 9, 1, 7}, []float64{2, 3, 4, 1}), 1e-15)
	require.Equal(t, []int{1, 3, 0, 2}, sortedBy([]float64{2, 1, 2, 1}), "equal values keep their order")
}

// A function is asked if it changes eight elements by more than the noise. Its noise is the largest
// change of its value within one sigma, beside a rounding to float32.
func TestAppliedFunction(t *testing.T) {
	const sigma = 1.0 / 16 // limit 1
	want := slices.Repeat([]float64{3}, 9)
	in := looked(sigma, []int{3, 3}, want, want)
	square := func(v float64) float64 { return v * v }
	r := applied(in, "the square", square)
	require.Equal(t, "the square", r.text)
	require.Equal(t, slices.Repeat([]float64{9}, 9), r.want.Value)
	require.InDelta(t, (3+sigma)*(3+sigma)-9, r.want.Sigma[4], 1e-6)
	falling := applied(in, "", func(v float64) float64 { return math.Exp2(-8 * v) })
	require.InDelta(t, math.Exp2(-24+0.5)-math.Exp2(-24), falling.want.Sigma[4], 1e-15)

	exact := looked(0, []int{3, 3}, want, want)
	require.InDelta(t, 9*math.Exp2(-24), applied(exact, "", square).want.Sigma[0], 1e-20)

	require.Nil(t, applied(in, "", func(v float64) float64 { return v + 1 }), "as much as the limit")
	require.NotNil(t, applied(in, "", func(v float64) float64 { return v + 1.001 }))
	for changed, asked := range map[int]bool{7: false, 8: true} {
		some := looked(sigma, []int{3, 3}, ones(9, changed), want)
		require.Equal(t, asked, applied(some, "", func(v float64) float64 { return 5 * v }) != nil, changed)
	}
}

// ones returns n numbers: some ones, then zeros.
func ones(n, most int) []float64 {
	v := make([]float64, n)
	for i := range most {
		v[i] = 1
	}
	return v
}

// A clamp needs eight elements on each side that it cuts, and eight that it leaves, with bounds in
// their order.
func TestClamped(t *testing.T) {
	// lows elements are raised to low, highs are lowered to high, and right ones stay.
	of := func(lows, highs, right int, low, high float64) *relation {
		var want, got []float64
		add := func(n int, w, g float64) {
			want, got = append(want, slices.Repeat([]float64{w}, n)...), append(got, slices.Repeat([]float64{g}, n)...)
		}
		add(lows, -9, low)
		add(highs, 9, high)
		add(right, 0.5, 0.5)
		return clamped(looked(1e-6, []int{len(want), 1}, want, got))
	}
	for _, tc := range []struct {
		lows, highs, right int
		low, high          float64
		text               string // "" for none
	}{
		{8, 0, 8, 0, 0, "the expected one with every negative element set to zero, as relu does"},
		{8, 0, 8, -2, 0, "the expected one with every element below -2 set to it"},
		{0, 8, 8, 0, 2.5, "the expected one with every element above 2.5 set to it"},
		{8, 8, 8, 0, 1, "the expected one with every element below 0 set to it, and every element above 1 set to it"},
		{1, 0, 9, 0, 0, ""}, {0, 1, 9, 0, 1, ""}, {8, 1, 9, 0, 1, ""}, {1, 8, 9, 0, 1, ""}, {7, 0, 9, 0, 0, ""}, {0, 7, 9, 0, 1, ""}, {8, 7, 9, 0, 1, ""}, {7, 8, 9, 0, 1, ""}, {8, 8, 7, 0, 1, ""},
		{0, 0, 20, 0, 0, ""}, {8, 8, 8, 2, 2, ""}, {8, 8, 8, 3, 2, ""},
	} {
		r := of(tc.lows, tc.highs, tc.right, tc.low, tc.high)
		require.Equal(t, tc.text != "", r != nil, tc)
		if r != nil {
			require.Equal(t, tc.text, r.text)
		}
	}
	r := of(8, 8, 8, -1, 2)
	require.Equal(t, []float64{-1, 2, 0.5}, []float64{r.want.Value[0], r.want.Value[8], r.want.Value[16]})

	// Elements as far off as the noise allows are not cut.
	want := slices.Concat(repeated([]float64{-9}, 8), []float64{0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7})
	got := slices.Clone(want)
	for i := range got {
		got[i] = max(-1, want[i]+16*0x1p-20)
	}
	require.NotNil(t, clamped(looked(0x1p-20, []int{16, 1}, want, got)))

	// One element with another bound, on either side.
	for _, off := range []float64{-1.5, -0.5, 3, 8.5} {
		for _, place := range []int{0, 4, 8, 9, 13, 17} {
			want := slices.Concat(repeated([]float64{-9}, 9), repeated([]float64{9}, 9), make([]float64, 8))
			got := slices.Concat(repeated([]float64{-1}, 9), repeated([]float64{2}, 9), make([]float64, 8))
			require.NotNil(t, clamped(looked(1e-6, []int{26, 1}, want, got)))
			got[place] = off
			require.Nil(t, clamped(looked(1e-6, []int{26, 1}, want, got)), "%g at %d", off, place)
		}
	}
}

// An output is rounded once if every element is the number of the type next to the expected one, or
// next to one within its noise, and eight elements are outside the noise.
func TestRoundedTo(t *testing.T) {
	const sigma, step = 1e-6, 1.0 / 1024 // reach 16e-6; the distance of float16 numbers above 1
	want, got := slices.Repeat([]float64{1.0003}, 10), slices.Repeat([]float64{1}, 10)
	// The noise reaches over the middle of two numbers.
	want[0], want[1] = 1+step/2+5e-6, 1+step/2-5e-6
	for _, tc := range []struct {
		name    string
		first   [3]float64
		rounded bool
	}{
		{"nearest", [3]float64{1 + step, 1, 1}, true},
		{"next to one in the noise", [3]float64{1, 1 + step, 1}, true},
		{"a number above", [3]float64{1 + 2*step, 1, 1}, false},
		{"a number above, far from the middle", [3]float64{1 + step, 1, 1 + step}, false},
		{"a number below", [3]float64{1 + step, 1, 1 - step/2}, false},
		{"no number of float16", [3]float64{1 + step, 1, 1.0003}, false},
		{"the middle of two numbers", [3]float64{1 + step/2, 1, 1}, false},
	} {
		copy(got, tc.first[:])
		in := looked(sigma, []int{10}, want, got)
		require.Equal(t, tc.rounded, roundedTo(in, oracle.Float16), tc.name)
	}
	copy(got, []float64{1 + step, 1, 1})
	for wrong, rounded := range map[int]bool{7: false, 8: true} {
		some := slices.Repeat([]float64{1}, 10)
		copy(some, slices.Repeat([]float64{1.0003}, wrong))
		in := looked(sigma, []int{10}, some, slices.Repeat([]float64{1}, 10))
		require.Equal(t, rounded, roundedTo(in, oracle.Float16), wrong)
		require.Equal(t, rounded, fewerBits(in) != nil, wrong)
	}
	const far = step / 4 // sixteen times the noise
	in := looked(far/16, []int{10}, slices.Repeat([]float64{1 + far}, 10), slices.Repeat([]float64{1}, 10))
	require.Nil(t, fewerBits(in), "no element is outside the noise")
	got[0] = math.NaN()
	require.Nil(t, fewerBits(looked(sigma, []int{10}, want, got)))
	require.Nil(t, factorsOrFunctions(looked(sigma, []int{10}, want, got)))
	for i := range got {
		want[i] = float64(i)
		got[i] = math.Exp(want[i])
	}
	require.Contains(t, told(factorsOrFunctions(looked(sigma, []int{1, 10}, want, got))), "exp of the expected one")
	want[9], got[9] = 1000, math.Inf(1)
	require.Nil(t, factorsOrFunctions(looked(sigma, []int{1, 10}, want, got)), "infinity is told as such")
}

// A cap is found by bisection, and brought nearer to all elements by least squares in units of
// their noise. The cap comes from the first of the largest elements.
func TestSoftcap(t *testing.T) {
	for _, tc := range []struct{ w, limit float64 }{{3, 2}, {-3, 2}, {0.5, 30}, {100, 0.25}} {
		require.InEpsilon(t, tc.limit, capThat(tc.w, tc.limit*math.Tanh(tc.w/tc.limit)), 1e-9)
	}
	for _, tc := range [][2]float64{{3, 0}, {3, 3}, {3, 4}, {-3, 2}, {3, -2}, {0, 0}, {3, math.NaN()}} {
		require.True(t, math.IsNaN(capThat(tc[0], tc[1])), tc)
	}

	const limit = 2.0
	want := []float64{0.5, 3, -2, 1}
	got := []float64{0.5, 1.9, -1.5, 0.9}
	in := looked(1, []int{2, 2}, want, got)
	in.truth.Sigma = []float64{0, 0.5, 0.25, 2}
	var above, below float64
	for i := 1; i < 4; i++ {
		slope := (math.Tanh(want[i]/(limit+1e-6))*(limit+1e-6) - math.Tanh(want[i]/(limit-1e-6))*(limit-1e-6)) / 2e-6
		weight := 1 / (in.truth.Sigma[i] * in.truth.Sigma[i])
		above += weight * slope * (got[i] - limit*math.Tanh(want[i]/limit))
		below += weight * slope * slope
	}
	require.InEpsilon(t, above/below, stepOfCap(in, limit), 1e-7)
	in.truth.Sigma = make([]float64, 4)
	require.Zero(t, stepOfCap(in, limit))

	tied := []float64{3, -3, 3}
	require.NotNil(t, softcapped(looked(1e-3, []int{1, 12}, repeated(tied, 12), repeated([]float64{2, -3, 4}, 12))))
	require.Nil(t, softcapped(looked(1e-3, []int{1, 12}, repeated(tied, 12), repeated([]float64{4, -2, 2}, 12))))
}

// The noise of the largest element does not hide a softcap: the cap follows from all elements.
func TestSoftcapBesideNoise(t *testing.T) {
	const limit, sigma = 10, 1e-3
	want, got := make([]float64, 200), make([]float64, 200)
	for i := range want {
		want[i] = 3 - float64(i%7)/10
		got[i] = limit*math.Tanh(want[i]/limit) + sigma*alternating(0.5)(i)
	}
	want[5], got[5] = 3.01, limit*math.Tanh(3.01/limit)+8*sigma
	f := factorsOrFunctions(looked(sigma, []int{10, 20}, want, got))
	require.NotNil(t, f)
	require.Equal(t, MissingFeature, f.class, f.reasons)
	require.Regexp(t, "the expected one behind a softcap of (9.9|10.0)", f.reasons[0])
}

func repeated(values []float64, n int) []float64 {
	return slices.Repeat(values, n/len(values))
}

// Derivatives of functions of rows are those of the functions.
func TestFunctionsOfRows(t *testing.T) {
	const h = 1e-6
	row := []float64{0.5, -1.25, 2, 0.125}
	for _, f := range rowFunctions {
		total := f.total(row)
		for i, x := range row {
			value, byElement, byTotal := f.of(x, total)
			at := func(x, total float64) float64 { v, _, _ := f.of(x, total); return v }
			require.InDelta(t, (at(x+h, total)-at(x-h, total))/(2*h), byElement, 1e-8, f.text)
			require.InDelta(t, (at(x, total+h)-at(x, total-h))/(2*h), byTotal, 1e-8, f.text)
			require.InDelta(t, at(x, total), value, 0)
			up, down := slices.Clone(row), slices.Clone(row)
			up[i], down[i] = x+h, x-h
			require.InDelta(t, (f.total(up)-f.total(down))/(2*h), f.share(x, total), 1e-8, f.text)
		}
	}
	var sum, squares float64
	for _, x := range row {
		sum += math.Exp(x)
		squares += x * x
	}
	for i, want := range []float64{math.Exp(2) / sum, 2 - math.Log(sum), 2 / math.Sqrt(squares)} {
		f := rowFunctions[i]
		got, _, _ := f.of(2, f.total(row))
		require.InDelta(t, want, got, 1e-15)
	}

	// The noise of an element and of the total, with another sigma for each row.
	in := looked(1, []int{4, 4}, repeated(row, 16), repeated(row, 16))
	in.truth.Sigma = slices.Concat(slices.Repeat([]float64{1e-3}, 4), slices.Repeat([]float64{2e-3}, 4), make([]float64, 8))
	in.truth.Sigma[15] = 1e-3
	r := appliedToRows(in, rowFunctions[2])
	size := math.Sqrt(squares)
	// the length changes by the sigma of any element, as all have the same
	require.InEpsilon(t, 1e-3/size+2*1e-3/size/size, r.want.Sigma[2], 1e-6)
	require.InEpsilon(t, 2e-3/size+2*2e-3/size/size, r.want.Sigma[6], 1e-6)
	require.InDelta(t, 2/size*0x1p-24, r.want.Sigma[10], 1e-12)
	require.InEpsilon(t, 2/size/size*(0.125/size)*1e-3, r.want.Sigma[14], 1e-4)
	require.NotNil(t, appliedToRows(looked(1e-6, []int{8, 2}, repeated(row, 16), repeated(row, 16)), rowFunctions[0]))
	column := looked(1e-6, []int{16, 1}, repeated(row, 16), repeated(row, 16))
	require.Nil(t, appliedToRows(column, rowFunctions[0]), "a softmax of one element")
	column.truth.Shape = nil
	require.Nil(t, appliedToRows(column, rowFunctions[0]), "a number")
}
