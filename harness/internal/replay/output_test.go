package replay

import (
	"context"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/oracletest"
)

// Visible mistakes stand beside the output. Of these the replayable ones may explain it, and on a
// sampled case also mistakes that the sample does not see.
func TestCandidates(t *testing.T) {
	p := oracletest.Padded()
	c := caseOf(p)
	got := oracletest.InFloat32(planted(t, p, "causal-missing").Run())
	whole := against(t, c, got)
	isReplayable := func(r Replay) bool { return r.Mistake.Replayable() }
	require.Equal(t, namesOf(whole.Candidates), namesOf(slices.DeleteFunc(
		slices.Clone(whole.Visible), func(r Replay) bool { return !isReplayable(r) })))
	require.Less(t, len(whole.Candidates), len(whole.Visible))
	require.Contains(t, namesOf(whole.Visible), "causal-missing")
	require.NotContains(t, namesOf(whole.Visible), "key-bias-missing", "a softmax does not see it")
	require.Equal(t, whole.Comparison, whole.Sampled.Comparison)

	part := against(t, sampled(c, 2, 5), got) // the last queries see every key
	require.NotContains(t, namesOf(part.Visible), "causal-missing")
	require.Contains(t, namesOf(part.Candidates), "causal-missing")
	require.False(t, slices.ContainsFunc(part.Candidates, func(r Replay) bool { return !isReplayable(r) }))
	require.Equal(t, got[2*4:3*4], part.Sampled.Got[:4])
	require.Equal(t, 2*4, part.Sampled.Comparison.Elements)
	require.True(t, part.Sampled.Comparison.OK())
	require.False(t, part.Comparison.OK())
}

func namesOf(replays []Replay) []string {
	var names []string
	for _, r := range replays {
		names = append(names, r.Mistake.ID)
	}
	return names
}

// endsLater is a context with an error that nothing waits for.
type endsLater struct{ context.Context }

func (endsLater) Err() error { return context.Canceled }

// One mistake that was not made is told.
func TestOneMistakeIsMissing(t *testing.T) {
	p := oracletest.Padded()
	c := caseOf(p)
	got := p.Run().Value
	against(t, c, got)
	c.cache.replays[7] = nil
	_, cut := NewOutput(endsLater{t.Context()}, c, got, compare.Outputs(c.Truth.Shape, got, c.Truth))
	require.Contains(t, cut, "1 of ")
}
