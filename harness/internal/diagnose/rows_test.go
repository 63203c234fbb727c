package diagnose

import (
	"context"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/fit"
	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/oracletest"
	"github.com/difftest/difftest/harness/internal/replay"
)

func fits() fit.Result { return fit.Result{} }

// Rows that are constant, or copies of other rows, were not written. One wrong row with a result of
// its own is enough against it.
func TestRowsWithoutAResult(t *testing.T) {
	want := []float64{1, 2, 3, 4, 5, 6, 7, 8}
	for _, tc := range []struct {
		got  []float64
		none bool
	}{
		{[]float64{1, 2, 9, 9, 5, 6, 7, 8}, true},
		{[]float64{1, 2, 1, 2, 5, 6, 7, 8}, true},
		{[]float64{1, 2, 7, 7, 5, 6, 5, 6}, true},
		{[]float64{1, 2, 9, 9, 5, 6, 7, 9}, false},
		{[]float64{9, 8, 3, 4, 5, 6, 7, 8}, false},
		{want, false},
	} {
		f := unwritten(looked(1e-3, []int{4, 2}, want, tc.got))
		require.Equal(t, tc.none, f != nil, tc.got)
	}
}

// The rows of a missing mask are named if a right row sees several keys and shows a missing scale.
// Beside cached keys nothing is sure.
func TestRowsOfAMask(t *testing.T) {
	want := []float64{1, 2, 3, 4, 5, 6, 7, 8}
	wrong := func(rows ...int) replay.Replay {
		got := append([]float64(nil), want...)
		for _, row := range rows {
			got[2*row]++
		}
		truth := looked(1e-3, []int{2, 2, 2}, want, want).truth
		return replay.Replay{Comparisons: []compare.Comparison{compare.Outputs(truth.Shape, got, truth)}}
	}
	as := func(r replay.Replay, id string) replay.Replay {
		r.Mistake, _ = catalogue.ByID(id)
		return r
	}
	in := looked(1e-3, []int{2, 2, 2}, want, []float64{1, 2, 3.5, 4, 5, 6, 7, 8})
	in.visible = []int{2, 2, 1, 2}
	of := func(replays ...replay.Replay) *finding {
		in.replays.Visible = replays
		return rowsOfAMask(t.Context(), in, fits()).finding
	}
	scale := as(wrong(1, 2, 3), "scale-missing") // row 0 is saturated
	causal := as(wrong(1), "causal-missing")
	f := of(scale, causal)
	require.Equal(t, MissingFeature, f.class)
	require.Equal(t, "row 1 of batch 1 mixes several keys and is right", f.reasons[0])
	require.Contains(t, f.reasons[1], "the wrong rows are those that change with "+causal.Mistake.Title)
	require.Nil(t, of(causal), "no row shows that it is not saturated")
	require.Nil(t, of(as(wrong(1, 2), "scale-missing"), causal), "row 2 sees one key")
	require.Nil(t, of(scale, as(wrong(1, 3), "causal-missing")), "another row changes")
	require.Nil(t, of(scale, as(wrong(1), "weights-normal")), "no mask")
	in.replays.Sampled.Rows = num.UpTo(4)
	require.Nil(t, of(scale, causal), "beyond the sample the mistake touches other rows")
	in.replays.Sampled.Rows = nil
	in.problem.Past = &oracle.Past{}
	require.Equal(t, Unclear, of(scale, causal).class)
}

// If exactly the rows that see one key are right, the scores are wrong.
func TestRowsOfTheScores(t *testing.T) {
	want := []float64{1, 2, 3, 4}
	of := func(visible []int, wrong ...int) *finding {
		got := append([]float64(nil), want...)
		for _, row := range wrong {
			got[row] += 1
		}
		in := looked(1e-3, []int{4, 1}, want, got)
		in.visible = visible
		return rowsOfTheScores(in)
	}
	require.Contains(t, of([]int{1, 2, 1, 3}, 1, 3).reasons[0], "the 2 rows that see one key are right")
	require.NotNil(t, of([]int{1, 2, 0, 3}, 1, 3), "a row without keys says nothing")
	require.Nil(t, of([]int{1, 2, 1, 3}, 1, 2, 3))
	require.Nil(t, of([]int{1, 2, 1, 3}, 1), "row 3 is right")
	require.Nil(t, of([]int{1, 2, 1, 3}, 3), "row 1 is right")
	require.Nil(t, of([]int{2, 2, 3, 3}, 0, 1, 2, 3), "no row sees one key")
}

// Wrong elements are sorted by their places, in every batch element and head.
func TestStructureOfHeads(t *testing.T) {
	want := make([]float64, 2*2*3*2)
	got := make([]float64, len(want))
	got[1*6+2*2+1] = 1 // batch 0, head 1, row 2, feature 1
	in := looked(1e-3, []int{2, 2, 3, 2}, want, got)
	in.visible = []int{1, 1, 1, 0, 2, 3, 4, 5, 6, 0, 0, 9}
	s := newStructure(in.comparison, in.visible)
	require.Equal(t, []int{0}, s.WrongBatches)
	require.Equal(t, []int{2}, s.WrongRows)
	require.Equal(t, []int{1}, s.WrongFeatures)
	require.Equal(t, []int{2, 3, 2}, []int{s.Batches, s.Rows, s.Features})
	require.True(t, s.FirstRowExact)
	require.False(t, s.LastRowExact)
	require.Equal(t, []int{0, 2, 3}, s.Visible[1])
	require.Equal(t, []string{
		"...  batch 0 head 0", "-.x  batch 0 head 1", "...  batch 1 head 0", "--.  batch 1 head 1",
	}, s.Picture())
	got[1*6+2*2+1], got[2*6] = 0, 1 // batch 1, head 0, row 0
	s = looked(1e-3, []int{2, 2, 3, 2}, want, got).structure
	require.Equal(t, []int{1}, s.WrongBatches)
	require.False(t, s.FirstRowExact)
	require.True(t, s.LastRowExact)
	require.Equal(t, "batch 3", Structure{Lead: []int{4}}.label(3))
	s = looked(1e-3, []int{3, 1, 2, 2}, make([]float64, 12), []float64{8: 1, 11: 0}).structure
	require.Equal(t, []int{3, 2, 2}, []int{s.Batches, s.Rows, s.Features})
	require.Equal(t, []int{2}, s.WrongBatches)
	require.Equal(t, "[1 2 0]", Structure{Lead: []int{2, 3, 2}}.label(10))
}

// An element, a row or a feature stands out from a certain ratio on.
func TestStandsOut(t *testing.T) {
	const rows, width = 60, 20
	of := func(change func(row, feature int) float64) bool {
		want, got := make([]float64, rows*width), make([]float64, rows*width)
		for i := range got {
			got[i] = change(i/width, i%width)
		}
		return standsOut(looked(1, []int{rows, width}, want, got))
	}
	one := func(size float64) func(row, feature int) float64 {
		return func(row, feature int) float64 {
			if row == 7 && feature == 3 {
				return size
			}
			return 1
		}
	}
	// the ratio of the largest z to rms z: size / sqrt((1199 + size²)/1200), 10 at 10.4
	require.False(t, of(one(10.3)))
	twelve := repeated([]float64{1}, 325) // rms z is sqrt((324 + 144)/325) = 1.2
	twelve[100] = 12
	require.False(t, standsOut(looked(1, []int{25, 13}, make([]float64, 325), twelve)), "the limit is within")
	require.True(t, of(one(10.6)))
	row := func(size float64) func(row, feature int) float64 {
		return func(row, _ int) float64 {
			if row == 7 {
				return size
			}
			return 1
		}
	}
	require.False(t, of(row(1.0/49.5)))
	require.True(t, of(row(1.0/50.5)))
	require.False(t, of(row(50)), "the limit is within")
	feature := func(size float64) func(row, feature int) float64 {
		return func(_, feature int) float64 {
			if feature == 3 {
				return size
			}
			return 1
		}
	}
	require.False(t, of(feature(1/9.9)))
	require.True(t, of(feature(1/10.1)))
	require.False(t, of(func(_, feature int) float64 { return 10 - 9*float64(feature/19) }), "the limit is within")
}

// The noise of rows and features is counted where keys are seen.
func TestNoiseWhereKeysAreSeen(t *testing.T) {
	in := looked(1, []int{3, 2}, make([]float64, 6), []float64{3, 4, 100, 100, 1, 7})
	in.visible = []int{1, 0, 2}
	require.InDeltaSlice(t, []float64{math.Sqrt(12.5), 5}, noiseOfRows(in), 1e-12)
	require.InDeltaSlice(t, []float64{math.Sqrt(5), math.Sqrt(32.5)}, noiseOfFeatures(in), 1e-12)
	require.InDelta(t, 4, spread([]float64{2, 8, 4}), 0)
	require.True(t, math.IsInf(spread(nil), 1))
	require.True(t, math.IsInf(spread([]float64{0, 1}), 1))
}

// The cosine of an error and a direction, and the share that is the same in every row.
func TestDirectionsOfErrors(t *testing.T) {
	want := []float64{1, 1, 1, 1}
	in := looked(1, []int{2, 2}, want, []float64{4, 1, 1, 5}) // off by 3, 0, 0, 4
	require.InDelta(t, 0.6, along(in, []float64{2, 0, 0, 0}), 1e-12)
	require.InDelta(t, 0.8, along(in, []float64{0, 0, 0, -9}), 1e-12)
	require.Zero(t, along(in, []float64{1, 1}))
	require.Zero(t, along(in, make([]float64, 4)))
	require.Zero(t, along(looked(1, []int{2, 2}, want, want), want))
	// means 1.5 and 2: sqrt((2.25 + 4)/2) over sqrt(25/4)
	require.InDelta(t, math.Sqrt(3.125)/2.5, shiftShare(in), 1e-12)
	require.InDelta(t, 1, shiftShare(looked(1, []int{2, 2}, want, []float64{2, 3, 2, 3})), 1e-12)
	in = looked(1, []int{2, 2}, want, []float64{4, 1, math.NaN(), 5})
	require.InDelta(t, 0.6, along(in, []float64{2, 0, 7, 0}), 1e-12, "NaN does not count")
	require.InDelta(t, math.Sqrt(3.125)/2.5, shiftShare(in), 1e-12)

	in = looked(1, []int{2, 2}, []float64{1, 1, 1, 1}, []float64{3, 1, math.NaN(), 2})
	cosine, size, elements := in.errorsAlike([]float64{4, 5, 9, 1}) // errors 2, 0, 1 and 3, 4, 0
	require.InDelta(t, 6/math.Sqrt(5*25), cosine, 1e-12)
	require.InDelta(t, math.Sqrt(5.0/25), size, 1e-12)
	require.Equal(t, 3, elements)
	_, _, elements = in.errorsAlike([]float64{4, math.NaN(), 9, 1})
	require.Equal(t, 2, elements)
}

// The row that is right is named by its place, whatever the other dimensions are.
func TestTheNameOfASensitiveRow(t *testing.T) {
	shape := []int{2, 3, 4, 1}
	want := ones(24, 24)
	of := func(right int) string {
		got := make([]float64, 24)
		got[right] = 1
		in := looked(1e-3, shape, want, got)
		for i := range in.visible {
			in.visible[i] = 2
		}
		scale := replay.Replay{Comparisons: []compare.Comparison{compare.Outputs(shape, make([]float64, 24), in.truth)}}
		scale.Mistake, _ = catalogue.ByID("scale-missing")
		in.replays.Visible = []replay.Replay{scale}
		return sensitiveRow(in)
	}
	require.Equal(t, "row 0 of batch 0 head 0", of(0))
	require.Equal(t, "row 3 of batch 0 head 1", of(7))
	require.Equal(t, "row 2 of batch 1 head 2", of(22))
}

// Where the sample is not the whole output, the mistake is made on all of it: the same rows must
// change.
func TestRowsThatAMistakeTouches(t *testing.T) {
	p := oracletest.Padded()
	truth := p.Run().Expected()
	of := func(id string, change func(got []float64)) bool {
		got := planted(t, p, "causal-missing")
		change(got)
		c := compare.Outputs(truth.Shape, got, truth)
		in := &input{problem: p, truth: truth, whole: truth, got: got, comparison: c}
		in.replays.Sampled.Rows = []int{0, 1}
		m, ok := catalogue.ByID(id)
		require.True(t, ok)
		return touches(t.Context(), in, m)
	}
	none := func([]float64) {}
	require.True(t, of("causal-missing", none))
	require.True(t, of("causal-missing", func(got []float64) { got[0]++ }), "the row is wrong anyway")
	require.False(t, of("causal-missing", func(got []float64) { copy(got, truth.Value) }))
	require.False(t, of("scale-missing", func(got []float64) { got[len(got)-1]++ }))
	require.False(t, of("window-missing", none), "it cannot be made here")

	ended, end := context.WithCancel(t.Context())
	end()
	m, _ := catalogue.ByID("causal-missing")
	got := planted(t, p, "causal-missing")
	in := &input{problem: p, truth: truth, whole: truth, got: got, comparison: compare.Outputs(truth.Shape, got, truth)}
	require.True(t, touches(ended, in, m), "the sample is the whole output")
	in.replays.Sampled.Rows = []int{0}
	require.False(t, touches(ended, in, m))
}
