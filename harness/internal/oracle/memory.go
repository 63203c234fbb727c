package oracle

import "sync"

// spare holds memory that no computation needs any more. New memory costs more than the products of
// a small layer, because the system clears each page at its first use.
var spare = sync.Pool{New: func() any { return new([]float64) }}

// borrow returns n numbers of any value.
func borrow(n int) []float64 {
	memory := *spare.Get().(*[]float64)
	if cap(memory) < n {
		return make([]float64, n)
	}
	return memory[:n]
}

// giveBack lets the next [borrow] take memory that its caller no longer needs.
func giveBack(memory []float64) { spare.Put(&memory) }
