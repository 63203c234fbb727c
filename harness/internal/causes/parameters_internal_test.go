package causes

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/report"
)

// Several projections may explain the same failures. Only the first is a cause, unless a later one
// explains another failure as well.
func TestOnlyNewCauses(t *testing.T) {
	in := &inquiry{witnesses: newWitnesses(nil, nil, "")}
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
