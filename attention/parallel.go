package attention

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// parallel calls f(0) to f(n-1) and waits for all calls to return. It calls them on up to
// GOMAXPROCS goroutines if the work is worth it. work is about the number of multiplications in one
// call. Each call must write only to memory that belongs to its index.
func parallel(n, work int, f func(i int)) {
	const worth = 1 << 19 // some ten times what it takes to start goroutines
	workers := min(n, runtime.GOMAXPROCS(0))
	if workers < 2 || n*work < worth {
		for i := range n {
			f(i)
		}
		return
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				f(i)
			}
		})
	}
	wg.Wait()
}
