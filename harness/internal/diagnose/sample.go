package diagnose

import (
	"slices"

	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// sample is the rows of a result that mistakes are made on first: all of them, unless the case is large.
// What a sample cannot decide is made on all rows.
type sample struct {
	rows  []int // by their number in (..., L); nil: all
	truth compare.Expected
}

// wholeCase is how many multiplications a run may have for every mistake to be made on every row: some two
// hundred of them then take a second.
const wholeCase = 3e7

// newSample takes, of a large case, some positions of one batch element: the first and the last one, others
// spread between, one that sees no key and the one that sees the fewest. The batch element is the one whose
// queries see the most different numbers of keys; of equals the last, which shows what was taken from the
// first. A function counts its heads as a part of the batch element.
func newSample(p *oracle.Problem, truth compare.Expected) sample {
	if multiplications(p) <= wholeCase {
		return sample{truth: truth}
	}
	visible := p.Visible()
	length, each := truth.Shape[len(truth.Shape)-2], len(visible)/truth.Shape[0]
	element, most := 0, 0
	for b := range truth.Shape[0] {
		if n := different(visible[b*each:][:each]); n >= most {
			element, most = b, n
		}
	}
	first := element * each
	positions := slices.Concat(spreadOver(length, 10), remarkable(visible[first:][:length]))
	slices.Sort(positions)
	var s sample
	for head := range each / length {
		for _, i := range slices.Compact(positions) {
			s.rows = append(s.rows, first+head*length+i)
		}
	}
	s.truth = expectedIn(truth, s.rows)
	return s
}

// different counts the different numbers.
func different(numbers []int) int {
	return len(slices.Compact(slices.Sorted(slices.Values(numbers))))
}

// spreadOver takes up to some of n places, the first and the last among them.
func spreadOver(n, most int) []int {
	most = min(n, most)
	places := []int{0}
	for i := 1; i < most; i++ {
		places = append(places, i*(n-1)/(most-1))
	}
	return places
}

// remarkable are a row that sees no key, and the one that sees the fewest, if there are such.
func remarkable(visible []int) []int {
	var places []int
	blank, fewest := slices.Index(visible, 0), -1
	for i, n := range visible {
		if n > 0 && (fewest < 0 || n < visible[fewest]) {
			fewest = i
		}
	}
	for _, i := range []int{blank, fewest} {
		if i >= 0 {
			places = append(places, i)
		}
	}
	return places
}

// partial says whether there are rows that are not in it.
func (s sample) partial() bool { return s.rows != nil }

// row is the number of one of its rows in the whole result.
func (s sample) row(i int) int {
	if s.rows == nil {
		return i
	}
	return s.rows[i]
}

// of are the rows of an output that are in it.
func (s sample) of(values []float64) []float64 {
	return rowsOf(values, s.rows, num.Last(s.truth.Shape))
}

// rowsOf takes some rows of a result; nil: all.
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

// expectedIn is what is expected in some rows; nil: all.
func expectedIn(e compare.Expected, rows []int) compare.Expected {
	if rows == nil {
		return e
	}
	width := num.Last(e.Shape)
	return compare.Expected{
		Shape: []int{len(rows), width}, Value: rowsOf(e.Value, rows, width), Sigma: rowsOf(e.Sigma, rows, width), Measured: e.Measured,
	}
}

// multiplications says how many a run without noise has, near enough.
func multiplications(p *oracle.Problem) float64 {
	query, key := p.Query.Shape, p.Key.Shape
	queries, keys := float64(query[len(query)-2]), float64(key[len(key)-2])
	batch := float64(len(p.Query.Value)) / (queries * float64(num.Last(query))) // of a function, with its heads
	past := 0.0
	if p.Past != nil {
		past = float64(p.Past.Key.Shape[2])
	}
	width := float64(num.Last(query) + num.Last(p.Value.Shape)) // of what is multiplied for each query and key
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
