package fit

import (
	"fmt"
	"slices"
	"sync"

	"gonum.org/v1/gonum/mat"

	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracle"
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
// output. Several projections ask about the same heads; the answer is computed once.
func (f *fitter) isWithin(heads []int) bool {
	answer, _ := f.within.LoadOrStore(fmt.Sprint(heads), sync.OnceValue(func() bool { return f.explainsAlone(heads) }))
	return answer.(func() bool)()
}

// explainsAlone computes the answer of isWithin. A row outside decides.
func (f *fitter) explainsAlone(heads []int) bool {
	l, ev := f.p.Layer, f.trace.ValueWidth
	if l.Output.Out < len(heads)*ev+surplus || f.p.EmptyRow != 0 && f.p.HasEmptyRow() {
		return false
	}
	context, reason := pattern.ContextOf(f.p, f.trace, heads)
	if reason != "" {
		return false
	}
	var features []feature
	for index, h := range heads {
		matrix := context(index)
		for c := range ev {
			features = append(features, newFeature(l.Output, matrix, c, h*ev+c))
		}
	}
	y := f.trace.Output
	want := compare.Expected{Shape: f.shape, Value: slices.Clone(y.Value), Sigma: make([]float64, len(y.Value))}
	width := l.Output.Out
	for row := range len(f.got) / width {
		if f.ctx.Err() != nil {
			return false
		}
		first := row * width
		off, sigma := pattern.Difference(f.got[first:][:width], y.Value[first:][:width], y.Variance[first:][:width])
		copy(want.Sigma[first:], sigma)
		for _, x := range features {
			x.addTo(want.Value[first:][:width], off)
		}
		alone := compare.Expected{Shape: []int{width}, Value: want.Value[first:][:width], Sigma: sigma}
		if c := compare.Outputs(alone.Shape, f.got[first:][:width], alone); c.Outside > 0 {
			return false
		}
	}
	return compare.Outputs(f.shape, f.got, want).OK()
}

// feature is one element of a head's context: the weights that give it from an output row, and the
// weights that it gives to an output row.
type feature struct{ from, to []float64 }

// newFeature takes a column of the matrix that [pattern.ContextOf] returns, and the column of the
// output weight that belongs to it.
func newFeature(output oracle.Linear, context *mat.Dense, column, in int) feature {
	x := feature{make([]float64, output.Out), make([]float64, output.Out)}
	for o := range output.Out {
		x.from[o], x.to[o] = context.At(o, column), output.Weight[o*output.In+in]
	}
	return x
}

// addTo adds to an output row the part of an error that lies in this feature.
func (x feature) addTo(row, off []float64) {
	change := 0.0
	for o, w := range x.from {
		change += w * off[o]
	}
	for o, w := range x.to {
		row[o] += change * w
	}
}

// headText says which heads alone are wrong; "" if that is unknown.
func (f *fitter) headText(heads []int) string {
	if heads == nil {
		return ""
	}
	free := freeSet{projections: []Projection{OutputProjection}, heads: heads}
	const text = "all that is wrong lies in what head %s gives: only where %s lead; " +
		"the other heads and the output weight are right"
	place := free.place(f.p.Layer, OutputProjection, f.placements) + f.placements[OutputProjection].Weight
	return fmt.Sprintf(text, num.Ranges(heads), place)
}
