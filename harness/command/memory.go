package command

import (
	"math"
	"runtime"
	"runtime/debug"
)

// limitMemory makes the collector of garbage keep the memory near 1.5 GiB, or twice the memory that
// the cases take. Without a limit a large model's garbage doubles its memory. A limit that the
// environment sets stays.
func limitMemory() {
	const least = 3 << 29
	if debug.SetMemoryLimit(-1) != math.MaxInt64 {
		return
	}
	runtime.GC() // what was read is no longer needed beside the arrays
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	debug.SetMemoryLimit(max(least, 2*int64(m.HeapAlloc)))
}
