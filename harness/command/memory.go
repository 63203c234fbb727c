package command

import (
	"math"
	"os"
	"runtime"
	"runtime/debug"
)

// limitMemory makes the collector of garbage keep the memory near 1.5 GiB, or twice the memory that
// the cases take. Without a limit a large model's garbage doubles its memory. Far below the limit
// the collector runs rarely: small models make much garbage quickly. A limit and a percentage that
// the environment sets stay.
func limitMemory() {
	const least, percent = 3 << 29, 400
	if debug.SetMemoryLimit(-1) != math.MaxInt64 {
		return
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(percent)
	}
	runtime.GC() // what was read is no longer needed beside the arrays
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	debug.SetMemoryLimit(max(least, 2*int64(m.HeapAlloc)))
}
