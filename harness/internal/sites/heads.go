package sites

import (
	"slices"

	"github.com/difftest/difftest/harness/internal/graph"
	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// split tells how the features of a linear layer are split into heads.
type split struct {
	batch, heads, length, width int
	rows                        []int // (batch, length): the row of the linear layer for each token
	columns                     []int // (heads, width): the feature of the linear layer for each feature
}

// splitOf reads places in a matrix with so many columns as heads: shape is (..., tokens, features),
// and batch elements and heads are the dimensions in front, in this order. It returns nil if a head
// is not a list of columns, the same in every row, or if a token is not a row.
func splitOf(shape, places []int, columns int) *split {
	rank := len(shape)
	if rank < 3 || columns == 0 || len(places) == 0 {
		return nil
	}
	s := &split{length: shape[rank-2], width: shape[rank-1]}
	matrices, size := len(places)/(s.length*s.width), s.length*s.width
	row := func(n, t int) int { return places[n*size+t*s.width] / columns }
	for s.heads < matrices && row(s.heads, 0) == row(0, 0) {
		s.heads++
	}
	if matrices%s.heads != 0 {
		return nil
	}
	s.batch = matrices / s.heads
	for h := range s.heads {
		for e := range s.width {
			s.columns = append(s.columns, places[h*size+e]%columns)
		}
	}
	for b := range s.batch {
		for t := range s.length {
			s.rows = append(s.rows, row(b*s.heads, t))
		}
	}
	for i, place := range places {
		n, t, e := i/size, i/s.width%s.length, i%s.width
		if place != s.rows[n/s.heads*s.length+t]*columns+s.columns[n%s.heads*s.width+e] {
			return nil
		}
	}
	return s
}

// head returns the columns of a head.
func (s *split) head(h int) []int { return s.columns[h*s.width:][:s.width] }

// group returns how many neighbouring heads share their columns: 1 if none do.
func (s *split) group() int {
	for size := s.heads; size > 1; size-- {
		if s.heads%size == 0 && s.shared(size) {
			return size
		}
	}
	return 1
}

func (s *split) shared(size int) bool {
	for h := range s.heads {
		if !slices.Equal(s.head(h), s.head(h/size*size)) {
			return false
		}
	}
	return true
}

// grouped returns the split into one head for each group of heads.
func (s *split) grouped(size int) *split {
	g := *s
	g.heads, g.columns = s.heads/size, nil
	for h := 0; h < s.heads; h += size {
		g.columns = append(g.columns, s.head(h)...)
	}
	return &g
}

// sameRows reports whether two splits take the same rows as tokens.
func (s *split) sameRows(other *split) bool {
	return s.batch == other.batch && slices.Equal(s.rows, other.rows)
}

// gathered returns the rows of a tensor as (batch, length, features).
func (s *split) gathered(t *graph.Tensor[float64]) oracle.Array {
	width := num.Last(t.Shape)
	a := oracle.Array{Shape: []int{s.batch, s.length, width}, Value: make([]float64, 0, len(s.rows)*width)}
	for _, row := range s.rows {
		a.Value = append(a.Value, t.Data[row*width:][:width]...)
	}
	return a
}
