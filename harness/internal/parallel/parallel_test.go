package parallel_test

import (
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/parallel"
)

func TestEachCallsOnceForEach(t *testing.T) {
	var calls [100]int
	var running, most atomic.Int64
	parallel.Each(len(calls), func(i int) {
		now := running.Add(1)
		for old := most.Load(); now > old && !most.CompareAndSwap(old, now); old = most.Load() {
		}
		calls[i]++
		runtime.Gosched()
		running.Add(-1)
	})
	for i, n := range calls {
		require.Equal(t, 1, n, i)
	}
	require.LessOrEqual(t, most.Load(), int64(runtime.GOMAXPROCS(0)))
	parallel.Each(0, func(int) { t.Error("nothing to call") })
}
