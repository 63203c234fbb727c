package replay

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/oracletest"
	"github.com/difftest/difftest/harness/internal/progress"
)

// Mistakes change copies: the problem stays as it was.
func TestReplaysLeaveTheProblemAlone(t *testing.T) {
	p := oracletest.Padded()
	before := p.Run().Value
	_, missing := caseOf(p).replays(t.Context(), every)
	require.Zero(t, missing)
	for _, m := range catalogue.Mistakes {
		if m.Replayable() {
			m.Plant(p.Clone(), nil)
		}
	}
	require.Equal(t, before, p.Run().Value)
}

// When the context ends, the finished replays are kept, and the next call computes the others.
func TestReplaysGoOnWhereTheyWereCutOff(t *testing.T) {
	c := caseOf(oracletest.Padded())
	all, missing := c.replays(ended(t), every)
	require.Empty(t, all)
	require.Equal(t, len(catalogue.WithVariants), missing)

	midway, cancel := context.WithCancel(t.Context())
	some, missing := c.replays(progress.With(midway, func(u progress.Update) {
		if u.Done == 60 {
			cancel()
		}
	}), every)
	require.NotEmpty(t, some)
	require.Positive(t, missing)
	require.Less(t, missing, len(catalogue.WithVariants))

	var made atomic.Int64
	all, missing = c.replays(progress.With(t.Context(), func(progress.Update) { made.Add(1) }), every)
	require.Zero(t, missing)
	require.Greater(t, len(all), len(some))
	require.Less(t, made.Load(), int64(len(catalogue.WithVariants)))
}

// A case without a mistake knows all others, and takes their replays from the first case.
func TestWithout(t *testing.T) {
	c := caseOf(oracletest.Padded())
	all, _ := c.replays(t.Context(), every)
	less, missing := c.Without("causal-missing").replays(progress.With(t.Context(), func(progress.Update) {
		t.Error("a replay was computed again")
	}), every)
	require.Zero(t, missing)
	require.Len(t, less, len(all)-1)
	for _, r := range less {
		require.NotEqual(t, "causal-missing", r.Mistake.ID)
	}
}
