// Package parallel makes independent computations on all processors.
package parallel

import (
	"runtime"

	"golang.org/x/sync/errgroup"
)

// Each calls a function with 0 to n-1, several at a time. It returns when all calls have returned.
func Each(n int, do func(i int)) {
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i := range n {
		group.Go(func() error {
			do(i)
			return nil
		})
	}
	_ = group.Wait() // none returns an error
}
