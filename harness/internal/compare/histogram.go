package compare

import "math"

// histogram counts positive numbers, infinity among them, in bins that are at most 0.1 % wide. It
// keeps the least number of each bin, so that a bin of equal numbers is exact.
type histogram struct {
	count int
	bins  [exponents]*[1 << binBits]bin // by exponent, nil where there is no number
}

const binBits = 10

type bin struct {
	count int
	least float64
}

func (h *histogram) add(v float64) {
	bits := math.Float64bits(v)
	exponent, place := bits>>52, bits>>(52-binBits)&(1<<binBits-1)
	if h.bins[exponent] == nil {
		h.bins[exponent] = new([1 << binBits]bin)
	}
	b := &h.bins[exponent][place]
	if b.count == 0 || v < b.least {
		b.least = v
	}
	b.count++
	h.count++
}

// median returns the middle number of all and of some zeros, or the lower one of two. It is at most
// 0.1 % too small, and NaN without any number.
func (h *histogram) median(zeros int) float64 {
	all := zeros + h.count
	if all == 0 {
		return math.NaN()
	}
	before := (all-1)/2 - zeros // numbers below the middle
	if before < 0 {
		return 0
	}
	for _, row := range h.bins {
		if row == nil {
			continue
		}
		for _, b := range row {
			if before < b.count {
				return b.least
			}
			before -= b.count
		}
	}
	return math.Inf(1) // not reached
}
