package selftest

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// missedPairs reports whether a run misses the bar of pairs. named counts the pairs with a name.
func missedPairs(named, distinguishable int) bool {
	r := &Result{Pairs: Counts{Planted: distinguishable, Distinguishable: distinguishable, Right: named}}
	return len(r.Missed()) > 0
}

// A few outputs without a name may be chance. The bar is missed where chance hardly explains them.
func TestBarByChance(t *testing.T) {
	for _, tc := range []struct {
		bar                    float64
		named, distinguishable int
		missed                 bool
	}{
		{pairsBar, 0, 0, false}, {pairsBar, 0, 1, false}, {pairsBar, 0, 2, true},
		{pairsBar, 18, 18, false}, {pairsBar, 17, 18, false}, {pairsBar, 15, 18, false}, {pairsBar, 13, 18, true},
		{pairsBar, 280, 300, false}, {pairsBar, 270, 300, true},
		{numbersBar, 0, 1, false}, {numbersBar, 50, 52, false}, {numbersBar, 45, 52, true},
		{singlesBar, 1490, 1500, false}, {singlesBar, 1477, 1500, false}, {singlesBar, 1470, 1500, true},
	} {
		c := Counts{Distinguishable: tc.distinguishable, Right: tc.named / 2, Class: tc.named - tc.named/2}
		require.Equal(t, tc.missed, c.below(tc.bar) < significance, "%d of %d", tc.named, tc.distinguishable)
	}
	// The name of another mistake with the same output is a name.
	require.Empty(t, (&Result{Pairs: Counts{Distinguishable: 18, Right: 9, Class: 9, Impostors: 9}}).Missed())
	r := &Result{Pairs: Counts{Distinguishable: 18, Right: 9, Class: 4, Impostors: 4}}
	require.Equal(t, []string{"pairs: 13 of 18 distinguishable have a name, want 95 % (chance 0.0015)"}, r.Missed())
}

// A diagnosis exactly at the bar misses it in one run of a hundred or less. One that is below it
// misses it: by 7 % in nearly every full run, and by half in nearly every quick one.
func TestBarsOfManyRuns(t *testing.T) {
	const runs = 20000
	for _, tc := range []struct {
		rate            float64
		distinguishable int
		least, most     float64 // share of runs that miss the bar
	}{
		{0.95, 18, 0.0005, 0.01}, {0.95, 280, 0.002, 0.01}, {0.97, 18, 0, 0.002},
		{0.88, 280, 0.97, 1}, {0.45, 18, 0.97, 1},
	} {
		r := rand.New(rand.NewPCG(1, uint64(tc.distinguishable)))
		missed := 0
		for range runs {
			named := 0
			for range tc.distinguishable {
				if r.Float64() < tc.rate {
					named++
				}
			}
			if missedPairs(named, tc.distinguishable) {
				missed++
			}
		}
		share := float64(missed) / runs
		require.GreaterOrEqual(t, share, tc.least, "%v of %d", tc.rate, tc.distinguishable)
		require.LessOrEqual(t, share, tc.most, "%v of %d", tc.rate, tc.distinguishable)
	}
}

// A single wrong name misses the bars, however many outputs there are.
func TestWrongNamesAreNoChance(t *testing.T) {
	r := &Result{Singles: Counts{Planted: 5000, Distinguishable: 5000, Right: 4999, Wrong: 1}}
	require.Equal(t, []string{"singles: 1 wrong names, want none"}, r.Missed())
	require.True(t, strings.HasPrefix(verdict(r), "not all bars"))
}
