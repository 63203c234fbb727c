//go:build !amd64 || purego

package kernel

// Sets returns the sets that the processor has, the fastest first.
func Sets() []Set { return []Set{Plain} }

var (
	sets32 map[Set]kernels[float32]
	sets64 map[Set]kernels[float64]
)
