package causes

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/report"
)

// Several projections may explain the same failures. Only the first is a cause, unless a later one
// explains another failure as well.
func TestOnlyNewCauses(t *testing.T) {
	in := &inquiry{witnesses: newWitnesses(nil, Of(nil), "")}
	kept := in.onlySupported([]report.Cause{
		{ID: "value", Failures: []string{"a", "b", "c"}},
		{ID: "output", Failures: []string{"a", "b"}},
		{ID: "query", Failures: []string{"b", "d"}},
		{ID: "key", Failures: []string{"e"}},
		{ID: "value and output", Failures: []string{"c", "d"}},
	}, nil, nil)
	var ids []string
	for _, c := range kept {
		ids = append(ids, c.ID)
	}
	require.Equal(t, []string{"value", "query"}, ids)
}

// Failures without such parameters, and failures whose parameters are proved right, speak against
// other parameters. Failures that have another cause say nothing.
func TestDenials(t *testing.T) {
	loaded := result("loaded", false)
	loaded.Loaded = true
	results := []report.Result{
		result("function", false), result("layer", false), loaded, result("unread", false),
		result("explained", false), result("supporting", false), result("right", true),
	}
	results[4].Loaded, results[5].Loaded = true, true
	cases := map[string]*fixture.Case{"function": {Op: fixture.SDPA}}
	for _, name := range []string{"layer", "loaded", "explained", "supporting"} {
		cases[name] = &fixture.Case{Op: fixture.MultiHead}
	}
	in := &inquiry{ctx: t.Context(), results: results, witnesses: newWitnesses(results, Of(nil), "")}
	in.cases = Of(cases)
	passes, failures := in.denials(
		freed{projections: []string{"value"}}, []string{"supporting"}, map[string]bool{"explained": true})
	require.Empty(t, passes)
	require.Equal(t, []string{"function", "loaded"}, failures)
}
