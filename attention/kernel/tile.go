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
// Rows begin lda, ldb and ldc elements apart. k is at least 1.
type tile[F Float] struct {
	rows   int
	mulAdd func(k int, a *F, lda int, b *F, ldb int, c *F, ldc int, cols int)
}

// together is the number of bytes of panels that are multiplied by all rows before the next
// panels: so few that they stay in a processor's second cache.
const together = 1 << 19

// inTiles is MulAdd with the tiles of a set.
func (r Right[F]) inTiles(k *kernels[F], rows int, a []F, lda int, c []F, ldc int) {
	tiles, width := k.tiles, k.width
	columns := max(1, together/(panelWidth[F]()*sizeOf[F]()*r.rows)) * panelWidth[F]()
	apart := spread[F]{a: a, lda: lda}
	if rows >= tiles[0].rows {
		apart.prepare(tiles[0].rows, r.rows)
	}
	for first := 0; first < r.cols; first += columns {
		end := min(r.cols, first+columns)
		for row, n := 0, 0; row < rows; row += tiles[n].rows {
			for n = 0; tiles[n].rows > rows-row; {
				n++
			}
			left, stride := apart.rows(row, tiles[n].rows, r.rows)
			for col := first; col < end; col += width {
				at := col/panelWidth[F]()*r.panel + col%panelWidth[F]()
				tiles[n].mulAdd(r.rows, &left[0], stride, &r.data[at], r.stride,
					&c[row*ldc+col], ldc, min(width, end-col))
			}
		}
	}
}

// spread gives rows of a left matrix. It copies rows that begin a multiple of 4 KiB apart: such
// rows push each other out of a processor's first cache.
type spread[F Float] struct {
	a      []F
	lda    int
	memory []F
}

func (s *spread[F]) prepare(rows, k int) {
	if s.lda*sizeOf[F]()%4096 == 0 && k > 64 {
		s.memory = make([]F, rows*(k+16))
	}
}

// rows returns rows of k elements from a row on, and their stride.
func (s *spread[F]) rows(first, rows, k int) ([]F, int) {
	from := s.a[first*s.lda:]
	if s.memory == nil {
		return from, s.lda
	}
	for row := range rows {
		copy(s.memory[row*(k+16):][:k], from[row*s.lda:])
	}
	return s.memory, k + 16
}

func sizeOf[F Float]() int { return 128 / panelWidth[F]() }
