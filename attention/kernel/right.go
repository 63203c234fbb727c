package kernel

// Float is the type of the elements of a matrix.
type Float interface{ float32 | float64 }

// Right is the right factor of matrix products. Its columns form panels.
type Right[F Float] struct {
	rows, cols int
	data       []F
	stride     int // elements from a row of a panel to its next row
	panel      int // elements from a panel to the next panel
}

// NewRight returns a matrix (rows, cols) without copying it. Its rows begin a stride apart.
func NewRight[F Float](data []F, rows, cols, stride int) Right[F] {
	return Right[F]{rows, cols, data, stride, panelWidth[F]()}
}

// SizeOfTransposed returns how many elements of memory [Transposed] takes.
func SizeOfTransposed[F Float](rows, cols int) int {
	width := panelWidth[F]()
	return (cols + width - 1) / width * width * rows
}

// Transposed returns the transpose (rows, cols) of a matrix whose rows begin a stride apart. The
// copy is in memory if memory has room for it.
func Transposed[F Float](data []F, rows, cols, stride int, memory []F) Right[F] {
	width, size := panelWidth[F](), SizeOfTransposed[F](rows, cols)
	if cap(memory) < size {
		memory = make([]F, size)
	}
	r := Right[F]{rows, cols, memory[:size], width, width * rows}
	for first := 0; first < cols; first += width {
		panel := r.data[first/width*r.panel:][:r.panel]
		fill(panel, data[first*stride:], width, rows, min(width, cols-first), stride)
	}
	return r
}

// Memory returns the memory of a matrix that [Transposed] returned, for another one to take its
// place. Memory returns nil for the zero Right.
func (r Right[F]) Memory() []F { return r.data }

// fill copies rows of a matrix into the columns of a panel, which has the given width. It takes
// short parts of the rows in turn, so that a part of the panel stays in a processor's first cache.
func fill[F Float](panel, data []F, width, rows, cols, stride int) {
	const part = 32
	for first := 0; first < rows; first += part {
		n := min(part, rows-first)
		for c := range cols {
			to := panel[first*width+c:]
			for p, v := range data[c*stride+first:][:n] {
				to[p*width] = v
			}
		}
	}
}

// Squared replaces each element of a matrix that [Transposed] returned by its square.
func (r Right[F]) Squared() Right[F] {
	for i, v := range r.data {
		r.data[i] = v * v
	}
	return r
}

// Rows returns n rows, from first on.
func (r Right[F]) Rows(first, n int) Right[F] {
	r.data, r.rows = r.data[min(first*r.stride, len(r.data)):], n
	return r
}

// Columns returns the columns before end, from the panel that has column first on. It also returns
// the index of the panel's first column.
func (r Right[F]) Columns(first, end int) (part Right[F], start int) {
	panel := first / panelWidth[F]()
	r.data = r.data[min(panel*r.panel, len(r.data)):]
	start = panel * panelWidth[F]()
	r.cols = min(r.cols, end) - start
	return r, start
}

// MulAdd adds the product of a (rows, k) and r (k, cols) to c (rows, cols). Rows of a and of c
// begin lda and ldc elements apart.
func (r Right[F]) MulAdd(rows int, a []F, lda int, c []F, ldc int) {
	if rows > 0 && r.rows > 0 && r.cols > 0 {
		r.multiply(rows, a, lda, c, ldc, 1)
	}
}

// Mul writes the product to c. It has the bits of a [Right.MulAdd] to zeros.
func (r Right[F]) Mul(rows int, a []F, lda int, c []F, ldc int) {
	if rows > 0 && r.rows > 0 && r.cols > 0 {
		r.multiply(rows, a, lda, c, ldc, 0)
		return
	}
	for row := range rows {
		clear(c[row*ldc:][:r.cols])
	}
}

// multiply is MulAdd, or Mul if add is 0, of matrices that have elements.
func (r Right[F]) multiply(rows int, a []F, lda int, c []F, ldc, add int) {
	last := (r.cols - 1) / panelWidth[F]()
	_ = a[:(rows-1)*lda+r.rows]
	_ = c[:(rows-1)*ldc+r.cols]
	_ = r.data[:last*r.panel+(r.rows-1)*r.stride+(r.cols-1)%panelWidth[F]()+1]
	if k := kernelsOf[F](); k.tiles != nil {
		r.inTiles(k, rows, a, lda, c, ldc, add)
	} else {
		r.plain(rows, a, lda, c, ldc, add)
	}
}
