package replay

import (
	"cmp"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/compare"
)

// orderOf returns the order of mistakes with these errors beside an output with an error. The
// truth is 10, and its noise 2 or, in the last element, none.
func orderOf(error []float64, errors ...[]float64) *pairOrder {
	output := func(error []float64) []float64 {
		values := []float64{-1}
		for _, e := range error {
			values = append(values, 10+2*e)
		}
		return append(values[1:], -1)
	}
	truth := compare.Expected{Value: []float64{10, 10, 10, 10}, Sigma: []float64{2, 2, 2, 0}}
	var classes []pairClass
	for _, e := range errors {
		classes = append(classes, pairClass{outputs: output(e)})
	}
	return newPairOrder(&Module{Truth: truth}, classes, output(error))
}

// The squared distance of an error from the plane of two others. Parallel errors make no plane, and
// neither do zeros.
func TestDistanceFromAPlane(t *testing.T) {
	root := math.Sqrt2 / 2
	for _, tc := range []struct {
		name        string
		error, a, b []float64
		want        float64
	}{
		{"in the plane", []float64{3, 5, 0}, []float64{1, 1, 0}, []float64{0, 2, 0}, 0},
		{"beside the plane", []float64{3, 5, 7}, []float64{1, 1, 0}, []float64{0, 2, 0}, 49},
		{"on a line of the plane", []float64{-4, 0, 0}, []float64{2, 0, 0}, []float64{5, 1, 2}, 0},
		{"a slanted plane", []float64{0, 3, 0}, []float64{1, root, root}, []float64{-2, root, root}, 4.5},
		{"parallel", []float64{3, 5, 7}, []float64{1, 2, 0}, []float64{-2, -4, 0}, 9 + 25 + 49},
		{"hardly a plane", []float64{0, 3, 0}, []float64{30, 0, 0}, []float64{7, 7 * math.Sqrt(1.5e-9), 0}, 0},
		{"hardly parallel", []float64{0, 3, 0}, []float64{30, 0, 0}, []float64{7, 7 * math.Sqrt(0.5e-9), 0}, 9},
		{"parallel in small", []float64{0, 3, 0}, []float64{0.3, 0, 0}, []float64{0.07, 0.07 * math.Sqrt(0.5e-9), 0}, 9},
		{"a plane in small", []float64{0, 3, 0}, []float64{0.3, 0, 0}, []float64{0.07, 0.07 * math.Sqrt(1.5e-9), 0}, 0},
		{"zeros", []float64{3, 4, 0}, []float64{0, 0, 0}, []float64{1, 0, 0}, 25},
	} {
		o := orderOf(tc.error, tc.a, tc.b)
		for _, p := range []pairOf{{0, 1}, {1, 0}} {
			require.InDelta(t, tc.want, o.fromPlane(p), 1e-6, tc.name)
		}
	}
}

// Three orders take turns: by the distance from the plane of two errors, by the distance of the
// nearer error, and by its angle.
func TestOrdersOfPairsInAGraph(t *testing.T) {
	output := []float64{1.5, -0.7, 0.25}
	errors := [][]float64{{1.3, 0.5, -0.5}, {15, -8, 3}, {-1, -2, 0.3}, {0.2, 0.3, 0.5}, {1, -1.5, 2}, {-0.4, 0.25, 0}}
	size := func(e []float64) float64 { return math.Sqrt(product(e, e)) }
	away := func(e []float64) float64 {
		off := slices.Clone(output)
		for i, x := range e {
			off[i] -= x
		}
		return size(off)
	}
	angle := func(e []float64) float64 { return math.Acos(product(output, e) / size(output) / size(e)) }
	o := orderOf(output, errors...)
	var all []pairOf
	for i := range errors {
		for j := range i {
			all = append(all, pairOf{j, i})
		}
	}
	require.Equal(t, all, o.best(15), "few pairs need no order")
	require.Equal(t, all, o.best(16))
	sorted := func(by func(e []float64) float64) []pairOf {
		return slices.SortedStableFunc(slices.Values(all), func(p, q pairOf) int {
			nearer := func(p pairOf) float64 { return min(by(errors[p[0]]), by(errors[p[1]])) }
			return cmp.Or(cmp.Compare(nearer(p), nearer(q)), cmp.Compare(o.fromPlane(p), o.fromPlane(q)))
		})
	}
	orders := [][]pairOf{sorted(func([]float64) float64 { return 0 }), sorted(away), sorted(angle)}
	require.NotEqual(t, orders[0], orders[1])
	require.NotEqual(t, orders[1], orders[2])
	for _, count := range []int{0, 1, 2, 3, 7, 14} {
		var want []pairOf
		for place := range all {
			for _, order := range orders {
				if !slices.Contains(want, order[place]) && len(want) < count {
					want = append(want, order[place])
				}
			}
		}
		require.Len(t, want, count)
		require.Equal(t, want, o.best(count))
	}
}

// Errors are in units of the noise. Elements without noise do not count.
func TestErrorsOfPairs(t *testing.T) {
	o := orderOf([]float64{1, 2, 3}, []float64{4, 0, -1}, []float64{0.5, 0, 0})
	require.Equal(t, []float64{1, 2, 3, 0}, o.error)
	require.Equal(t, [][]float64{{4, 0, -1, 0}, {0.5, 0, 0, 0}}, o.errors)
	require.InDelta(t, 14, o.size, 0)
	require.Equal(t, []float64{1, 0.5}, o.along)
	require.Equal(t, [][]float64{{17, 2}, {2, 0.25}}, o.products)
	small := &Module{Truth: compare.Expected{Value: []float64{1, 1}, Sigma: []float64{0.25, 1}}}
	require.Equal(t, []float64{4, -2}, small.errorInNoise([]float64{2, -1}))
}
