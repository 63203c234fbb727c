package replay

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
)

// beside returns an output of two elements beside mistakes whose outputs are given.
func beside(got []float64, outputs map[string][]float64, order ...string) Output {
	o := Output{Got: got, Sampled: Sampled{Got: got}}
	for _, id := range order {
		m := catalogue.Mistake{ID: id}
		o.Candidates = append(o.Candidates, Replay{Mistake: m, Outputs: [][]float64{outputs[id]}})
	}
	return o
}

// Distances are sorted, and the nearest mistake is the first of them. A mistake with a NaN of its
// own is at no distance.
func TestDistances(t *testing.T) {
	o := beside([]float64{3, 4}, map[string][]float64{
		"far": {6, 8}, "near": {3, 4.5}, "twin": {3, 4.5}, "nan": {math.NaN(), 4}, "further": {-3, -4},
	}, "far", "nan", "near", "twin", "further")
	var ids []string
	var residuals []float64
	for _, d := range o.Distances() {
		ids, residuals = append(ids, d.ID), append(residuals, d.Residual)
	}
	require.Equal(t, []string{"near", "twin", "far", "further"}, ids)
	require.InDeltaSlice(t, []float64{0.5 / math.Hypot(3, 4.5), 0.5 / math.Hypot(3, 4.5), 0.5, 2}, residuals, 1e-12)

	m, distance := o.Nearest()
	require.Equal(t, "near", m.ID, "the first of two at the same distance")
	require.InDelta(t, residuals[0], distance, 1e-15)
	s := newSearch()
	s.missSingles(o)
	require.InDelta(t, residuals[0], s.next, 1e-15)

	m, distance = Output{}.Nearest()
	require.Empty(t, m.ID)
	require.True(t, math.IsInf(distance, 1))
	require.Empty(t, Output{}.Distances())
}

// Of several places of a mistake the nearest counts, and all places together before one of them.
func TestByDistance(t *testing.T) {
	at := func(id, where string, residual float64) hypothesis {
		return hypothesis{mistake: catalogue.Mistake{ID: id}, where: where, residual: residual}
	}
	gone := at("gone", "", 0)
	gone.discarded = true
	got := byDistance(map[string]hypothesis{
		"1": at("a", "", 0.5), "2": at("a", "layers.0", 0.25), "3": at("a", "layers.1", 0.75),
		"4": at("b", "layers.1", 0.5), "5": at("b", "", 0.5), "6": gone,
		"7": at("c", "", math.Inf(1)), "8": at("d", "", math.NaN()), "9": at("0", "", 0.5),
	})
	require.Equal(t, []Distance{{"a", "layers.0", 0.25}, {"0", "", 0.5}, {"b", "", 0.5}}, got)
}

// The numbers of an output's error beside other errors, in units of sigma. Elements without noise
// do not count.
func TestErrorsInUnitsOfSigma(t *testing.T) {
	truth := compare.Expected{Value: []float64{1, 2, 5}, Sigma: []float64{0.5, 2, 0}}
	other := compare.Expected{Value: []float64{2, 4, 9}, Sigma: truth.Sigma}
	got := []float64{1.5, 0, 7} // errors 1 and -1; the other's are 2 and 1
	require.InDelta(t, 1/math.Sqrt(10), cosine(got, truth, other), 1e-12)
	require.Zero(t, cosine(truth.Value, truth, other))
	require.Zero(t, cosine(got, truth, truth))
	o := Output{Sampled: Sampled{Sample: Sample{Truth: truth}, Got: got}}
	require.InDelta(t, 1/math.Sqrt(10), o.Towards(Replay{Outputs: [][]float64{other.Value}}), 1e-12)

	require.InDelta(t, math.Sqrt((1.+9)/2), inNoise([]float64{1.5, 8, 7}, truth.Value, truth.Sigma), 1e-12)
	nan, inf := math.NaN(), math.Inf(1)
	require.InDelta(t, 1, inNoise([]float64{nan, 4}, []float64{nan, 2}, []float64{1, 2}), 1e-12)
	for _, pair := range [][2]float64{
		{nan, 1}, {1, nan}, {inf, 1}, {-inf, 1}, {1, inf}, {1, -inf}, {inf, inf}, {inf, -inf},
	} {
		got, want := []float64{pair[0], 4}, []float64{pair[1], 2}
		require.True(t, math.IsInf(inNoise(got, want, []float64{1, 2}), 1))
		require.True(t, math.IsInf(inNoise(got, want, []float64{0, 2}), 1), "an exact element counts")
	}
	require.True(t, math.IsInf(inNoise(got[:1], truth.Value[:1], []float64{0}), 1), "no element has noise")
}

// Half of the way to another result is a half, with and without a common factor.
func TestProgressBesideGain(t *testing.T) {
	start := compare.Expected{Value: []float64{1, 2, -3, 4}, Sigma: []float64{0.5, 2, 1, 0}}
	other := compare.Expected{Value: []float64{1.5, 1, -2, 9}}
	for _, way := range []float64{0, 0.5, 1} {
		for _, gain := range []float64{0, 0.25} {
			got := make([]float64, 4)
			for i, w := range start.Value {
				got[i] = w + way*(other.Value[i]-w) + gain*other.Value[i]
			}
			require.InDelta(t, way, progressBesideGain(got, start, other), 1e-12)
		}
	}
	require.True(t, math.IsNaN(progressBesideGain(start.Value, start, start)))
}
