package replay

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/catalogue"
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

// A match at the least margin counts.
func TestLeastMargin(t *testing.T) {
	s := &search{found: []Match{{Residual: 1}, {Residual: 0.5}}, next: 5}
	require.Len(t, s.matches(), 2)
	require.Equal(t, []float64{5, 5, 10}, []float64{s.found[0].Next, s.found[0].Margin, s.found[1].Margin})
	s = &search{found: []Match{{Residual: 0.5}, {Residual: 1.25}}, next: 5}
	require.Nil(t, s.matches(), "one match that is not apart from the rest spoils all")
}

// The words of a match follow the order of its mistakes, and name the only place.
func TestWordsOfAMatch(t *testing.T) {
	m := Match{Mistakes: []catalogue.Mistake{
		{ID: "a", Title: "no scale", Fix: "Scale."}, {ID: "b", Title: "no mask", Fix: "Mask."},
	}}
	require.Equal(t, "no scale, and no mask", m.Title())
	require.Equal(t, []string{"Scale.", "Mask."}, m.Fixes())
	require.Equal(t, []string{"a", "b"}, m.IDs())
	require.Equal(t, "a+b", m.ID())
	m.Where = "layers.1"
	require.Equal(t, "no scale, and no mask in layers.1 alone", m.Title())
}

// A mistake at a place of a graph is collected with the place, if it explains the output.
func TestAddAt(t *testing.T) {
	wrong := compare.Expected{Shape: []int{1, 2}, Value: []float64{3, 4}, Sigma: []float64{0.01, 0.01}}
	h := hypothesis{mistake: catalogue.Mistake{ID: "a"}, where: "layers.1", sites: []int{4}}
	s := newSearch()
	s.addAt([]float64{3, 4.5}, wrong, h)
	require.Empty(t, s.found)
	require.InDelta(t, 0.1, s.next, 1e-12)
	s.addAt([]float64{3, 4.01}, wrong, h)
	require.Len(t, s.found, 1)
	got := s.found[0]
	require.Equal(t, []any{"a", "layers.1", []int{4}}, []any{got.ID(), got.Where, got.sites})
	require.InDelta(t, 0.002, got.Residual, 1e-12)
	require.InDelta(t, 1, got.MaxZ, 1e-9)
}

// Only a hopeful computation can be a match with margin, whatever else is computed later.
func TestHopeful(t *testing.T) {
	s := newSearch()
	s.miss(0.05)
	require.True(t, s.hopeful(0.0099))
	require.True(t, s.hopeful(0.01), "the margin is just reached")
	require.False(t, s.hopeful(0.0101))
	s.found = []Match{{Residual: 0.0101}}
	require.Nil(t, s.matches())
}
