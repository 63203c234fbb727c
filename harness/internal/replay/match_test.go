package replay

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/compare"
)

// A match counts only if no other computation comes about as near.
func TestMargin(t *testing.T) {
	s := &search{found: []Match{{Residual: 1e-3}}, next: 4.9e-3}
	require.Nil(t, s.matches())

	s = &search{found: []Match{{Residual: 1e-3}, {Residual: 2e-3}}, next: 2e-2}
	found := s.matches()
	require.Len(t, found, 2)
	require.InDelta(t, 20, found[0].Margin, 1e-9)
	require.InDelta(t, 10, found[1].Margin, 1e-9)
}

// The nearest computation that does not match sets the margin; NaN and infinity set none.
func TestMisses(t *testing.T) {
	wrong := compare.Expected{Shape: []int{1, 2}, Value: []float64{3, 4}, Sigma: []float64{0.01, 0.01}}
	s := newSearch()
	s.add([]float64{3, 4.01}, wrong)
	require.Len(t, s.found, 1)
	require.InDelta(t, 0.002, s.found[0].Residual, 1e-12)
	require.True(t, math.IsInf(s.next, 1))
	s.add([]float64{3, 4.5}, wrong)
	require.Len(t, s.found, 1)
	require.InDelta(t, 0.1, s.next, 1e-12)
	s.add([]float64{3, math.NaN()}, wrong)
	s.miss(math.NaN())
	s.miss(0.2)
	require.InDelta(t, 0.1, s.next, 1e-12)
}
