package check

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/progress"
	"github.com/difftest/difftest/harness/internal/report"
	"github.com/difftest/difftest/harness/internal/subject"
)

// A watcher hears of every case in order, however the verdicts come, and of broken ones.
func TestWatcherHearsInOrder(t *testing.T) {
	processors(t, 8)
	names := []string{"sdpa/softcap", "sdpa/alibi", "sdpa/causal", "sdpa/unmasked"}
	last := make(chan struct{})
	var heard []Judged
	var counts []progress.Update
	ctx := progress.With(t.Context(), func(u progress.Update) { counts = append(counts, u) })
	ctx = Watched(ctx, func(j Judged) bool {
		heard = append(heard, j)
		return true
	})
	r, err := turnsOn(ctx, work{judge: func(ctx context.Context, t *turn) (report.Result, error) {
		switch t.c.Name {
		case names[0]:
			<-last
		case names[3]:
			close(last)
		case names[1]:
			return report.Result{}, errors.New("sdpa/alibi: no")
		}
		return passes(ctx, t)
	}}, names...)
	require.EqualError(t, err, "sdpa/alibi: no")
	require.Equal(t, 4, r.Selected)
	require.Len(t, heard, 4)
	for i, j := range heard {
		require.Equal(t, names[i], j.Result.Case)
		require.Equal(t, i == 1, j.Broken != "")
		require.Equal(t, progress.Update{Stage: progress.Cases, Done: i + 1, Total: 4}, counts[i])
	}
}

// A watcher ends the run: the report holds the cases until then, whatever else was judged.
func TestWatcherEndsTheRun(t *testing.T) {
	names := []string{"sdpa/softcap", "sdpa/alibi", "sdpa/causal", "sdpa/unmasked"}
	heard := 0
	ctx := Watched(t.Context(), func(j Judged) bool {
		heard++
		return j.Result.Case != names[1]
	})
	taken := 0
	r, err := turnsOn(ctx, work{
		take: func(context.Context, *fixture.Case) (subject.Result, bool) {
			taken++
			return subject.Result{}, true
		},
		judge: passes,
	}, names...)
	require.NoError(t, err)
	require.Equal(t, names[:2], caseNames(r))
	require.Equal(t, 2, heard)
	require.Equal(t, 4, r.Selected)
	require.False(t, r.Interrupted)
	require.LessOrEqual(t, taken, 4)
}

// What was judged behind a case that an interruption stopped is told in the end.
func TestWatcherHearsOfTheRest(t *testing.T) {
	names := []string{"sdpa/softcap", "sdpa/alibi"}
	ctx, cancel := context.WithCancel(t.Context())
	second := make(chan struct{})
	var heard []string
	watched := Watched(ctx, func(j Judged) bool {
		heard = append(heard, j.Result.Case)
		return true
	})
	processors(t, 4)
	r, err := turnsOn(watched, work{judge: func(ctx context.Context, t *turn) (report.Result, error) {
		if t.c.Name == names[0] {
			<-second
			cancel()
			return report.Result{}, ctx.Err()
		}
		defer close(second)
		return passes(ctx, t)
	}}, names...)
	require.ErrorIs(t, err, context.Canceled)
	require.True(t, r.Interrupted)
	require.Equal(t, names[1:], caseNames(r))
	require.Equal(t, names[1:], heard)
}
