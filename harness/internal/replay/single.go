package replay

import (
	"context"
	"slices"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// FindSingle looks for single mistakes that give the output. Values without noise rule out most
// candidates; each of the others is made again with its noise.
func FindSingle(ctx context.Context, o Output) ([]Match, Cut) {
	s := newSearch()
	for _, r := range o.Candidates {
		if off := o.distance(r); !(off <= compare.MaxResidual) {
			s.miss(off)
		} else {
			s.confirm(ctx, o, r.Mistake)
		}
	}
	if ctx.Err() != nil {
		return nil, "mistakes that come near were not made with their noise, and no two mistakes at once"
	}
	s.joinSame(ctx, o)
	return s.matches(), ""
}

// joinSame adds to the matches each near mistake that is the same computation as a match. Two ways
// to the same numbers may have different noise: a repeated key that is zero, and a key of zeros.
// The other near mistakes are misses.
func (s *search) joinSame(ctx context.Context, o Output) {
	matches := s.found
	for _, near := range s.near {
		same := func(m Match) bool {
			return near.Residual < compare.MinMargin*m.Residual && sameValues(ctx, o, near.Mistakes, m.Mistakes)
		}
		if slices.ContainsFunc(matches, same) {
			s.found = append(s.found, near)
		} else {
			s.miss(near.Residual)
		}
	}
}

// sameValues reports whether two lists of mistakes give the same numbers, to the rounding of
// float64.
func sameValues(ctx context.Context, o Output, a, b []catalogue.Mistake) bool {
	const same = 0x1p-40
	var values [2][]float64
	for i, mistakes := range [][]catalogue.Mistake{a, b} {
		wrong, ok := catalogue.Make(o.Case.Problem, nil, mistakes...)
		if !ok {
			return false
		}
		f, err := wrong.Rows(ctx, nil, oracle.ValuesAlone)
		if err != nil {
			return false
		}
		values[i] = f.Value
	}
	return compare.Residual(values[0], values[1]) <= same
}

// confirm makes a mistake with its noise, and compares it with the output in more and more rows:
// the sample, some wrong rows, and all rows. It stops at the first rows that refute the mistake.
func (s *search) confirm(ctx context.Context, o Output, m catalogue.Mistake) {
	wrong, ok := catalogue.Make(o.Case.Problem, nil, m)
	if !ok {
		return
	}
	parts := [][]int{nil}
	if o.Sampled.Partial() {
		parts = [][]int{o.Sampled.Rows, o.someWrongRows(8), nil}
	}
	var out compare.Expected
	var c compare.Comparison
	for _, rows := range parts {
		if rows != nil && len(rows) == 0 {
			continue // no row is wrong
		}
		f, err := wrong.Rows(ctx, rows, oracle.WithNoise)
		if err != nil {
			return
		}
		out = f.Expected()
		c = compare.Outputs(out.Shape, rowsOf(o.Got, rows, o.width()), out)
		if !c.Explained() {
			break
		}
	}
	// Some rows have another shape than the truth, so this asks about all rows.
	if o.Sampled.Partial() && compare.Outputs(out.Shape, out.Value, o.Case.Truth).OK() {
		return // no row shows the mistake, so it explains nothing
	}
	switch match := (Match{Mistakes: []catalogue.Mistake{m}, Residual: c.Rel, MaxZ: c.MaxZ}); {
	case c.Explained():
		s.found = append(s.found, match)
	case c.NonFinite == 0:
		s.near = append(s.near, match)
	}
}

// someWrongRows returns a few rows outside the noise, spread over the result.
func (o Output) someWrongRows(most int) []int {
	rows := num.Where(o.Comparison.WrongRows())
	if len(rows) <= most {
		return rows
	}
	var some []int
	for _, i := range spreadOver(len(rows), most) {
		some = append(some, rows[i])
	}
	return some
}
