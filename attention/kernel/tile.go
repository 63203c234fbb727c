package kernel

// panelWidth returns the number of columns in a panel: two vectors of 512 bits. Panels do not
// depend on the machine.
func panelWidth[F Float]() int {
	var f any = F(0)
	if _, ok := f.(float32); ok {
		return 32
	}
	return 16
}

// tile is a function in assembly that multiplies some rows at once:
//
//	c (rows, cols) += a (rows, k) b (k, cols)
//
// Rows begin lda, ldb and ldc elements apart. k is at least 1. If add is 0, c begins as zeros.
type tile[F Float] struct {
	rows   int
	mulAdd func(k int, a *F, lda int, b *F, ldb int, c *F, ldc int, cols, add int)
}

// together is the number of bytes of panels that are multiplied by all rows before the next
// panels: so few that they stay in a processor's second cache.
const together = 1 << 19

// inTiles is multiply with the tiles of a set.
func (r Right[F]) inTiles(k *kernels[F], rows int, a []F, lda int, c []F, ldc, add int) {
	columns := max(1, together/(panelWidth[F]()*sizeOf[F]()*r.rows)) * panelWidth[F]()
	if rows >= k.tiles[0].rows && lda*sizeOf[F]()%4096 == 0 {
		a, lda = apart(a, rows, r.rows, lda)
	}
	for first := 0; first < r.cols; first += columns {
		end := min(r.cols, first+columns)
		for row, n := 0, 0; row < rows; row += k.tiles[n].rows {
			for n = 0; k.tiles[n].rows > rows-row; {
				n++
			}
			for col := first; col < end; col += k.width {
				at := col/panelWidth[F]()*r.panel + col%panelWidth[F]()
				k.tiles[n].mulAdd(r.rows, &a[row*lda], lda, &r.data[at], r.stride,
					&c[row*ldc+col], ldc, min(k.width, end-col), add)
			}
		}
	}
}

// apart copies a matrix whose rows begin a multiple of 4 KiB apart: such rows push each other out
// of a processor's first cache.
func apart[F Float](a []F, rows, k, lda int) ([]F, int) {
	stride := k + 64/sizeOf[F]()
	if stride*sizeOf[F]()%4096 == 0 {
		stride += 64 / sizeOf[F]()
	}
	out := make([]F, rows*stride)
	for row := range rows {
		copy(out[row*stride:][:k], a[row*lda:])
	}
	return out, stride
}

func sizeOf[F Float]() int { return 128 / panelWidth[F]() }
