package replay

import (
	"io/fs"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/internal/campaign"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/edits"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/graph"
)

// moduleIn returns the module of an embedded case.
func moduleIn(t *testing.T, name string) *Module {
	t.Helper()
	return moduleOf(t, fixtures.FS, name)
}

// moduleOf returns the module of a case in a suite.
func moduleOf(t *testing.T, suite fs.FS, name string) *Module {
	t.Helper()
	c, err := fixture.Read(suite, name)
	require.NoError(t, err)
	g, err := graph.Parse(c.Graph)
	require.NoError(t, err)
	truth := compare.Expected{Shape: c.Output.Shape, Value: c.Truth, Sigma: c.Sigma, Measured: true}
	m, err := NewModule(g, c.Given, truth)
	require.NoError(t, err)
	return m
}

// A search that replays in float32 first finds the same mistakes, with the same residuals, and the
// same distance of the next ones.
func TestRoughReplaysChangeNoResult(t *testing.T) {
	campaign.SkipShort(t)
	exact, rough := moduleIn(t, "models/bert"), moduleIn(t, "models/bert")
	rough.large = 0
	tried, ruledOut := 0, 0
	for n, mistake := range edits.Mistakes {
		made := exact.at(mistake, everywhere)
		if len(made) == 0 || n%9 != 0 {
			continue
		}
		output := exact.outputOf(made[0])
		if output == nil {
			continue
		}
		tried++
		got := make([]float64, len(output.Data))
		for i, x := range output.Data {
			got[i] = float64(float32(x))
		}
		want, _ := exact.made(t.Context(), everywhere, "", map[string]hypothesis{}, got)
		all, _ := rough.made(t.Context(), everywhere, "", map[string]hypothesis{}, got)
		require.Len(t, all, len(want), mistake.ID)
		for _, h := range all {
			if h.rough {
				ruledOut++
			}
		}
		a, b := newSearch(), newSearch()
		exact.confirm(a, exact.withoutDoubles(want), got)
		rough.confirm(b, rough.withoutDoubles(all), got)
		require.Len(t, b.found, len(a.found), mistake.ID)
		for i, match := range a.found {
			assert.Equal(t, match.ID(), b.found[i].ID())
			assert.Equal(t, match.Residual, b.found[i].Residual, mistake.ID)
		}
		if len(a.found) > 0 {
			assert.Equal(t, a.next, b.next, mistake.ID)
		}
	}
	assert.Greater(t, tried, 5)
	assert.Greater(t, ruledOut, 50*tried)
}

// A rough hypothesis is replayed exactly if it comes much nearer than the right graph, or if noise
// may explain it. A rough distance may be twice the exact one.
func TestHopelessHypotheses(t *testing.T) {
	const right = 0.05
	for _, tc := range []struct {
		rms, residual float64
		hopeless      bool
	}{
		{61, 0.0201, true},
		{61, 0.0199, false},
		{61, 0.05, true},
		{59, 0.05, false},
	} {
		assert.Equal(t, tc.hopeless, hypothesis{rms: tc.rms, residual: tc.residual}.hopeless(right), tc)
	}
}
