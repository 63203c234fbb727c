package diagnose

import (
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/replay"
)

// A direction is within limits if neither of its cosines is larger, of either sign.
func TestDirectionWithinLimits(t *testing.T) {
	limits := direction{0.9, 0.5}
	for d, want := range map[direction]bool{
		{0.9, 0.5}: true, {-0.9, -0.5}: true, {0.91, 0.5}: false, {-0.91, 0}: false, {0, 0.51}: false, {0.9, -0.51}: false,
	} {
		require.Equal(t, want, d.within(limits), d)
	}
	require.Equal(t, direction{0.9, 0.7}, limits.orMore(direction{0.2, 0.7}))
	require.Equal(t, direction{1, 1}, limits.orMore(direction{1.2, 1.1}))
	require.Equal(t, direction{1.8, 1}, limits.times(2))
}

// The cosine of two arrays does not depend on their sizes. It is 1 where one is zero.
func TestCosineOf(t *testing.T) {
	require.InDelta(t, 24.0/25, cosineOf([]float64{3, 4}, []float64{400, 300}), 1e-12)
	require.InDelta(t, -1, cosineOf([]float64{1, -2, 2}, []float64{-1, 2, -2}), 1e-12)
	require.InDelta(t, 1, cosineOf([]float64{0, 0}, []float64{1, -1}), 0)
	require.InDelta(t, 1, cosineOf([]float64{1, -1}, []float64{0, 0}), 0)
}

// The mean row is taken out, and rows that see no key are left out.
func TestCentredRows(t *testing.T) {
	require.Equal(t, []float64{-1, -2, 0, 0, 1, 2}, centred([]float64{1, 2, 2, 4, 3, 6}, 2))
	in := looked(1e-3, []int{3, 2}, make([]float64, 6), make([]float64, 6))
	in.visible = []int{1, 0, 2}
	require.Equal(t, []float64{1, 2, 5, 6}, in.seeing([]float64{1, 2, 3, 4, 5, 6}, 2))
	in.replays.Sampled.Rows = []int{1, 2}
	require.Equal(t, []float64{3, 4}, in.seeing([]float64{1, 2, 3, 4}, 2), "the first sampled row sees no key")
}

// The cosines of every two rows. Of many rows some are taken, evenly.
func TestProductsOfRows(t *testing.T) {
	root := math.Sqrt(0.5)
	got := productsOfRows([]float64{2, 0, 0, 3, 1, 1}, 2)
	require.InDeltaSlice(t, []float64{0, root, root}, got, 1e-12)
	for rows, taken := range map[int]int{200: 200, 201: 101, 400: 200, 401: 134} {
		require.Len(t, productsOfRows(slices.Repeat([]float64{1}, rows), 1), taken*(taken-1)/2, rows)
	}
	values := []float64{1} // every second row points the same way
	for i := range 400 {
		values = append(values, float64(2*(i%2)-1))
	}
	require.NotContains(t, productsOfRows(values[1:], 1), -1.0, "rows 0, 2, 4 ...")
}

// Weights that turn every row alike leave the geometry as it is.
func TestGeometry(t *testing.T) {
	want := []float64{1, 2, 5, -1, 0, 3, -2, 2, 7, 4}
	in := looked(1e-3, []int{5, 2}, want, want)
	turned := make([]float64, len(want))
	for i := 0; i < len(want); i += 2 {
		turned[i], turned[i+1] = -3*want[i+1]+8, 3*want[i]-2
	}
	require.InDelta(t, 1, geometry(in, turned, want), 1e-12)
	require.Less(t, geometry(in, []float64{1, 2, 0, 3, -2, 2, 7, 4, 5, -1}, want), 0.9)
}

// The gains of draws are widened by their own square: by 1.15 at least, and 1.5 at most.
func TestGainsOfRandomWeights(t *testing.T) {
	for _, tc := range []struct{ least, most, wider float64 }{{1, 1, 1.15}, {2, 2.4, 1.44}, {1, 3, 1.5}} {
		k := randomKind{gain: replay.Range{Min: tc.least, Max: tc.most}}
		require.True(t, k.fits(tc.most*tc.wider-1e-9))
		require.False(t, k.fits(tc.most*tc.wider+1e-9))
		require.True(t, k.fits(tc.least/tc.wider+1e-9))
		require.False(t, k.fits(tc.least/tc.wider-1e-9))
	}
	k := randomKind{gain: replay.Range{Min: 1, Max: 3}}
	require.True(t, k.fits(4.5), "the limit is within")
	require.True(t, k.fits(1/1.5), "the limit is within")
	for gain, want := range map[float64]bool{0.5: true, 2: true, 0.49: false, 2.01: false} {
		require.Equal(t, want, ordinary(gain), gain)
	}
}

// A kind of random weights has the limits of its draws: half as much again as the largest cosine,
// and the least that rows are alike.
func TestKindOfRandomWeights(t *testing.T) {
	want := []float64{3, 1, -1, 1, -2, -2} // the mean row is zero
	in := looked(1e-3, []int{3, 2}, want, want)
	const angle = math.Pi/2 - 0.2 // a cosine of sin(0.2)
	turn := func(by float64) []float64 {
		out := make([]float64, len(want))
		for i := 0; i < len(want); i += 2 {
			out[i] = math.Cos(by)*want[i] - math.Sin(by)*want[i+1]
			out[i+1] = math.Sin(by)*want[i] + math.Cos(by)*want[i+1]
		}
		return out
	}
	r := replay.Replay{
		Mistake: catalogue.Mistake{ID: "x", Title: "weights of a kind"},
		Outputs: [][]float64{turn(angle), turn(math.Pi/2 + 0.1)},
		Comparisons: []compare.Comparison{
			{Gain: 2}, {Gain: 0.5},
		},
	}
	k := newRandomKind(in, r)
	require.Equal(t, "weights of a kind (0.5 to 2 here)", k.String())
	require.True(t, k.listed)
	require.InDelta(t, 1.5*math.Sin(0.2), k.limit.whole, 1e-12)
	require.InDelta(t, 1.5*math.Sin(0.2), k.limit.centred, 1e-12)
	require.InDelta(t, 1, k.alike, 1e-12, "a turn leaves rows alike")
	r.Mistake.ID, r.Outputs = "", [][]float64{want, {1, 1, -1, 3, 5, 2}}
	k = newRandomKind(in, r)
	require.False(t, k.listed)
	require.InDelta(t, 1, k.limit.whole, 0)
	require.Less(t, k.alike, 0.9)
}
