package causes_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/report"
)

// A probe is a cause if it caught the subject on two failures that no mistake explains. One such
// failure is not enough.
func TestCauseOfAProbe(t *testing.T) {
	caught := report.Probe{ID: "future-token", Title: "later tokens reach earlier rows"}
	other := report.Probe{ID: "batch", Title: "batch elements depend on one another"}
	load := report.Probe{ID: report.LoadNoEffect.ID, Title: report.LoadNoEffect.Title}
	with := func(r report.Result, probes ...report.Probe) report.Result {
		r.Probes = probes
		return r
	}
	found := find(t, []report.Result{
		with(failing("a"), caught, other, load),
		with(failing("b"), load, caught),
		with(failing("c", "causal-missing"), other),
	}, nil)
	require.Equal(t, []string{"causal-missing", "future-token"}, causeIDs(found))
	require.Equal(t, []string{"a", "b"}, found[1].Failures)
	require.Equal(t, caught.Title, found[1].Title)
	require.True(t, found[1].Live)
	require.Empty(t, find(t, []report.Result{with(failing("a"), caught)}, nil))
}
