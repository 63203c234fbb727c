package judge

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/graph"
	"github.com/difftest/difftest/harness/internal/harnesstest"
	"github.com/difftest/difftest/harness/internal/sites"
)

// The mistakes of attention can be made in every attention of the embedded modules. In a model that
// is padded on the left, queries see no key, and their rows are leftovers.
func TestEveryAttentionIsASite(t *testing.T) {
	names, err := fixture.Names(fixtures.FS)
	require.NoError(t, err)
	modules := 0
	for _, name := range names {
		if !harnesstest.IsModule(name) {
			continue
		}
		c, err := fixture.Read(fixtures.FS, name)
		require.NoError(t, err)
		g, view, values := viewOf(t, c)
		found := sites.Find(view, values)
		attention := func(n graph.Node) bool { return n.Op == "attention" }
		count := len(slices.DeleteFunc(slices.Clone(g.Nodes), func(n graph.Node) bool { return !attention(n) }))
		assert.Len(t, found, count, name)
		if count > 0 {
			modules++
		}
	}
	require.Greater(t, modules, 20)
}
