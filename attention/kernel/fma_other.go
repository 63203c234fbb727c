//go:build !arm64

package kernel

func fma32(x, y, z float32) float32 { return exactFMA32(x, y, z) }
