package protocol_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/protocol"
)

// Some case needs each feature. A child that offers all of them lacks nothing.
func TestFeatures(t *testing.T) {
	names, err := fixture.Names(fixtures.FS)
	require.NoError(t, err)
	needed := map[string]bool{}
	all := protocol.Started{Ops: []fixture.Op{fixture.SDPA, fixture.MultiHead, fixture.Rotary, fixture.Module}}
	plain := all
	plain.Features = []string{}
	for _, name := range names {
		c, err := fixture.Read(fixtures.FS, name)
		require.NoError(t, err)
		features := protocol.Features(c)
		for _, f := range features {
			needed[f] = true
		}
		require.Empty(t, all.Lacks(c))
		require.Equal(t, len(features) == 0, plain.Lacks(c) == "", name)
	}
	require.Len(t, needed, len(protocol.AllFeatures()))
	for _, f := range protocol.AllFeatures() {
		require.True(t, needed[f], f)
	}
}
