package progress_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/progress"
)

func TestTell(t *testing.T) {
	var heard []progress.Update
	ctx := progress.With(t.Context(), func(u progress.Update) { heard = append(heard, u) })
	progress.Tell(ctx, progress.Update{Stage: "mistakes made", Done: 1, Total: 9})
	progress.Tell(progress.Within(ctx, "mha/causal"), progress.Update{Stage: "pairs"})
	progress.Tell(t.Context(), progress.Update{Stage: "nobody listens"})
	require.Equal(t, []progress.Update{
		{Stage: "mistakes made", Done: 1, Total: 9},
		{Stage: "mha/causal, pairs"},
	}, heard)
}
