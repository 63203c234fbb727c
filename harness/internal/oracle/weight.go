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
		w.transposed, w.made = kernel.Transposed(w.value, w.in, w.out, w.in, borrow(0)), true
		if w.squared {
			w.transposed.Squared()
		}
	}
	return w.transposed
}

// square replaces the elements by their squares. What right returned before is no longer valid.
func (w *weight) square() {
	w.squared = true
	if w.made {
		w.transposed.Squared()
	}
}

// release gives the memory of the transpose back. The result of right is no longer valid.
func (w *weight) release() {
	if w.made {
		giveBack(w.transposed.Memory())
		w.made = false
	}
}

// rows returns n rows, from first on.
func (w *weight) rows(first, n int) []float64 {
	part := w.value[first*w.in:][:n*w.in]
	if w.squared {
		return squares(part)
	}
	return part
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
	if 4*len(few) <= w.out {
		s.multiplyFew(y, x, w, few)
		return
	}
	right, together := w.right(), min(max(count/8/leastTogether*leastTogether, leastTogether), mostTogether)
	s.parallel((count+together-1)/together, together*w.in*w.out, func(block int) {
		end := min(count, (block+1)*together)
		for row := block * together; row < end; row++ {
			n := 0
			for row+n < end && rows.has(row+n) {
				n++
			}
			right.Mul(n, x[row*w.in:], w.in, y[row*w.out:], w.out)
			row += n
		}
	})
}

// multiplyFew is multiply for few rows. It computes W x^T, and so reads the weight once and never
// transposes it. Every number has the same bits.
func (s *pass) multiplyFew(y, x []float64, w *weight, rows []int) {
	n := len(rows)
	if n == 0 {
		return
	}
	right := kernel.Transposed(rowsOf(x, rows, w.in), w.in, n, w.in, borrow(0))
	defer giveBack(right.Memory())
	s.parallel((w.out+mostTogether-1)/mostTogether, mostTogether*w.in*n, func(block int) {
		first := block * mostTogether
		count := min(mostTogether, w.out-first)
		product := borrow(count * n)
		defer giveBack(product)
		right.Mul(count, w.rows(first, count), w.in, product, n)
		for i, row := range rows {
			for o := range count {
				y[row*w.out+first+o] = product[o*n+i]
			}
		}
	})
}

// rowsOf copies rows side by side.
func rowsOf(x []float64, rows []int, width int) []float64 {
	out := make([]float64, 0, len(rows)*width)
	for _, row := range rows {
		out = append(out, x[row*width:][:width]...)
	}
	return out
}
