package oracle

import (
	"context"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every piece of work is done once, however many workers there are, until the context ends.
func TestWorkIsDoneOnce(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(3))
	s := &pass{ctx: t.Context()}
	ended, end := context.WithCancel(t.Context())
	end()
	for name, run := range map[string]func(ctx context.Context, n int, f func(i int)){
		"one worker":    func(ctx context.Context, n int, f func(i int)) { inParallel(ctx, 1, n, f) },
		"three workers": func(ctx context.Context, n int, f func(i int)) { inParallel(ctx, 3, n, f) },
		"little work":   func(ctx context.Context, n int, f func(i int)) { s.ctx = ctx; s.parallel(n, 1, f) },
		"a lot of work": func(ctx context.Context, n int, f func(i int)) { s.ctx = ctx; s.parallel(n, 1<<30, f) },
	} {
		for _, n := range []int{0, 1, 2, 10} {
			done := make([]atomic.Int64, n)
			run(t.Context(), n, func(i int) { done[i].Add(1) })
			for i := range done {
				require.EqualValues(t, 1, done[i].Load(), "%s: %d of %d", name, i, n)
			}
			run(ended, n, func(int) { require.Fail(t, name) })
		}
	}
}
