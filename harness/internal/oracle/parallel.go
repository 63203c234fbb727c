package oracle

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
)

// parallel calls f with 0 to n-1, until ctx ends. It uses all cores if the work is worth it. work
// is the number of multiplications in one call.
func (s *pass) parallel(n, work int, f func(i int)) {
	const worth = 1 << 21 // about a millisecond
	workers := min(n, runtime.GOMAXPROCS(0))
	if n*work < worth || workers == 1 {
		for i := 0; i < n && s.ctx.Err() == nil; i++ {
			f(i)
		}
		return
	}
	inParallel(s.ctx, workers, n, f)
}

func inParallel(ctx context.Context, workers, n int, f func(i int)) {
	var next atomic.Int64
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				f(i)
			}
		})
	}
	all.Wait()
}
