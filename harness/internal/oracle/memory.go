package oracle

import (
	"math/bits"
	"sync"

	"github.com/difftest/difftest/harness/internal/num"
)

// spare holds memory that no computation needs any more: under i, arrays with room for at least 2^i
// and fewer than 2^(i+1) numbers. New memory costs more than the products of a small layer, because
// the system clears each page at its first use.
var spare [64]sync.Pool

// borrow returns n numbers of any value.
func borrow(n int) []float64 {
	if n == 0 {
		return nil
	}
	if memory, ok := spare[bits.Len(uint(n))-1].Get().(*[]float64); ok && cap(*memory) >= n {
		return (*memory)[:n]
	}
	return make([]float64, n)
}

// giveBack lets the next [borrow] take memory that its caller no longer needs.
func giveBack(memory []float64) {
	if cap(memory) > 0 {
		spare[bits.Len(uint(cap(memory)))-1].Put(&memory)
	}
}

// Borrow returns n numbers of any value for an array of p. [Problem.GiveBack] ends the use of the
// array.
func (p *Problem) Borrow(n int) []float64 {
	memory := borrow(n)
	p.loans = append(p.loans, memory)
	return memory
}

// BorrowCopy returns a copy of an array in memory of [Problem.Borrow]; nil for nil.
func (p *Problem) BorrowCopy(values []float64) []float64 {
	if values == nil {
		return nil
	}
	memory := p.Borrow(len(values))
	copy(memory, values)
	return memory
}

// GiveBack ends the use of p, whose borrowed arrays others take from then on.
func (p *Problem) GiveBack() {
	for _, memory := range p.loans {
		giveBack(memory)
	}
	p.loans = nil
}

// borrowField returns a field of any values in borrowed memory.
func borrowField(d Detail, shape ...int) Field {
	n := num.Size(shape)
	f := Field{Shape: shape, Value: borrow(n)}
	if d == WithNoise {
		f.Variance = borrow(n)
	}
	return f
}

// clear sets all values and variances to zero.
func (f Field) clear() {
	clear(f.Value)
	clear(f.Variance)
}

// giveBack gives back the arrays of a field that nothing else uses.
func (f Field) giveBack() {
	giveBack(f.Value)
	giveBack(f.Variance)
}
