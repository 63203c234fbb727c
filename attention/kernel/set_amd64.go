//go:build !purego

package kernel

import "golang.org/x/sys/cpu"

// Sets returns the sets that the processor has, the fastest first.
func Sets() []Set {
	has := &cpu.X86
	avx2 := has.HasAVX2 && has.HasFMA && has.HasBMI2
	switch {
	case avx2 && has.HasAVX512F && has.HasAVX512VL && has.HasAVX512DQ && has.HasAVX512BW:
		return []Set{AVX512, AVX2, Plain}
	case avx2:
		return []Set{AVX2, Plain}
	}
	return []Set{Plain}
}

var sets32 = map[Set]kernels[float32]{
	AVX512: {[]tile[float32]{
		{12, tile32AVX512x12}, {6, tile32AVX512x6}, {3, tile32AVX512x3}, {1, tile32AVX512x1},
	}, 32, expSum32AVX512, scaleMax32AVX512},
	AVX2: {[]tile[float32]{
		{6, tile32AVX2x6}, {3, tile32AVX2x3}, {1, tile32AVX2x1},
	}, 16, expSum32AVX2, scaleMax32AVX2},
}

var sets64 = map[Set]kernels[float64]{
	AVX512: {[]tile[float64]{
		{12, tile64AVX512x12}, {6, tile64AVX512x6}, {3, tile64AVX512x3}, {1, tile64AVX512x1},
	}, 16, expSum64AVX512, scaleMax64AVX512},
	AVX2: {[]tile[float64]{
		{6, tile64AVX2x6}, {3, tile64AVX2x3}, {1, tile64AVX2x1},
	}, 8, expSum64AVX2, scaleMax64AVX2},
}
