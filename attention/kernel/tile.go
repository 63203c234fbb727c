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

// inTiles is multiply with the tiles of a set. Rows that begin a multiple of 4 KiB apart push each
// other out of a processor's first cache. inTiles copies such rows side by side, a part at a time:
// every chain goes on where the part before ended. Where no panel is read twice, the copy has as
// many rows as a tile and stays in that cache.
func (r Right[F]) inTiles(k *kernels[F], rows int, a []F, lda int, c []F, ldc, add int) {
	if rows < k.tiles[0].rows || lda*sizeOf[F]()%4096 > 0 {
		r.inPanels(k, rows, a, lda, c, ldc, add)
		return
	}
	part := min(r.rows, 2048/sizeOf[F]())
	stride, most := part+64/sizeOf[F](), rows
	if r.cols <= columnsTogether[F](part) {
		most = k.tiles[0].rows
	}
	copied := make([]F, most*stride)
	for first := 0; first < r.rows; first += part {
		n := min(part, r.rows-first)
		right := r.Rows(first, n)
		for top := 0; top < rows; top += most {
			count := min(most, rows-top)
			for row := range count {
				copy(copied[row*stride:][:n], a[(top+row)*lda+first:])
			}
			right.inPanels(k, count, copied, stride, c[top*ldc:], ldc, add)
		}
		add = 1
	}
}

// columnsTogether returns how many columns, with so many rows, are multiplied by all rows of a left
// factor before the next columns.
func columnsTogether[F Float](rows int) int {
	return max(1, together/(panelWidth[F]()*sizeOf[F]()*rows)) * panelWidth[F]()
}

// inPanels is inTiles without copies.
func (r Right[F]) inPanels(k *kernels[F], rows int, a []F, lda int, c []F, ldc, add int) {
	columns := columnsTogether[F](r.rows)
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

func sizeOf[F Float]() int { return 128 / panelWidth[F]() }
