package diagnose

import (
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
)

// rowsOfTwo returns what steps see of an output of three rows of two features. The last row sees no
// key.
func rowsOfTwo(got ...float64) *input {
	truth := compare.Expected{Shape: []int{3, 2}, Value: []float64{1, 2, 3, 4, 5, 6}, Sigma: make([]float64, 6)}
	for i := range truth.Sigma {
		truth.Sigma[i] = 1e-3
	}
	return &input{
		truth: truth, got: got, comparison: compare.Outputs(truth.Shape, got, truth), visible: []int{2, 1, 0},
	}
}

// An output of one number, or of one row, is dead. One element that differs is enough.
func TestDead(t *testing.T) {
	for _, tc := range []struct {
		got  []float64
		want string // "" if it is not dead
	}{
		{[]float64{0, 0, 0, 0, 0, 0}, "every element is 0"},
		{[]float64{-2.5, -2.5, -2.5, -2.5, -2.5, -2.5}, "every element is -2.5"},
		{[]float64{7, 8, 7, 8, 7, 8}, "every row is the same, and the expected ones are not"},
		{[]float64{7, 8, 7, 8, 7, 9}, ""},
		{[]float64{1, 7, 7, 7, 7, 7}, ""},
		{slices.Repeat([]float64{math.Inf(1)}, 6), ""},
		{slices.Repeat([]float64{math.Inf(-1)}, 6), ""},
	} {
		f := dead(rowsOfTwo(tc.got...))
		if tc.want == "" {
			require.Nil(t, f, tc.got)
			continue
		}
		require.NotNil(t, f, tc.got)
		require.Equal(t, Dead, f.class)
		require.Equal(t, []string{tc.want}, f.reasons)
	}
	same := rowsOfTwo(7, 8, 7, 8, 7, 8)
	same.truth.Value = []float64{1, 2, 1, 2, 1, 2}
	require.Nil(t, dead(same), "the truth repeats its row as well")
	same.got = []float64{7, 7, 7, 7, 7, 7}
	require.Equal(t, []string{"every element is 7"}, dead(same).reasons)
	same.truth.Value = []float64{3, 3, 3, 3, 3, 3}
	require.Nil(t, dead(same), "the truth is one number as well")
}

// Elements that are not finite are counted. Rows that see no key get a hint if all are there.
func TestNonFiniteElements(t *testing.T) {
	nan := math.NaN()
	require.Nil(t, nonFinite(rowsOfTwo(1, 2, 3, 4, 9, 6)))
	const counted = " of 6 elements are NaN or infinite where the case expects a number, or the reverse"
	f := nonFinite(rowsOfTwo(1, 2, 3, 4, nan, nan))
	require.Equal(t, NonFinite, f.class)
	require.Len(t, f.reasons, 2)
	require.Equal(t, "2"+counted, f.reasons[0])
	require.Contains(t, f.reasons[1], "all of them in rows that see no key")
	f = nonFinite(rowsOfTwo(1, 2, 3, nan, nan, nan))
	require.Equal(t, []string{"3" + counted}, f.reasons)
}

// Every kind of mistake has the class that a report shows.
func TestClassOf(t *testing.T) {
	for kind, want := range map[catalogue.Kind]Class{
		catalogue.Unloaded: WrongWeights, catalogue.Parameters: WrongWeights, catalogue.Missing: MissingFeature,
		catalogue.Altered: MissingFeature, catalogue.Layout: WrongLayout, catalogue.Rounded: Rounding,
	} {
		require.Equal(t, want, classOf(kind))
	}
	require.Equal(t, Unclear, classOf(-1))
}

// Several classes are unclear. Rounding does not count beside another one.
func TestOnlyClass(t *testing.T) {
	of := func(classes ...Class) Class {
		set := map[Class]bool{}
		for _, c := range classes {
			set[c] = true
		}
		return only(set)
	}
	require.Equal(t, Unclear, of())
	require.Equal(t, Rounding, of(Rounding))
	require.Equal(t, WrongLayout, of(WrongLayout))
	require.Equal(t, WrongLayout, of(WrongLayout, Rounding))
	require.Equal(t, Unclear, of(WrongLayout, WrongWeights))
	require.Equal(t, Unclear, of(WrongLayout, WrongWeights, Rounding))
}

// Rows beside padding keep their numbers in the output.
func TestRowNumbers(t *testing.T) {
	in := rowsOfTwo(1, 2, 3, 4, 5, 6)
	require.Equal(t, 2, in.rowNumber(2))
	in.lower = map[string][]float64{"float16": {1, 1, 2, 2, 3, 3}}
	in.whole = in.truth.WithPadding([]bool{false, true, false})
	in.leaveOutPadding()
	require.Equal(t, []int{0, 2}, []int{in.rowNumber(0), in.rowNumber(1)})
	require.Equal(t, []float64{1, 2, 5, 6}, in.got)
	require.Equal(t, []float64{1, 1, 3, 3}, in.lower["float16"])
	require.Len(t, in.comparison.Z, 4)
	require.Equal(t, []int{1, 0, 1}, rowsThatMatter(in.whole))
}
