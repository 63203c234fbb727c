package diagnose

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// An explanation is given only when nothing else comes as near.
func TestMargin(t *testing.T) {
	s := &search{found: []Match{{Residual: 1e-3}}, next: 4.9e-3}
	require.Nil(t, s.matches())

	s = &search{found: []Match{{Residual: 1e-3}, {Residual: 2e-3}}, next: 2e-2}
	found := s.matches()
	require.Len(t, found, 2)
	require.InDelta(t, 20, found[0].Margin, 1e-9)
	require.InDelta(t, 10, found[1].Margin, 1e-9)
}
