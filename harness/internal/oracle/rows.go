package oracle

import (
	"slices"

	"github.com/difftest/difftest/harness/internal/num"
)

// wanted says which of some rows are computed; nil: all of them. Rows that are not wanted stay zero, and
// nobody reads them.
type wanted []bool

func (w wanted) has(i int) bool { return w == nil || w[i] }

// count says how many of n rows are wanted.
func (w wanted) count(n int) int {
	if w == nil {
		return n
	}
	count := 0
	for _, has := range w {
		if has {
			count++
		}
	}
	return count
}

// before is which rows of a result, (..., L, Ev), must be known before [Hooks.Finish] moves them. It is
// learned from where a field of numbered elements goes.
func (p *Problem) before(rows []int, shape []int) wanted {
	if rows == nil {
		return nil
	}
	width := num.Last(shape)
	all := make(wanted, num.Size(shape)/width)
	if p.Finish == nil {
		for _, row := range rows {
			all[row] = true
		}
		return all
	}
	numbered := newField(false, shape...)
	for i := range numbered.Value {
		numbered.Value[i] = float64(i + 1)
	}
	moved := p.Finish(numbered)
	width = num.Last(moved.Shape)
	for _, row := range rows {
		for _, number := range moved.Value[row*width:][:width] {
			if number > 0 { // 0 came from nowhere
				all[(int(number)-1)/num.Last(shape)] = true
			}
		}
	}
	return all
}

// lines are the queries of each head, (..., H, L), whose context some rows of the result need.
func (p *Problem) lines(rows wanted) wanted {
	if rows == nil || p.Layer == nil {
		return rows
	}
	s := Sizes{p.Query.Shape[1], p.Layer.Heads, num.Last(p.Value.Shape)}
	s.Width = p.Layer.Value.Out / p.Layer.KVHeads
	all := make(wanted, p.Query.Shape[0]*s.Heads*s.Length)
	s.eachRun(p.Query.Shape[0], p.Layer.MergeIndex, func(together, apart, _ int) {
		if rows[together/(s.Heads*s.Width)] {
			all[apart/s.Width] = true
		}
	})
	if p.Mix != nil {
		all.spread(p.Query.Shape[0], s.Heads, s.Length, sameRow)
	}
	return all
}

// spread makes all lines wanted that belong together with a wanted one: those of (batch, heads, length)
// that have the same number.
func (w wanted) spread(batch, heads, length int, number func(b, h, i int) [2]int) {
	together := map[[2]int]bool{}
	for n, has := range w {
		if has {
			together[number(n/length/heads, n/length%heads, n%length)] = true
		}
	}
	for n := range w {
		w[n] = together[number(n/length/heads, n/length%heads, n%length)]
	}
}

// sameRow numbers the lines of all heads at one position of a batch element.
func sameRow(b, _, i int) [2]int { return [2]int{b, i} }

// queryRows are the rows of the query input, (B, L), that some lines need.
func (p *Problem) queryRows(lines wanted) wanted {
	if lines == nil || p.Layer.SplitIndex != nil || p.Prepare != nil {
		return nil
	}
	length := p.Query.Shape[1]
	rows := make(wanted, p.Query.Shape[0]*length)
	for n, has := range lines {
		if has {
			rows[n/length/p.Layer.Heads*length+n%length] = true
		}
	}
	return rows
}

// keyRows are the rows of the key and value inputs, (B, S), that some lines need: those of the batch
// elements whose heads serve them.
func (p *Problem) keyRows(lines wanted) wanted {
	if lines == nil || p.Prepare != nil {
		return nil
	}
	queries, keys := p.Query.Shape[1], p.Key.Shape[1]
	rows := make(wanted, p.Key.Shape[0]*keys)
	for n, has := range lines {
		if b := p.partner(n/queries) / p.Layer.KVHeads; has && !rows[b*keys] {
			for j := range keys {
				rows[b*keys+j] = true
			}
		}
	}
	if !slices.Contains(rows, false) {
		return nil
	}
	return rows
}

// partner is the head of key and value that serves a query head; both count over the whole batch.
func (p *Problem) partner(head int) int {
	if p.KVHead != nil {
		return p.KVHead(head)
	}
	if p.Layer != nil {
		return head / (p.Layer.Heads / p.Layer.KVHeads)
	}
	return head / (p.heads() / p.Key.Shape[len(p.Key.Shape)-3])
}
