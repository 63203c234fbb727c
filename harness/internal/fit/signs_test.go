package fit

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/oracletest"
)

// A row is right if no element is further away than the limit. Elements that are no numbers are
// right where no number is expected.
func TestRightRows(t *testing.T) {
	nan := math.NaN()
	f := &fitter{
		p: &oracle.Problem{Layer: &oracle.Layer{Output: oracle.Linear{Out: 2}}},
		trace: oracle.Trace{Output: oracle.Field{
			Value: []float64{1, 2, 1, 2, 1, 2, nan, 2, nan, 2, 1, 2}, Variance: slices.Repeat([]float64{4}, 12),
		}},
	}
	y := []float64{7, -4, 7.1, 2, 1, -4.1, nan, 2, 1, 2, nan, 2}
	require.Equal(t, []bool{true, false, false, true, false, false}, f.rightRows(y, 3))
}

// A row counts if one output has it right, and none of the others.
func TestRightInNone(t *testing.T) {
	yes, no := true, false
	one := []bool{yes, yes, yes, no, yes}
	require.Equal(t, 2, rightInNone(one, [][]bool{{no, yes, no, no, no}, {no, no, yes, no, no}}))
	require.Equal(t, 4, rightInNone(one, nil))
}

// Rows contradict if they are more than twice as many as one draw alone leaves right.
func TestContradicting(t *testing.T) {
	yes, no := true, false
	right, none := []bool{yes, yes, yes, no, no}, []bool{no, no, no, no, no}
	require.Equal(t, 3, contradicting(right, [][]bool{none, none}))
	require.Equal(t, 3, contradicting(right, [][]bool{none, {no, no, no, yes, no}}))
	require.Equal(t, 3, contradicting(right, [][]bool{{no, no, no, yes, yes}, {no, no, no, yes, yes}}))
	require.Equal(t, 0, contradicting(right, [][]bool{{no, no, no, yes, yes}, none}))
	require.Equal(t, 0, contradicting(right, [][]bool{{yes, no, no, no, no}, none}))
}

// A draw has a row nearly right if no element is further than 64 sigma from the truth.
func TestNearlyRightRows(t *testing.T) {
	p := oracletest.First(oracletest.Tall(2), 2)
	for sigmas, want := range map[float64]string{
		60: "", 68: "values that fit were found, but 1 rows are right that such a change moves",
	} {
		f, wrong := fitterOf(t, p, nil), p.Clone()
		for o := range wrong.Layer.Output.Bias {
			wrong.Layer.Output.Bias[o] += sigmas * math.Sqrt(f.trace.Output.Variance[o])
		}
		f.got = slices.Clone(f.trace.Output.Value)
		for at := 13; at < len(f.got); at++ { // of all rows but the first
			f.got[at] += 1
		}
		require.Equal(t, want, f.contradicted(attempt{Fit: Fit{free: biasOf(OutputProjection)}, problem: wrong}))
	}
}

// A change goes the found way or the other way, about as often.
func TestChangeWithRandomSigns(t *testing.T) {
	right, found := make([]float64, 1000), make([]float64, 1000)
	for i := range found {
		right[i], found[i] = 10, 13
	}
	change(right, found, rand.New(rand.NewPCG(1, 1)))
	with := 0
	for _, v := range right {
		if v == 13 {
			with++
		} else {
			require.Equal(t, 7.0, v)
		}
	}
	require.InDelta(t, 500, with, 60)

	p := oracletest.First(oracletest.Tall(2), 1)
	out := attempt{Fit: Fit{free: all(ValueProjection, OutputProjection)}, problem: p.Clone()}
	for _, m := range allProjections {
		l := out.problem.Layer.Projections()[m]
		for i := range l.Weight {
			l.Weight[i]++
		}
		for i := range l.Bias {
			l.Bias[i]++
		}
	}
	signs := (&fitter{p: p}).withRandomSigns(out, rand.New(rand.NewPCG(1, 1)))
	for _, m := range allProjections {
		was, is := p.Layer.Projections()[m], signs.Layer.Projections()[m]
		if m < ValueProjection {
			require.Equal(t, was, is)
			continue
		}
		for i := range is.Weight {
			require.InDelta(t, 1, math.Abs(is.Weight[i]-was.Weight[i]), 1e-9)
		}
		for i := range is.Bias {
			require.InDelta(t, 1, math.Abs(is.Bias[i]-was.Bias[i]), 1e-9)
		}
	}
}

// A value weight that is found moves every row. So rows that are right contradict it, and their
// number is said.
func TestContradictedByRightRows(t *testing.T) {
	p := oracletest.First(oracletest.Tall(2), 2)
	wrong := p.Clone()
	redraw(wrong, ValueProjection, "weight")
	got := wrong.Run().Value
	out := attempt{Fit: Fit{free: all(ValueProjection)}, problem: wrong}
	f := fitterOf(t, p, slices.Clone(got))
	require.Empty(t, f.contradicted(out))
	copy(f.got[:13], f.trace.Output.Value)
	require.Equal(t, "values that fit were found, but 1 rows are right that such a change moves", f.contradicted(out))
	copy(f.got[:26], f.trace.Output.Value)
	require.Equal(t, "values that fit were found, but 2 rows are right that such a change moves", f.contradicted(out))
	// Nothing contradicts a change that moves no row.
	require.Empty(t, f.contradicted(attempt{Fit: out.Fit, problem: p}))

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	f.ctx = ended
	require.Equal(t, "interrupted", f.contradicted(out))
}
