package oracle

import "github.com/difftest/difftest/harness/internal/num"

// keptRows says which context rows have a place in memory.
type keptRows int

const (
	everyRow   keptRows = iota // rows that are not computed are zeros
	wantedRows                 // the rows that are computed, side by side
)

// contexts are context rows: all of them, (..., H, L, Ev), or some, (rows, Ev).
type contexts struct {
	Field
	places []int // of each context row among some; nil if all rows are there
}

// newContexts returns zeros for the context rows of a shape (..., H, L, Ev).
func (s *pass) newContexts(shape []int, rows rowSet, kept keptRows) contexts {
	if kept == everyRow || rows == nil {
		return contexts{Field: newField(s.detail, shape...)}
	}
	wanted := rows.indices()
	c := contexts{newField(s.detail, len(wanted), num.Last(shape)), make([]int, len(rows))}
	for place, row := range wanted {
		c.places[row] = place
	}
	return c
}

// of returns context row number.
func (c contexts) of(number int) Field {
	if c.places != nil {
		number = c.places[number]
	}
	return c.row(number)
}

// rowsStayApart reports whether a row of the result has the context of its own position, and of no
// other.
func (p *Problem) rowsStayApart() bool {
	return p.Turn == nil && p.Mix == nil && p.Finish == nil && (p.Layer == nil || p.Layer.MergeIndex == nil)
}

// someRows computes rows of a result whose rows stay apart, (rows, Ev), without memory for others.
func (s *pass) someRows(rows []int) Field {
	context, _ := s.context(s.contextRows(s.rowsBeforeFinish(rows, s.resultShape())), wantedRows)
	output := s.besideEachOther(context, rows)
	if l := s.Layer; l != nil {
		output = s.outputProjection(output, nil)
		output.Shape = []int{len(rows), l.Output.Out}
	}
	if s.Stored != nil {
		output = s.Stored.rounded(output)
	}
	return output
}

// besideEachOther returns the contexts of rows, (rows, Ev), or of the rows of a layer with their
// heads merged, (1, rows, H*Ev).
func (s *pass) besideEachOther(context contexts, rows []int) Field {
	width := num.Last(context.Shape)
	if s.Layer == nil {
		some := newField(s.detail, len(rows), width)
		for i, row := range rows {
			some.Take(i*width, context.of(row), 0, width)
		}
		return some
	}
	heads, queries := s.Layer.Heads, s.Query.Shape[1]
	some := borrowField(s.detail, 1, len(rows), heads*width)
	for i, row := range rows {
		for head := range heads {
			number := (row/queries*heads+head)*queries + row%queries
			some.Take((i*heads+head)*width, context.of(number), 0, width)
		}
	}
	return some
}
