package diagnose

import (
	"fmt"
	"strings"

	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/num"
)

// Structure tells where an output is outside the noise. A row is the output of one query: all
// elements of the last dimension.
type Structure struct {
	Lead    []int    // the dimensions before the rows: (B) or (B, H)
	Wrong   [][]bool // for each index into Lead, for each row
	Visible [][]int  // the number of keys that each row sees

	Batches, Rows, Features int // sizes of the first, the last but one and the last dimension

	WrongBatches  []int // indices of the first dimension with a wrong row
	WrongRows     []int // indices of the last but one that are wrong in some batch element or head
	WrongFeatures []int // indices of the last that are wrong in some row

	FirstRowExact, LastRowExact bool // in every batch element and head
}

// newStructure sorts the wrong elements of a comparison. visible has the number of keys of each
// row.
func newStructure(c compare.Comparison, visible []int) Structure {
	shape := c.WantShape
	n := len(shape)
	rows, width := shape[n-2], shape[n-1]
	groups := len(c.Z) / (rows * width)
	s := Structure{Lead: shape[:n-2], Batches: shape[0], Rows: rows, Features: width}
	wrongBatches, wrongRows, wrongFeatures := make([]bool, s.Batches), make([]bool, rows), make([]bool, width)
	for g := range groups {
		wrong := make([]bool, rows)
		for i := range rows * width {
			if row, feature := i/width, i%width; c.Z[g*rows*width+i] > c.Limits.Z {
				wrong[row], wrongRows[row], wrongFeatures[feature] = true, true, true
				wrongBatches[g*s.Batches/groups] = true
			}
		}
		s.Wrong = append(s.Wrong, wrong)
		s.Visible = append(s.Visible, visible[g*rows:][:rows])
	}
	s.FirstRowExact, s.LastRowExact = !wrongRows[0], !wrongRows[rows-1]
	s.WrongBatches, s.WrongRows = num.Where(wrongBatches), num.Where(wrongRows)
	s.WrongFeatures = num.Where(wrongFeatures)
	return s
}

// Row draws one batch element (and head), a character per row: x is outside the noise, . is
// within it, and - is within it and sees no key.
func (s Structure) Row(g int) string {
	var line strings.Builder
	for i, wrong := range s.Wrong[g] {
		switch {
		case wrong:
			line.WriteByte('x')
		case s.Visible[g][i] == 0:
			line.WriteByte('-')
		default:
			line.WriteByte('.')
		}
	}
	return line.String()
}

// Picture draws every batch element (and head), a line each. Neighbours that look the same share
// a line.
func (s Structure) Picture() []string {
	var lines []string
	for g := 0; g < len(s.Wrong); {
		row, end := s.Row(g), g+1
		for end < len(s.Wrong) && s.Row(end) == row {
			end++
		}
		label := s.label(g)
		if end-g > 1 {
			label += " to " + s.label(end-1)
		}
		lines = append(lines, row+"  "+label)
		g = end
	}
	return lines
}

// label names an index into Lead: "batch 2", "batch 2 head 1", and "[2 0 1]" for more dimensions.
func (s Structure) label(g int) string {
	index := make([]int, len(s.Lead))
	for d := len(s.Lead) - 1; d >= 0; d-- {
		index[d] = g % s.Lead[d]
		g /= s.Lead[d]
	}
	switch len(index) {
	case 1:
		return fmt.Sprintf("batch %d", index[0])
	case 2:
		return fmt.Sprintf("batch %d head %d", index[0], index[1])
	}
	return fmt.Sprint(index)
}
