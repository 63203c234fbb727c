package oracle

import (
	"slices"

	"github.com/difftest/difftest/harness/internal/num"
)

// rowSet marks the rows of an array that are computed; nil marks all of them. Other rows stay zero
// and are never read.
type rowSet []bool

func (r rowSet) has(i int) bool { return r == nil || r[i] }

// indices returns the rows of a set; nil for all rows.
func (r rowSet) indices() []int {
	var all []int
	for i, has := range r {
		if has {
			all = append(all, i)
		}
	}
	return all
}

// rowsBeforeFinish returns the rows of the result that must be known before [Hooks.Finish] moves
// its elements. It finds them by letting Finish move the numbers of all elements.
func (p *Problem) rowsBeforeFinish(rows []int, shape []int) rowSet {
	if rows == nil {
		return nil
	}
	width := num.Last(shape)
	all := make(rowSet, num.Size(shape)/width)
	if p.Finish == nil {
		for _, row := range rows {
			all[row] = true
		}
		return all
	}
	numbered := newField(ValuesAlone, shape...)
	for i := range numbered.Value {
		numbered.Value[i] = float64(i + 1)
	}
	moved := p.Finish(numbered)
	width = num.Last(moved.Shape)
	for _, row := range rows {
		for _, number := range moved.Value[row*width:][:width] {
			if number > 0 { // 0 is no element of the result
				all[(int(number)-1)/num.Last(shape)] = true
			}
		}
	}
	return all
}

// contextRows returns the context rows that some rows of the result need.
func (p *Problem) contextRows(rows rowSet) rowSet {
	if rows == nil || p.Layer == nil {
		return rows
	}
	batch := p.Query.Shape[0]
	s := Sizes{p.Query.Shape[1], p.Layer.Heads, p.Layer.Value.Out / p.Layer.KVHeads}
	all := make(rowSet, batch*s.Heads*s.Length)
	s.eachRun(batch, p.Layer.MergeIndex, func(merged, split, _ int) {
		if rows[merged/(s.Heads*s.Width)] {
			all[split/s.Width] = true
		}
	})
	if p.Mix != nil {
		all.addOtherHeads(batch, s.Heads, s.Length)
	}
	return all
}

// addOtherHeads adds to each context row the rows of the other heads at its position.
func (r rowSet) addOtherHeads(batch, heads, length int) {
	for b := range batch {
		for t := range length {
			needed := false
			for h := range heads {
				needed = needed || r[(b*heads+h)*length+t]
			}
			for h := range heads {
				r[(b*heads+h)*length+t] = needed
			}
		}
	}
}

// queryInputRows returns the rows of the query input, (B, L), that some context rows need.
func (p *Problem) queryInputRows(rows rowSet) rowSet {
	if rows == nil || p.Layer.SplitIndex != nil || p.Prepare != nil {
		return nil
	}
	length := p.Query.Shape[1]
	inputs := make(rowSet, p.Query.Shape[0]*length)
	for n, has := range rows {
		if has {
			inputs[n/length/p.Layer.Heads*length+n%length] = true
		}
	}
	return inputs
}

// keyInputRows returns the rows of the key and value inputs, (B, S), that some context rows need:
// all rows of every batch element that serves one of them.
func (p *Problem) keyInputRows(rows rowSet) rowSet {
	if rows == nil || p.Prepare != nil {
		return nil
	}
	queries, keys := p.Query.Shape[1], p.Key.Shape[1]
	inputs := make(rowSet, p.Key.Shape[0]*keys)
	for n, has := range rows {
		if b := p.kvHead(n/queries) / p.Layer.KVHeads; has && !inputs[b*keys] {
			for j := range keys {
				inputs[b*keys+j] = true
			}
		}
	}
	if !slices.Contains(inputs, false) {
		return nil
	}
	return inputs
}
