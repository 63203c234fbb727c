package fit

import (
	"fmt"
	"slices"

	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/pattern"
)

// headsAlone returns the query head, or else the group of query heads with one key head, that
// accounts for all that is wrong. It returns nil if there is none, or more than one.
func (f *fitter) headsAlone() []int {
	l := f.p.Layer
	for _, m := range []Projection{QueryProjection, ValueProjection} {
		var found [][]int
		for _, h := range f.candidateHeads(m) {
			found = append(found, freeSet{projections: []Projection{m}, heads: []int{h}}.queryHeads(l))
		}
		if len(found) == 1 && headsOf(l, m) > 1 {
			return found[0]
		}
	}
	return nil
}

// candidateHeads returns the heads of a projection that alone may differ. Any head of the output
// projection may; a head of another projection must account for all that is wrong.
func (f *fitter) candidateHeads(m Projection) []int {
	l := f.p.Layer
	heads := num.UpTo(headsOf(l, m))
	if m == OutputProjection {
		return heads
	}
	return slices.DeleteFunc(heads, func(h int) bool {
		return !f.isWithin(freeSet{projections: []Projection{m}, heads: []int{h}}.queryHeads(l))
	})
}

// isWithin reports whether changes of some heads' contexts explain all that is wrong in the
// output.
func (f *fitter) isWithin(heads []int) bool {
	l, ev := f.p.Layer, f.trace.ValueWidth
	if l.Output.Out < len(heads)*ev+surplus || f.p.EmptyRow != 0 && f.p.HasEmptyRow() {
		return false
	}
	context, reason := pattern.ContextOf(f.p, f.trace, heads)
	if reason != "" {
		return false
	}
	y := f.trace.Output
	want := compare.Expected{Shape: f.shape, Value: slices.Clone(y.Value), Sigma: make([]float64, len(y.Value))}
	width := l.Output.Out
	for row := range len(f.got) / width {
		first := row * width
		off, sigma := pattern.Difference(f.got[first:][:width], y.Value[first:][:width], y.Variance[first:][:width])
		copy(want.Sigma[first:], sigma)
		for index, h := range heads {
			matrix := context(index)
			for c := range ev {
				change, _ := pattern.TimesColumn(off, sigma, matrix, c)
				for o := range width {
					want.Value[first+o] += change * l.Output.Weight[o*l.Output.In+h*ev+c]
				}
			}
		}
		alone := compare.Expected{Shape: []int{width}, Value: want.Value[first:][:width], Sigma: sigma}
		if c := compare.Outputs(alone.Shape, f.got[first:][:width], alone); c.Outside > 0 {
			return false
		}
	}
	return compare.Outputs(f.shape, f.got, want).OK()
}

// headText says which heads alone are wrong; "" if that is unknown.
func (f *fitter) headText(heads []int) string {
	if heads == nil {
		return ""
	}
	free := freeSet{projections: []Projection{OutputProjection}, heads: heads}
	const text = "all that is wrong lies in what head %s gives: only where %s lead; " +
		"the other heads and the output weight are right"
	place := free.place(f.p.Layer, f.placements) + f.placements[OutputProjection].Weight
	return fmt.Sprintf(text, num.Ranges(heads), place)
}
