package checkpoint

// grid is an array as a matrix: the last dimension is the columns, all others are the rows. A
// vector has one column. Transposing it moves nothing.
type grid struct {
	numbers
	rows, columns      int
	byRow, byColumn    int // from an element to the next row, and to the next column
	turned, hasColumns bool
}

func (a numbers) grid() grid {
	if len(a.shape) < 2 {
		return grid{numbers: a, rows: len(a.values), columns: 1, byRow: 1}
	}
	columns := a.shape[len(a.shape)-1]
	if columns == 0 {
		return grid{numbers: a}
	}
	return grid{a, len(a.values) / columns, columns, columns, 1, false, columns > 1}
}

// transposed exchanges rows and columns.
func (g grid) transposed() grid {
	return grid{g.numbers, g.columns, g.rows, g.byColumn, g.byRow, !g.turned, g.hasColumns}
}

// sides returns the grid and, if it is a matrix, its transpose.
func (g grid) sides() []grid {
	if !g.hasColumns || len(g.shape) != 2 {
		return []grid{g}
	}
	return []grid{g, g.transposed()}
}

// rowEquals reports whether a row matches a row of another grid with as many columns.
func (g grid) rowEquals(r int, other grid, q int) bool {
	for c := range g.columns {
		if !g.matches(r*g.byRow+c*g.byColumn, other.numbers, q*other.byRow+c*other.byColumn) {
			return false
		}
	}
	return true
}

// rowsEqual reports whether each row matches the row of another grid that place gives for it.
func (g grid) rowsEqual(other grid, place func(row int) int) bool {
	for r := range g.rows {
		if !g.rowEquals(r, other, place(r)) {
			return false
		}
	}
	return true
}

// blocks places the rows of a part in a whole: count blocks of size rows. The first begins at row
// at, each further one step rows later.
type blocks struct{ count, size, step, at int }

// row returns the row of the whole for a row of the part.
func (b blocks) row(r int) int { return r/b.size*b.step + b.at + r%b.size }

// within finds the rows of a part in a whole with more rows: all together, or in equal blocks at
// equal distances, such as one block a head.
func (g grid) within(whole grid) (blocks, bool) {
	if g.columns != whole.columns || g.rows == 0 || g.rows >= whole.rows {
		return blocks{}, false
	}
	for count := 1; count <= g.rows; count++ {
		if g.rows%count != 0 || whole.rows%count != 0 {
			continue
		}
		b := blocks{count: count, size: g.rows / count, step: whole.rows / count}
		for b.at = 0; b.at+b.size <= b.step; b.at++ {
			if g.rowsEqual(whole, b.row) {
				return b, true
			}
		}
	}
	return blocks{}, false
}

// order is another order of rows. Their index counts four dimensions (outer, first, second, inner),
// and the middle two are exchanged.
type order struct{ outer, first, second, inner int }

// row returns the place that a row came from. first and second are the right dimensions.
func (o order) row(r int) int {
	inner, r := r%o.inner, r/o.inner
	first, r := r%o.first, r/o.first
	second, outer := r%o.second, r/o.second
	return ((outer*o.first+first)*o.second+second)*o.inner + inner
}

// probable compares a few rows that the order moves. It rules most orders out at little cost.
func (o order) probable(got, right grid) bool {
	for _, r := range []int{o.inner, got.rows / 2, got.rows - 1 - o.inner} {
		if !got.rowEquals(r, right, o.row(r)) {
			return false
		}
	}
	return true
}

// exchanged finds the order in which a grid has the rows of another one, if it is one of exchanged
// dimensions.
func (g grid) exchanged(right grid) (order, bool) {
	divides := func(n int, do func(d int) bool) bool {
		for d := 1; d <= n; d++ {
			if n%d == 0 && do(d) {
				return true
			}
		}
		return false
	}
	var found order
	ok := g.rows > 0 && g.rows == right.rows && g.columns == right.columns && divides(g.rows, func(outer int) bool {
		return divides(g.rows/outer, func(inner int) bool {
			return divides(g.rows/outer/inner, func(first int) bool {
				found = order{outer, first, g.rows / outer / inner / first, inner}
				return found.first > 1 && found.second > 1 && found.probable(g, right) && g.rowsEqual(right, found.row)
			})
		})
	})
	return found, ok
}

// move says that rows from at of the right grid stand in a run of rows.
type move struct{ at, rows int }

// moved finds the rows of the right grid in another order, as at most most runs. Every row must be
// found once.
func (g grid) moved(right grid, most int) ([]move, bool) {
	if g.columns != right.columns || g.rows != right.rows {
		return nil, false
	}
	var moves []move
	used := make([]bool, right.rows)
	for r := 0; r < g.rows; {
		if len(moves) == most {
			return nil, false
		}
		best := move{}
		for at := range right.rows {
			n := 0
			for r+n < g.rows && at+n < right.rows && !used[at+n] && g.rowEquals(r+n, right, at+n) {
				n++
			}
			if n > best.rows {
				best = move{at, n}
			}
		}
		if best.rows == 0 {
			return nil, false
		}
		for i := range best.rows {
			used[best.at+i] = true
		}
		moves, r = append(moves, best), r+best.rows
	}
	return moves, true
}
