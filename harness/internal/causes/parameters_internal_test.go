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

	// Two functions fail, which have no parameters: that is as much as two failures of a layer.
	function := &fixture.Case{Name: "f", Op: fixture.SDPA}
	other := &fixture.Case{Name: "g", Op: fixture.SDPA}
	in = ofCases(t, []report.Result{result("f", false), result("g", false)}, function, other)
	kept = in.onlySupported([]report.Cause{
		{ID: "value", Failures: []string{"a", "b"}}, {ID: "output", Failures: []string{"a", "b", "c"}},
	}, nil, nil)
	require.Len(t, kept, 1)
	require.Equal(t, "output", kept[0].ID)
	require.Equal(t, []string{"f", "g"}, kept[0].Otherwise)
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
