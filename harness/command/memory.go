package command

import (
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"slices"

	"github.com/difftest/difftest/harness/internal/fixture"
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

// The bounds of [limitMemory], in bytes. A larger one saves a tenth of the time of a diagnosis of
// attention. A model of the size of GPT-2 small needs the larger one to be diagnosed quickly.
const (
	boundOfAttention = 640 << 20
	boundOfModels    = 3 << 29
)

// boundOf returns the bound for the diagnosis of some cases.
func boundOf(cases ...*fixture.Case) int64 {
	if slices.ContainsFunc(cases, func(c *fixture.Case) bool { return c.Op == fixture.Module }) {
		return boundOfModels
	}
	return boundOfAttention
}

// limitMemory makes the collector of garbage keep the memory near a bound, or near twice the memory
// that the cases take. Without a limit a large case's garbage doubles its memory. Far below the
// limit the collector runs rarely: small models make much garbage quickly. A limit and a percentage
// that the environment sets stay.
func limitMemory(bound int64) {
	const percent = 400
	if debug.SetMemoryLimit(-1) != math.MaxInt64 {
		return
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(percent)
	}
	runtime.GC() // what was read is no longer needed beside the arrays
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	debug.SetMemoryLimit(max(bound, 2*int64(m.HeapAlloc)))
}
