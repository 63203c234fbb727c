package attention

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// parallel calls f(0) .. f(n-1) on up to GOMAXPROCS goroutines and returns when all calls have.
// f must write only to memory that belongs to its index.
func parallel(n int, f func(i int)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(n, runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				f(i)
			}
		})
	}
	wg.Wait()
}
