package replay

import (
	"context"

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
	return s.matches(), ""
}

// confirm makes a mistake with its noise, and compares it with the output in more and more rows:
// the sample, some wrong rows, and all rows.
func (s *search) confirm(ctx context.Context, o Output, m catalogue.Mistake) {
	wrong, ok := catalogue.Make(o.Case.Problem, nil, m)
	if !ok {
		return
	}
	if o.Sampled.Partial() {
		for _, rows := range [][]int{o.Sampled.Rows, o.someWrongRows(8)} {
			f, err := wrong.Rows(ctx, rows, oracle.WithNoise)
			if err != nil {
				return
			}
			if _, ok := s.explains(rowsOf(o.Got, rows, o.width()), f.Expected()); len(rows) > 0 && !ok {
				return
			}
		}
	}
	f, err := wrong.Rows(ctx, nil, oracle.WithNoise)
	if err != nil {
		return
	}
	out := f.Expected()
	if o.Sampled.Partial() && compare.Outputs(out.Shape, out.Value, o.Case.Truth).OK() {
		return // no row shows the mistake, so it explains nothing
	}
	s.add(o.Got, out, m)
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
