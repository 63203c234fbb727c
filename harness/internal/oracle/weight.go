package oracle

import (
	"github.com/difftest/difftest/attention/kernel"
	"github.com/difftest/difftest/harness/internal/num"
)

// weight is the weight of a projection, (out, in), or the squares of its elements.
type weight struct {
	value   []float64
	in, out int
	squared bool

	transposed kernel.Right[float64] // (in, out), if it is made
	made       bool
}

// right returns the transpose.
func (w *weight) right() kernel.Right[float64] {
	if !w.made {
		w.transposed, w.made = transposed(w.value, w.in, w.out), true
		if w.squared {
			w.transposed.Squared()
		}
	}
	return w.transposed
}

// transposed returns the transpose of a matrix (rows, columns) in borrowed memory.
func transposed(values []float64, columns, rows int) kernel.Right[float64] {
	memory := borrow(kernel.SizeOfTransposed[float64](columns, rows))
	return kernel.Transposed(values, columns, rows, columns, memory)
}

// square replaces the elements by their squares. What right returned before is no longer valid.
func (w *weight) square() {
	w.squared = true
	if w.made {
		w.transposed.Squared()
	}
}

// release ends the use of the weight, and gives the memory of the transpose back.
func (w *weight) release() {
	if w.made {
		giveBack(w.transposed.Memory())
	}
}

// leastTogether and mostTogether are the rows of a left factor, at least and at most, that one core
// multiplies with all of a right factor. Many rows read a large factor less often. Both are
// multiples of the rows that the kernels multiply at once.
const leastTogether, mostTogether = 24, 192

// multiply writes the given rows of x W^T to y: (rows, in) and (out, in) -> (rows, out). No number
// depends on the other rows that are computed.
func (s *pass) multiply(y, x []float64, w *weight, rows rowSet) {
	count := len(x) / w.in
	few := rows.indices()
	if rows == nil {
		few = num.UpTo(count)
	}
	if right, ok := s.cache.outputOf(s, w); ok {
		s.multiplyGathered(y, x, right, w, few)
		return
	}
	if 4*len(few) <= w.out {
		s.multiplyFew(y, x, w, few)
		return
	}
	right, together := w.right(), min(max(count/8/leastTogether*leastTogether, leastTogether), mostTogether)
	s.parallel((count+together-1)/together, together*w.in*w.out, func(block int) {
		end := min(count, (block+1)*together)
		for row := block * together; row < end; {
			n := 0
			for row+n < end && rows.has(row+n) {
				n++
			}
			right.Mul(n, x[row*w.in:], w.in, y[row*w.out:], w.out)
			row += n + 1
		}
	})
}

// multiplyGathered is multiply for rows side by side, with the transpose of the weight.
func (s *pass) multiplyGathered(y, x []float64, right kernel.Right[float64], w *weight, rows []int) {
	left, product := rowsOf(x, rows, w.in), borrow(len(rows)*w.out)
	defer giveBack(left)
	defer giveBack(product)
	s.parallel((len(rows)+mostTogether-1)/mostTogether, mostTogether*w.in*w.out, func(block int) {
		first := block * mostTogether
		n := min(mostTogether, len(rows)-first)
		right.Mul(n, left[first*w.in:], w.in, product[first*w.out:], w.out)
	})
	for i, row := range rows {
		copy(y[row*w.out:][:w.out], product[i*w.out:])
	}
}

// multiplyFew is multiply for few rows. It computes W x^T, and so reads the weight once and never
// transposes it. Every number has the same bits.
func (s *pass) multiplyFew(y, x []float64, w *weight, rows []int) {
	n := len(rows)
	if n == 0 {
		return
	}
	few := rowsOf(x, rows, w.in)
	right := transposed(few, w.in, n)
	giveBack(few)
	defer giveBack(right.Memory())
	s.parallel((w.out+mostTogether-1)/mostTogether, mostTogether*w.in*n, func(block int) {
		first := block * mostTogether
		count := min(mostTogether, w.out-first)
		product := borrow(count * n)
		defer giveBack(product)
		left := w.value[first*w.in:][:count*w.in]
		if w.squared {
			memory := borrow(len(left))
			defer giveBack(memory)
			squaresTo(memory, left)
			left = memory
		}
		right.Mul(count, left, w.in, product, n)
		for i, row := range rows {
			for o := range count {
				y[row*w.out+first+o] = product[o*n+i]
			}
		}
	})
}

// rowsOf copies rows side by side into borrowed memory.
func rowsOf(x []float64, rows []int, width int) []float64 {
	out := borrow(len(rows) * width)
	for i, row := range rows {
		copy(out[i*width:][:width], x[row*width:])
	}
	return out
}
