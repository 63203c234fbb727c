package command

import (
	"math"
	"os"
	"runtime"
	"runtime/debug"
)

// ballast is never touched, and takes no memory but addresses. The collector of garbage counts it,
// and so does not collect a heap that is much smaller than the ballast.
var ballast []byte

// quietCollector lets the collector of garbage rest until a heap of some size has grown.
func quietCollector() {
	if ballast == nil {
		ballast = make([]byte, 24<<20)
	}
}

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
