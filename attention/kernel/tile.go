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
// other out of a processor's first cache. inTiles has the rows of a tile copied side by side, a
// part at a time: every chain goes on where the part before ended.
func (r Right[F]) inTiles(k *kernels[F], rows int, a []F, lda int, c []F, ldc, add int) {
	if rows < k.tiles[0].rows || lda*sizeOf[F]()%4096 > 0 {
		r.inPanels(k, rows, a, lda, c, ldc, add, nil)
		return
	}
	part := min(r.rows, 2048/sizeOf[F]())
	copies := make([]F, k.tiles[0].rows*(part+64/sizeOf[F]()))
	for first := 0; first < r.rows; first += part {
		r.Rows(first, min(part, r.rows-first)).inPanels(k, rows, a[first:], lda, c, ldc, add, copies)
		add = 1
	}
}

// inPanels is inTiles without copies, or with copies of the rows of a tile in the given memory.
func (r Right[F]) inPanels(k *kernels[F], rows int, a []F, lda int, c []F, ldc, add int, copies []F) {
	columns := max(1, together/(panelWidth[F]()*sizeOf[F]()*r.rows)) * panelWidth[F]()
	for first := 0; first < r.cols; first += columns {
		end := min(r.cols, first+columns)
		for row, n := 0, 0; row < rows; row += k.tiles[n].rows {
			for n = 0; k.tiles[n].rows > rows-row; {
				n++
			}
			left, stride := a[row*lda:], lda
			if copies != nil {
				left, stride = copies, len(copies)/k.tiles[0].rows
				for i := range k.tiles[n].rows {
					copy(left[i*stride:][:r.rows], a[(row+i)*lda:])
				}
			}
			for col := first; col < end; col += k.width {
				at := col/panelWidth[F]()*r.panel + col%panelWidth[F]()
				k.tiles[n].mulAdd(r.rows, &left[0], stride, &r.data[at], r.stride,
					&c[row*ldc+col], ldc, min(k.width, end-col), add)
			}
		}
	}
}

func sizeOf[F Float]() int { return 128 / panelWidth[F]() }
