package replay

import (
	"slices"

	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// Sample is the rows of a result on which mistakes are made first: all rows, unless the case is
// large. A search that the sample cannot decide goes on to all rows.
type Sample struct {
	Rows  []int // indices into (..., L), sorted; nil means all rows
	Truth compare.Expected
}

// wholeCase is the number of multiplications up to which every mistake is made on every row:
// about two hundred such computations take a second.
const wholeCase = 3e7

// newSample returns all rows of a small case, and of a large one the rows of some positions of
// one batch element: the first and the last, others spread between, one that sees no key, and the
// one that sees the fewest. The batch element is the one whose queries see the most different
// numbers of keys, of equals the last: a mistake that reads only the first element does not hide
// there. A function's heads belong to the batch element.
func newSample(p *oracle.Problem, truth compare.Expected) Sample {
	if multiplications(p) <= wholeCase {
		return Sample{Truth: truth}
	}
	visible := p.Visible()
	length, each := truth.Shape[len(truth.Shape)-2], len(visible)/truth.Shape[0]
	var element, most int
	for b := range truth.Shape[0] {
		if n := countDistinct(visible[b*each:][:each]); n >= most {
			element, most = b, n
		}
	}
	first := element * each
	positions := slices.Concat(spreadOver(length, 10), extremes(visible[first:][:length]))
	slices.Sort(positions)
	positions = slices.Compact(positions)
	var s Sample
	for head := range each / length {
		for _, i := range positions {
			s.Rows = append(s.Rows, first+head*length+i)
		}
	}
	s.Truth = expectedRows(truth, s.Rows)
	return s
}

// countDistinct returns how many different numbers a list has.
func countDistinct(numbers []int) int {
	return len(slices.Compact(slices.Sorted(slices.Values(numbers))))
}

// spreadOver returns at most the given number of n indices, evenly spread, the first and the last
// included.
func spreadOver(n, most int) []int {
	most = min(n, most)
	indices := []int{0}
	for i := 1; i < most; i++ {
		indices = append(indices, i*(n-1)/(most-1))
	}
	return indices
}

// extremes returns the first row that sees no key and the row that sees the fewest, if they
// exist.
func extremes(visible []int) []int {
	var rows []int
	blank, fewest := slices.Index(visible, 0), -1
	for i, n := range visible {
		if n > 0 && (fewest < 0 || n < visible[fewest]) {
			fewest = i
		}
	}
	for _, i := range []int{blank, fewest} {
		if i >= 0 {
			rows = append(rows, i)
		}
	}
	return rows
}

// Partial reports whether the sample lacks some rows of the result.
func (s Sample) Partial() bool { return s.Rows != nil }

// Row returns the index of the i-th sampled row in the whole result.
func (s Sample) Row(i int) int {
	if s.Rows == nil {
		return i
	}
	return s.Rows[i]
}

// draws returns how often a random mistake is made, to see how much its outputs vary. On a large
// case each draw computes its own keys and values, most of the work, so there are few.
func (s Sample) draws() int {
	if s.Partial() {
		return 2
	}
	return 8
}

// rowsOf returns some rows of a result; nil means all rows.
func rowsOf(values []float64, rows []int, width int) []float64 {
	if rows == nil {
		return values
	}
	part := make([]float64, 0, len(rows)*width)
	for _, row := range rows {
		part = append(part, values[row*width:][:width]...)
	}
	return part
}

// expectedRows returns the expectation of some rows; nil means all rows.
func expectedRows(e compare.Expected, rows []int) compare.Expected {
	if rows == nil {
		return e
	}
	width := num.Last(e.Shape)
	return compare.Expected{
		Shape: []int{len(rows), width},
		Value: rowsOf(e.Value, rows, width), Sigma: rowsOf(e.Sigma, rows, width), Measured: e.Measured,
	}
}

// multiplications returns about how many multiplications a computation without noise takes.
func multiplications(p *oracle.Problem) float64 {
	query, key := p.Query.Shape, p.Key.Shape
	queries, keys := float64(query[len(query)-2]), float64(key[len(key)-2])
	// Of a function: the batch elements times the heads.
	batch := float64(len(p.Query.Value)) / (queries * float64(num.Last(query)))
	past := 0.0
	if p.Past != nil {
		past = float64(p.Past.Key.Shape[len(p.Past.Key.Shape)-2])
	}
	width := float64(num.Last(query) + num.Last(p.Value.Shape)) // multiplications per query and key
	projected := 0.0
	if l := p.Layer; l != nil {
		width = 2 * float64(l.Query.Out)
		for i, m := range l.Projections() {
			rows := []float64{queries, keys, keys, queries}[i]
			projected += rows * float64(m.In) * float64(m.Out)
		}
	}
	return batch * (queries*(keys+past)*width + projected)
}
