package command

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/fixture"
)

// One model among the cases gets the bound of models.
func TestBoundOfMemory(t *testing.T) {
	layer, model := &fixture.Case{Op: fixture.MultiHead}, &fixture.Case{Op: fixture.Module}
	require.EqualValues(t, boundOfAttention, boundOf(layer))
	require.EqualValues(t, boundOfModels, boundOf(layer, model))
}
