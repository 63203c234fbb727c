package diagnose

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/reorder"
)

// Rows and features divide an output of two rows of three features.
func TestGroupsOfAnOutput(t *testing.T) {
	in := looked(0.125, []int{2, 3}, []float64{1, 2, 4, 8, 16, 32}, []float64{3, 6, 12, 4, 8, 16})
	rows, features := groupsOf(in, byRow), groupsOf(in, byFeature)
	require.Equal(t, []int{2, 3, 3, 2}, []int{rows.n, rows.size, features.n, features.size})
	require.Equal(t, []int{0, 1, 2}, []int{rows.of(2), rows.of(3), features.of(5)})
	require.InDeltaSlice(t, []float64{3, 0.5}, rows.gains(in), 1e-12)
	// by least squares: (1·3 + 8·4)/(1 + 64), the same for all features
	require.InDeltaSlice(t, []float64{35.0 / 65, 35.0 / 65, 35.0 / 65}, features.gains(in), 1e-12)
	// an element of four times the noise counts a sixteenth
	in.truth.Sigma = []float64{0.125, 0.125, 0.125, 0.5, 0.125, 0.125}
	require.InDelta(t, (3+32.0/16)/(1+64.0/16), features.gains(in)[0], 1e-12)
	// an element without noise does not count
	in.truth.Sigma[3] = 0
	require.InDelta(t, 3, features.gains(in)[0], 1e-12)
	in.truth.Sigma[0] = 0
	require.InDelta(t, 1, features.gains(in)[0], 0, "no element counts")
	in = looked(0.125, []int{2, 3}, []float64{1, 2, 4, 8, 16, 32}, []float64{3, 6, 12, 4, math.NaN(), 16})
	require.Equal(t, []float64{(2 - 4) / 2.0, 4 / 2.0, (8 - 16) / 2.0}, meanShift(in), "NaN does not count")
}

// A gain is found among elements near the noise, too.
func TestGainsOfSmallElements(t *testing.T) {
	in := looked(1, []int{1, 2}, []float64{0.5, 0.25}, []float64{1, 0.5})
	require.InDelta(t, 2, whole(in).gains(in)[0], 1e-15)
}

// A line is fitted by least squares: an exact one is found, whatever the noise of its elements.
func TestLinesOfGroups(t *testing.T) {
	want := []float64{1, 2, 4, 7, 3, 5, -2, 9}
	got := make([]float64, 8)
	for i, w := range want {
		got[i] = []float64{2, -3}[i/4]*w + []float64{5, 0.25}[i/4]
	}
	in := looked(0.125, []int{2, 4}, want, got)
	in.truth.Sigma = []float64{0.5, 0.25, 0.125, 1, 0.5, 0.5, 0.25, 0.125}
	gains, shifts := groupsOf(in, byRow).lines(in)
	require.InDeltaSlice(t, []float64{2, -3}, gains, 1e-12)
	require.InDeltaSlice(t, []float64{5, 0.25}, shifts, 1e-12)

	// Points (0, 0), (2, 2) and (4, 1) of weights 1, 1 and 4 have the means 3 and 1.
	in = looked(1, []int{1, 3}, []float64{0, 2, 4}, []float64{0, 2, 1})
	in.truth.Sigma = []float64{1, 1, 0.5}
	gains, shifts = groupsOf(in, byRow).lines(in)
	// Σw(x-3)(y-1) = 3 - 1 + 0 = 2, Σw(x-3)² = 9 + 1 + 4 = 14
	require.InDelta(t, 2.0/14, gains[0], 1e-12)
	require.InDelta(t, 1-3*2.0/14, shifts[0], 1e-12)
	in.truth.Sigma = []float64{1e3, 1e3, 500} // the same weights, whatever the unit is
	gains, _ = groupsOf(in, byRow).lines(in)
	require.InDelta(t, 2.0/14, gains[0], 1e-12)
	in = looked(1, []int{1, 4}, []float64{9, 0, 2, 4}, []float64{5, 0, 2, 1})
	in.truth.Sigma = []float64{0, 1, 1, 0.5} // an element without noise does not count
	gains, shifts = groupsOf(in, byRow).lines(in)
	require.InDeltaSlice(t, []float64{2.0 / 14, 1 - 3*2.0/14}, []float64{gains[0], shifts[0]}, 1e-12)
	in = looked(1, []int{1, 3}, []float64{0, 2, 4}, []float64{0, 2, 1})
	in.truth.Sigma = []float64{0, 0, 1} // one element alone gives no line
	gains, shifts = groupsOf(in, byRow).lines(in)
	require.Equal(t, []float64{0, 0}, []float64{gains[0], shifts[0]})
}

// Noise grows with the gain, beside the rounding of the value and of the shift.
func TestNoiseOfARelation(t *testing.T) {
	in := looked(1e-3, []int{1, 2}, []float64{2, 4}, []float64{0, 0})
	r := groupsOf(in, byFeature).relation(in, []float64{3, -2}, []float64{0, 1e6}, 2, "x")
	require.Equal(t, []float64{6, 1e6 - 8}, r.want.Value)
	require.InDelta(t, math.Sqrt(9e-6+36*math.Exp2(-50)), r.want.Sigma[0], 1e-12)
	first := math.Exp2(-25) * (1e6 - 8)
	require.InDelta(t, math.Sqrt(4e-6+first*first+1e12*math.Exp2(-50)), r.want.Sigma[1], 1e-9)
}

// Every group with an element outside the noise needs two more such elements than fitted numbers.
func TestInformativeGroups(t *testing.T) {
	// Limit 2.
	in := looked(0.125, []int{2, 4}, []float64{2, 9, 9, 9, 9, 9, 9, 9}, make([]float64, 8))
	rows := groupsOf(in, byRow)
	require.Equal(t, []int{2, 0}, []int{rows.informative(in, 1), rows.informative(in, 2)}, "the first has three")
	require.Zero(t, groupsOf(in, byFeature).informative(in, 1), "two elements each")
	in.truth.Value = []float64{1, 1, -2, 0, -9, 9, 9, -9}
	require.Equal(t, []int{1, 1, 0}, []int{rows.informative(in, 1), rows.informative(in, 2), rows.informative(in, 3)})
	in.truth.Value[2] = -2.01
	require.Zero(t, rows.informative(in, 1))
}

// A gain is named by a size of the output above 2.
func TestGainOfASize(t *testing.T) {
	in := looked(1e-3, []int{2, 3, 7}, make([]float64, 42), make([]float64, 42))
	for gain, want := range map[float64]string{
		math.Sqrt(3): "sqrt(3)", 1 / math.Sqrt(7): "1/sqrt(7)", 7: "7", 1.0 / 3: "1/3", 3 * (1 + 1e-6): "3",
		2: "", 0.5: "", math.Sqrt2: "", 3 * (1 + 3e-6): "", -3: "", 4: "",
	} {
		if want != "" {
			want = fmt.Sprintf(" (%s, a size of the output)", want)
		}
		require.Equal(t, want, ofSize(in, gain), gain)
	}
}

// At most four factors that are not 1 are listed, unless all are, with digits that show how they
// differ from 1.
func TestListedFactors(t *testing.T) {
	own := func(i int) int { return 10 * i }
	require.Equal(t, "2 for feature 1, 1 for the others", listed([]float64{1, 2, 1.000009}, byFeature, own))
	require.Equal(t, "0.5 for row 10, 2 for row 20, 1 for the others", listed([]float64{1, 0.5, 2}, byRow, own))
	require.Equal(t, "1.00002 for feature 1, 1 for the others", listed([]float64{1, 1.000018}, byFeature, own))
	require.Equal(t, "from 0.999998 to 1", listed([]float64{1, 1.0000004, 0.999998}, byFeature, own))
	require.Equal(t, "from 2 to 3", listed([]float64{2, 3}, byFeature, own))
	four := []float64{1, 2, 3, 4, 5}
	require.Equal(t, "2 for feature 1, 3 for feature 2, 4 for feature 3, 5 for feature 4, 1 for the others",
		listed(four, byFeature, own))
	require.Equal(t, "from 1 to 6", listed(append(four, 6), byFeature, own))
}

// Fitted numbers take noise away. The rest must be smaller than for a relation without them.
func TestFittedNumbersLowerTheLimit(t *testing.T) {
	want, got := make([]float64, 100), make([]float64, 100)
	for i := range want {
		want[i], got[i] = 1e6, 1e6+1.4
	}
	in := looked(1, []int{10, 10}, want, got)
	require.InDelta(t, 1.5, in.comparison.Limits.RMS, 1e-12)
	// 1.5·sqrt(1 - fitted/100) = 1.4 at 12.9.
	for fitted, holds := range map[int]bool{0: true, 12: true, 14: false} {
		r := relation{want: in.truth, fitted: fitted}
		_, ok := r.holds(in)
		require.Equal(t, holds, ok, fitted)
	}
	for i := range want {
		want[i], got[i] = 1e6, 1e6+1.5
	}
	in = looked(1, []int{10, 10}, want, got)
	_, ok := relation{want: in.truth}.holds(in)
	require.True(t, ok, "the limit is within")
	for i := range want {
		want[i], got[i] = 0.01, 0.01+1.0 // within the noise, and as large as it
	}
	in = looked(1, []int{10, 10}, want, got)
	_, ok = relation{want: in.truth}.holds(in)
	require.False(t, ok, "the residual is large")
}

// A shift needs three rows.
func TestRowsOfAShift(t *testing.T) {
	of := func(rows int) *relation {
		want, got := make([]float64, 4*rows), make([]float64, 4*rows)
		for i := range want {
			want[i] = float64(i*i%7) + 0.5
			got[i] = want[i] + float64(i%4)
		}
		return shift(looked(1e-6, []int{rows, 4}, want, got))
	}
	require.Nil(t, of(2))
	r := of(3)
	require.Equal(t, 4, r.fitted)
	require.Equal(t, []float64{0.5, 2.5, 6.5, 5.5}, r.want.Value[:4])
	require.Contains(t, r.text, "the same 4 numbers in every row, of a root mean square of 1.87")
}

// A row that is zero was not written: that is no factor of its own.
func TestARowOfZerosHasNoFactor(t *testing.T) {
	want, got := make([]float64, 12), make([]float64, 12)
	for i := range want {
		want[i] = float64(i) + 1
		got[i] = want[i] * float64(1+i/4)
	}
	in := looked(1e-6, []int{3, 4}, want, got)
	require.Contains(t, factors(in, byRow).text, "each row times a factor of its own: 2 for row 1, 3 for row 2")
	require.Contains(t, factorsAndShifts(in, byRow).text, "factors from 1 to 3, shifts from")
	require.Equal(t, 3, factors(in, byRow).fitted)
	require.Equal(t, 6, factorsAndShifts(in, byRow).fitted)
	clear(got[4:8])
	require.Nil(t, factors(in, byRow))
	require.NotNil(t, factors(in, byFeature), "a feature may be zero")
	got[5] = math.NaN()
	in = looked(1e-6, []int{3, 4}, want, got)
	require.Nil(t, proportional(in))
	require.Nil(t, gainOrShift(in))
}

// Three orders are named, and one of them gives the residual.
func TestOrdersOfAnOutput(t *testing.T) {
	of := func(n int) []string {
		f := inOrder(&finding{class: WrongLayout}, make([]reorder.Order, n))
		require.Len(t, f.orders, n)
		return f.reasons
	}
	none := reorder.Order{}.String()
	require.Equal(t, []string{"every expected value is there: " + none + " is the expected output", "residual 0 (max z 0)"}, of(1))
	require.Len(t, of(2), 3)
	require.NotContains(t, of(3)[0], "one of more orders")
	require.Contains(t, of(4)[0], none+", or one of more orders is the expected output")
	require.Equal(t, "expected values repeat, so this case cannot tell these apart", of(4)[2])
}

// Values in another order are told only if they are far from their places, and all are there.
func TestReordered(t *testing.T) {
	want := []float64{1, 2, 3, 4, 5, 6, 7, 8}
	moved := []float64{3, 1, 2, 5, 4, 8, 6, 7} // no order of rows or features
	in := looked(1e-6, []int{1, 4, 2}, want, moved)
	in.layout = attention.BatchFirst
	require.Contains(t, reordered(in).reasons[0], "the expected values in another order")
	moved[5] = 8.001
	require.Nil(t, reordered(looked(1e-6, []int{1, 4, 2}, want, moved)), "a value is another")
	moved[5] = 8
	require.Nil(t, reordered(looked(2.0/16000, []int{1, 4, 2}, want, moved)), "within a thousand times the noise")
	require.NotNil(t, reordered(looked(1.9/16000, []int{1, 4, 2}, want, moved)))
	require.NotNil(t, reordered(looked(1.999/16000, []int{1, 4, 2}, want, moved)))
	small := func(values []float64) []float64 { // whatever the unit is
		out := make([]float64, len(values))
		num.AddScaled(0x1p-10, values, out)
		return out
	}
	require.Nil(t, reordered(looked(0x1p-10*2.0/16000, []int{1, 4, 2}, small(want), small(moved))))
	require.NotNil(t, reordered(looked(0x1p-10*1.9/16000, []int{1, 4, 2}, small(want), small(moved))))
	for off, found := range map[float64]bool{0x1p-16: true, 0x1p-15: false} { // 16 sigma, 32
		moved[5] = 8 + off
		require.Equal(t, found, reordered(looked(0x1p-20, []int{1, 4, 2}, want, moved)) != nil, off)
	}
	moved[5] = math.NaN()
	require.Nil(t, reordered(looked(1e-6, []int{1, 4, 2}, want, moved)))
}
