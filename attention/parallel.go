package attention

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// parallel calls f(0) .. f(n-1) on as many goroutines as may run at once and returns when all
// have ended. Each index is one goroutine's alone, so f needs no lock for what it writes there.
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
