package kernel

// fma32 returns x*y + z, rounded once: on this architecture the compiler fuses the two operations,
// and a test demands it.
func fma32(x, y, z float32) float32 { return x*y + z }
