package command

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/fixture"
)

// One model among the cases gets the bound of models.
func TestBoundOfMemory(t *testing.T) {
	layer, model := &fixture.Case{Op: fixture.MultiHead}, &fixture.Case{Op: fixture.Module}
	require.Equal(t, boundOfAttention, boundOf(layer))
	require.Equal(t, boundOfModels, boundOf(layer, model))
}

// A large case gets six times its memory up to the most, and twice its memory beyond.
func TestLimitOfMemory(t *testing.T) {
	b := memoryBound{least: 100, most: 300}
	for cases, want := range map[int64]int64{0: 100, 16: 100, 40: 240, 60: 300, 150: 300, 200: 400} {
		require.Equal(t, want, b.limit(cases), cases)
	}
}
