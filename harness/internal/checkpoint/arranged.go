package checkpoint

import (
	"fmt"
	"iter"
	"math"
	"slices"
	"strings"

	"github.com/difftest/difftest/attention"
)

// rearranged recognises the right values in another order or another shape, and says what to do.
// It is empty if they are not the right values, or if their equality would prove nothing.
func rearranged(got, want numbers) string {
	if len(got.values) != len(want.values) || !want.tells(got.grain) || !got.tells(want.grain) {
		return ""
	}
	g, w := got.grid(), want.grid()
	reversed := slices.Clone(want.shape)
	slices.Reverse(reversed)
	if len(want.shape) == 2 && slices.Equal(got.shape, reversed) && equalGrids(g.transposed(), w) {
		return "it is transposed: load its transpose"
	}
	if text := permuted(got, want); text != "" {
		return text
	}
	if !slices.Equal(got.shape, want.shape) {
		if got.equals(want) {
			return fmt.Sprintf("it has the right values in another shape, %s: reshape it",
				attention.FormatShape(got.shape))
		}
		return ""
	}
	if len(want.shape) == 1 {
		return reordered(g, w, "element")
	}
	if text := reordered(g, w, "row"); text != "" {
		return text
	}
	if text := turnedBlocks(g, w); text != "" || len(want.shape) != 2 {
		return text
	}
	return reordered(g.transposed(), w.transposed(), "column")
}

// permuted recognises the axes of three or four dimensions in another order.
func permuted(got, want numbers) string {
	if len(got.shape) != len(want.shape) || len(want.shape) < 3 || len(want.shape) > 4 {
		return ""
	}
	for axes := range permutations(len(want.shape)) {
		if !slices.IsSorted(axes) && got.permutes(want, axes) {
			return fmt.Sprintf("its axes are permuted: permute%s of it is right", attention.FormatShape(axes))
		}
	}
	return ""
}

// permutes reports whether want holds the same numbers with their axes permuted by torch.permute.
func (a numbers) permutes(want numbers, axes []int) bool {
	strides := make([]int, len(axes))
	for d, axis := range axes {
		if a.shape[axis] != want.shape[d] {
			return false
		}
		strides[d] = 1
		for _, n := range a.shape[axis+1:] {
			strides[d] *= n
		}
	}
	for i := range want.values {
		from, left := 0, i
		for d := len(axes) - 1; d >= 0; d-- {
			from += left % want.shape[d] * strides[d]
			left /= want.shape[d]
		}
		if !a.matches(from, want, i) {
			return false
		}
	}
	return true
}

// permutations yields the orders of n axes.
func permutations(n int) iter.Seq[[]int] {
	return func(yield func([]int) bool) {
		var extend func(chosen []int) bool
		extend = func(chosen []int) bool {
			if len(chosen) == n {
				return yield(chosen)
			}
			for axis := range n {
				if !slices.Contains(chosen, axis) && !extend(append(slices.Clone(chosen), axis)) {
					return false
				}
			}
			return true
		}
		extend(nil)
	}
}

func equalGrids(g, w grid) bool {
	return g.rows == w.rows && g.columns == w.columns && g.rowsEqual(w, func(r int) int { return r })
}

// turnedBlocks recognises a stack of square matrices that were transposed one by one.
func turnedBlocks(got, want grid) string {
	n := got.columns
	if n == 0 || got.rows%n != 0 || got.rows == n {
		return ""
	}
	for r := range got.rows {
		for c := range n {
			if !got.matches(r*got.byRow+c*got.byColumn, want.numbers, (r/n*n+c)*want.byRow+r%n*want.byColumn) {
				return ""
			}
		}
	}
	return fmt.Sprintf("each of its %d blocks of %d rows is transposed: transpose each", got.rows/n, n)
}

// mostRuns is the number of runs of rows that a line can name.
const mostRuns = 4

// reordered recognises rows in another order. The word for a row may also be element or column.
func reordered(got, want grid, what string) string {
	moves, ok := got.moved(want, mostRuns)
	if ok && len(moves) == 2 && moves[0].rows == moves[1].rows {
		return fmt.Sprintf("its two halves are exchanged: %s %d is first", what, moves[0].at)
	}
	if ok && len(moves) == 2 {
		return fmt.Sprintf("its %ss are shifted: %s %d is first", what, what, moves[0].at)
	}
	if o, ok := got.exchanged(want); ok {
		return o.text(what)
	}
	if text := regrouped(got, want, what); text != "" {
		return text
	}
	if ok {
		var runs []string
		at := 0
		for _, m := range moves {
			runs = append(runs, fmt.Sprintf("%s hold %s", spanText(at, m.rows), spanText(m.at, m.rows)))
			at += m.rows
		}
		return fmt.Sprintf("its %ss stand in another order: %s", what, strings.Join(runs, ", "))
	}
	if sameRows(got, want) {
		return fmt.Sprintf("it has the right %ss in another order", what)
	}
	return ""
}

// spanText names a run of rows.
func spanText(at, rows int) string {
	if rows == 1 {
		return fmt.Sprint(at)
	}
	return fmt.Sprintf("%d to %d", at, at+rows-1)
}

// text says which two dimensions to exchange, without dimensions of 1.
func (o order) text(what string) string {
	dims := func(middle ...int) string {
		var kept []int
		for _, d := range slices.Concat([]int{o.outer}, middle, []int{o.inner}) {
			if d > 1 {
				kept = append(kept, d)
			}
		}
		return attention.FormatShape(kept)
	}
	text := fmt.Sprintf("its %ss count %s where the case counts %s: reshape them so and exchange %d and %d",
		what, dims(o.second, o.first), dims(o.first, o.second), o.second, o.first)
	switch {
	case o.outer == 1 || o.inner > 1:
	case o.first == 2:
		text += " (pairs of neighbours are the order for interleaved RoPE)"
	case o.second == 2:
		text += " (pairs of neighbours, as the case has them, are the order for interleaved RoPE)"
	}
	return text
}

// regrouped recognises a stack of queries, keys and values that stands group by group on one side,
// and all queries, all keys, all values on the other.
func regrouped(got, want grid, what string) string {
	for groups := 2; groups <= got.rows; groups++ {
		for size := 1; got.rows%groups == 0 && size*4 <= got.rows/groups; size++ {
			if got.rows/groups%size != 0 {
				continue
			}
			g := grouping{groups, got.rows/groups/size - 2, size}
			if got.rowsEqual(want, g.row) {
				return fmt.Sprintf("its %ss stand %s, where the case has %s: stack them "+
					"so", what, g.grouped(), g.apart())
			}
			if want.rowsEqual(got, g.row) {
				return fmt.Sprintf("it has %s %ss, where the case has them %s: stack them "+
					"so", g.apart(), what, g.grouped())
			}
		}
	}
	return ""
}

// grouping counts the heads of a stack of grouped queries, keys and values, each of size rows.
type grouping struct{ groups, queries, size int }

// row returns the place, where all queries precede all keys, of a row that stands in its group.
func (g grouping) row(r int) int {
	each := (g.queries + 2) * g.size
	group, r := r/each, r%each
	head := r / g.size
	if head < g.queries {
		return group*g.queries*g.size + r
	}
	return (g.groups*head+group)*g.size + r%g.size // after all queries, and all keys for a value
}

// sameRows reports whether two grids have the same rows, bit by bit, in any order.
func sameRows(got, want grid) bool {
	if got.rows != want.rows || got.columns != want.columns {
		return false
	}
	left := map[string]int{}
	for r := range want.rows {
		left[want.rowKey(r)]++
	}
	for r := range got.rows {
		key := got.rowKey(r)
		if left[key]--; left[key] < 0 {
			return false
		}
	}
	return true
}

func (g grid) rowKey(r int) string {
	key := make([]byte, 0, 8*g.columns)
	for c := range g.columns {
		bits := math.Float64bits(g.values[r*g.byRow+c*g.byColumn])
		for shift := 0; shift < 64; shift += 8 {
			key = append(key, byte(bits>>shift))
		}
	}
	return string(key)
}

func (g grouping) grouped() string {
	return fmt.Sprintf("in %d groups of %d, %d and %d, as queries, keys and values by head",
		g.groups, g.queries*g.size, g.size, g.size)
}

func (g grouping) apart() string {
	return fmt.Sprintf("all %d, all %d, all %d", g.groups*g.queries*g.size, g.groups*g.size, g.groups*g.size)
}
