package replay

import (
	"context"
	"sync/atomic"

	"github.com/difftest/difftest/harness/internal/parallel"
	"github.com/difftest/difftest/harness/internal/progress"
)

// each calls a function with 0 to n-1, several at a time, and tells the progress under the name of
// the stage. each returns the number of calls that it left out because ctx ended.
func each(ctx context.Context, stage string, n int, do func(i int)) (missing int) {
	var done atomic.Int64
	parallel.Each(n, func(i int) {
		if ctx.Err() == nil {
			progress.Tell(ctx, progress.Update{Stage: stage, Done: int(done.Load()), Total: n})
			do(i)
			done.Add(1)
		}
	})
	return n - int(done.Load())
}
