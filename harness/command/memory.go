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
		ballast = make([]byte, 16<<20)
	}
}

// memoryBound bounds the memory of a diagnosis, in bytes. Large cases get more than the least, up
// to the most. A collector that has too little room runs again and again: the least for attention
// costs a layer of width 4096 a fifth more time.
type memoryBound struct{ least, most int64 }

var (
	boundOfAttention = memoryBound{640 << 20, 9 << 28}
	boundOfModels    = memoryBound{3 << 29, 3 << 29} // for models of the size of GPT-2 small
)

// boundOf returns the bound for the diagnosis of some cases.
func boundOf(cases ...*fixture.Case) memoryBound {
	if slices.ContainsFunc(cases, func(c *fixture.Case) bool { return c.Op == fixture.Module }) {
		return boundOfModels
	}
	return boundOfAttention
}

// limit returns the bound for cases that take some memory. A diagnosis of attention takes about six
// times the memory of its case, which it holds in float64 and in parts. Twice the memory of the
// cases is always allowed.
func (b memoryBound) limit(cases int64) int64 {
	return max(b.least, min(6*cases, b.most), 2*cases)
}

// limitMemory makes the collector of garbage keep the memory near a bound. Without a limit a large
// case's garbage doubles its memory. Far below the limit the collector runs rarely: small models
// make much garbage quickly. A limit and a percentage that the environment sets stay.
func limitMemory(bound memoryBound) {
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
	debug.SetMemoryLimit(bound.limit(int64(m.HeapAlloc)))
}
