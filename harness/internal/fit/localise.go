package fit

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/parallel"
)

// localisation holds the answers of the fits of a layer's parameters.
type localisation struct {
	tried   []attempt
	holding []attempt // explanations, one for each projection that may differ: its narrowest
	// confusable lists the projections that their own fits do not rule out, and whose outputs the
	// explanation would explain as well.
	confusable []Projection
	// untested lists the fits of the other projections that their own fits do not rule out.
	untested []attempt
	heads    []int   // the query heads that alone are wrong, if no fit holds; nil if unknown
	apart    float64 // residual of the nearest projection ruled out; infinite if there is none
}

// order is the order in which projections are freed: fast ones first.
var order = []Projection{OutputProjection, ValueProjection, QueryProjection, KeyProjection}

// localise finds the parameters of a layer that would explain the output. rel is the output's
// distance from the truth.
func (f *fitter) localise(rel float64) localisation {
	found := make([][]attempt, len(order))
	parallel.Each(len(order), func(i int) { found[i] = f.freeProjection(order[i]) })
	at := localisation{tried: slices.Concat(found...), apart: math.Inf(1)}
	for _, list := range found {
		if i := slices.IndexFunc(list, func(x attempt) bool { return x.Explains() }); i >= 0 {
			at.holding = append(at.holding, list[i])
		}
	}
	if len(at.holding) == 0 {
		both := f.fit(freeSet{projections: []Projection{ValueProjection, OutputProjection}})
		at.tried = append(at.tried, both)
		if both.Explains() {
			at.holding = append(at.holding, both)
		}
	}
	if len(at.holding) == 1 {
		if twin := f.twin(at.holding[0]); twin.Holds {
			at.tried = slices.DeleteFunc(at.tried, func(x attempt) bool { return x.Freed == twin.Freed })
			at.tried, at.holding = append(at.tried, twin), append(at.holding, twin)
		}
	}
	if len(at.holding) > 0 {
		f.exclude(&at, found, rel)
	}
	if len(at.holding) > 0 {
		at.describe(f.p.Layer)
		return at
	}
	at.heads = f.headsAlone()
	return at
}

// freeProjection frees the bias of a projection, then all of it, then its single heads, and stops
// at the first explanation, which comes first in the result. If all of it explains the output,
// the heads that differ most are freed alone.
func (f *fitter) freeProjection(m Projection) []attempt {
	l := f.p.Layer
	var tried []attempt
	if l.Projections()[m].Bias != nil {
		bias := f.fit(freeSet{projections: []Projection{m}, bias: true})
		if bias.Explains() {
			return []attempt{bias}
		}
		tried = append(tried, bias)
	}
	whole := f.fit(freeSet{projections: []Projection{m}})
	if whole.Explains() {
		return append(f.narrowed(whole), slices.Concat([]attempt{whole}, tried)...)
	}
	tried = append(tried, whole)
	if whole.Refused == "" || l.Heads == 1 {
		return tried
	}
	for _, h := range f.candidateHeads(m) {
		one := f.fit(freeSet{projections: []Projection{m}, heads: []int{h}})
		if one.Explains() {
			return append([]attempt{one}, tried...)
		}
	}
	return tried
}

// narrowed frees only the heads whose values differ much from the right ones in a fit that
// explains the output; nil if these are all heads, or do not explain it.
func (f *fitter) narrowed(whole attempt) []attempt {
	m, l := whole.free.projections[0], f.p.Layer
	differ := differing(l, whole.problem.Layer, m)
	if len(differ) == headsOf(l, m) {
		return nil
	}
	if some := f.fit(freeSet{projections: whole.free.projections, heads: differ}); some.Explains() {
		return []attempt{some}
	}
	return nil
}

// differing returns the heads of a projection whose weights differ between two layers by more than
// a tenth of what the most different head does.
func differing(right, other *oracle.Layer, m Projection) []int {
	w, found := right.Projections()[m], other.Projections()[m].Weight
	off := make([]float64, headsOf(right, m))
	for at, v := range w.Weight {
		off[headOf(right, m, at/w.In, at%w.In)] += (found[at] - v) * (found[at] - v)
	}
	return slices.DeleteFunc(num.UpTo(len(off)), func(h int) bool { return off[h] <= 0.01*slices.Max(off) })
}

// describe marks the explanations among all attempts. For value and output weights, which only
// one value explains, it adds how the weight found differs from the right one.
func (at *localisation) describe(l *oracle.Layer) {
	for n, x := range at.tried {
		if x.free.whole() && slices.ContainsFunc(at.confusable, x.free.is) {
			at.tried[n].Confusable = true
		}
	}
	for i, x := range at.holding {
		m := x.free.projections[0]
		at.mark(x, func(f *Fit) { f.Narrowest = true })
		if len(x.free.projections) > 1 || x.free.bias || m < ValueProjection {
			continue
		}
		right, other := l.Projections()[m], x.problem.Layer.Projections()[m]
		var a, b []float64
		for n, w := range right.Weight {
			if x.free.frees(l, m, n/right.In, n%right.In) {
				a, b = append(a, w), append(b, other.Weight[n])
			}
		}
		const text = "the weight found is %.3g times as large as the right one, and has a cosine of %.3f with it"
		cosine := num.Dot(a, b) / math.Sqrt(num.Dot(a, a)*num.Dot(b, b))
		at.holding[i].Detail = fmt.Sprintf(text, num.RMS(b)/num.RMS(a), cosine)
		at.mark(x, func(f *Fit) { f.Detail = at.holding[i].Detail })
	}
}

// mark changes the entry of a fit among all attempts.
func (at *localisation) mark(x attempt, change func(*Fit)) {
	for n := range at.tried {
		if at.tried[n].Freed == x.Freed {
			change(&at.tried[n].Fit)
		}
	}
}

// reasons explains what least squares found; nil if it explains nothing.
func (at localisation) reasons() []string {
	if len(at.holding) == 0 {
		return nil
	}
	reasons := []string{at.headline()}
	if first := at.holding[0]; first.Detail != "" && len(at.holding) == 1 {
		reasons = append(reasons, first.Detail)
	}
	for _, m := range at.confusable {
		const text = "the %s weight or bias could not be asked (%s), and might give such an output on this case"
		reasons = append(reasons, fmt.Sprintf(text, m, at.refusal(m)))
	}
	if len(at.holding) > 1 {
		reasons = append(reasons, "this case cannot tell these apart")
	}
	for _, x := range at.untested {
		why := x.Refused
		if why == "" {
			why = fmt.Sprintf("it leaves %.2g", x.Residual)
		}
		const text = "%s: could not be asked (%s); drawn anew, it would not be taken for this"
		reasons = append(reasons, fmt.Sprintf(text, x.Freed, why))
	}
	return reasons
}

// headline names the parameters that explain the output.
func (at localisation) headline() string {
	var words []string
	for _, x := range at.holding {
		words = append(words, x.Freed)
	}
	worst := slices.MaxFunc(at.holding, func(a, b attempt) int { return cmp.Compare(a.Residual, b.Residual) })
	const format = "the output is as with %s other than it should be and all else right: " +
		"with what least squares finds it is explained to %.2g (max z %.2g)"
	text := fmt.Sprintf(format, strings.Join(words, ", or with "), worst.Residual, worst.MaxZ)
	if !math.IsInf(at.apart, 1) {
		text += fmt.Sprintf("; freeing any other leaves %.2g or more", at.apart)
	}
	return text
}

// refusal says why a projection could not be fitted.
func (at localisation) refusal(m Projection) string {
	for _, x := range at.tried {
		if x.free.is(m) && x.Refused != "" && !x.free.bias {
			return x.Refused
		}
	}
	return "it comes too near"
}
