package diagnose

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// localisation is what least squares says of an output.
type localisation struct {
	tried    []fit
	holding  []fit        // explanations, one for each map that may be another, the narrowest
	also     []Projection // maps that could not be asked, and that these fits would be taken for
	untested []fit        // that could not be asked, and would not be taken for these
	within   []int        // heads that alone are wrong, where no fit says why; nil: not known
	apart    float64      // residual of the nearest map that does not explain it; infinite where none was asked
}

// maps in the order in which they are asked: cheap ones first.
var order = []Projection{OutputMap, ValueMap, QueryMap, KeyMap}

// localise asks which parameters of a layer could give the output. rel is how far it is from the right one.
func (f *fitter) localise(rel float64) localisation {
	found := make([][]fit, len(order))
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, m := range order {
		group.Go(func() error {
			found[i] = f.ask(m)
			return nil
		})
	}
	_ = group.Wait()
	at := localisation{tried: slices.Concat(found...), apart: math.Inf(1)}
	for _, list := range found {
		if i := slices.IndexFunc(list, func(x fit) bool { return x.Explains() }); i >= 0 {
			at.holding = append(at.holding, list[i])
		}
	}
	if len(at.holding) == 0 {
		f.together(&at)
	}
	if len(at.holding) > 0 {
		f.exclude(&at, found, rel)
	}
	if len(at.holding) > 0 {
		at.describe(f.p.Layer)
		return at
	}
	at.within = f.alone()
	return at
}

// alone gives the one head of queries, or else those that share a head of keys, outside of which nothing is wrong; nil where
// there are no such heads or several.
func (f *fitter) alone() []int {
	l := f.p.Layer
	for _, m := range []Projection{QueryMap, ValueMap} {
		var found [][]int
		for _, h := range f.candidates(m) {
			found = append(found, freedom{maps: []Projection{m}, heads: []int{h}}.queryHeads(l))
		}
		if len(found) == 1 && headsOf(l, m) > 1 {
			return found[0]
		}
	}
	return nil
}

// describe says how the weight that was found for value or output, which has no other, differs from the right one.
func (at *localisation) describe(l *oracle.Layer) {
	for i, x := range at.holding {
		m := x.free.maps[0]
		at.mark(x, func(f *Fit) { f.Narrowest = true })
		if len(x.free.maps) > 1 || x.free.bias || m < ValueMap {
			continue
		}
		right, other := l.Projections()[m], x.problem.Layer.Projections()[m]
		var a, b []float64
		for n, w := range right.Weight {
			if x.free.frees(l, m, n/right.In, n%right.In) {
				a, b = append(a, w), append(b, other.Weight[n])
			}
		}
		at.holding[i].Detail = fmt.Sprintf("the weight found is %.3g times as large as the right one, and has a cosine of %.3f with it", num.RMS(b)/num.RMS(a), num.Dot(a, b)/math.Sqrt(num.Dot(a, a)*num.Dot(b, b)))
		at.mark(x, func(f *Fit) { f.Detail = at.holding[i].Detail })
	}
}

// mark changes the entry of a fit among all that were tried.
func (at *localisation) mark(x fit, change func(*Fit)) {
	for n := range at.tried {
		if at.tried[n].Freed == x.Freed {
			change(&at.tried[n].Fit)
		}
	}
}

// ask tries a map's bias, then all of it, then single heads of it, and stops at the first that explains the output. What
// holds for all of it is tried on the heads that differ most.
func (f *fitter) ask(m Projection) []fit {
	l := f.p.Layer
	var tried []fit
	if l.Projections()[m].Bias != nil {
		if bias := f.try(freedom{maps: []Projection{m}, bias: true}); bias.Explains() {
			return []fit{bias}
		} else {
			tried = append(tried, bias)
		}
	}
	whole := f.try(freedom{maps: []Projection{m}})
	if whole.Explains() {
		return append(f.narrowed(whole), slices.Concat([]fit{whole}, tried)...)
	}
	tried = append(tried, whole)
	if whole.Refused == "" || l.Heads == 1 {
		return tried
	}
	for _, h := range f.candidates(m) {
		if one := f.try(freedom{maps: []Projection{m}, heads: []int{h}}); one.Explains() {
			return append([]fit{one}, tried...)
		}
	}
	return tried
}

// narrowed tries the heads alone in which the values found differ much from the right ones.
func (f *fitter) narrowed(whole fit) []fit {
	m, l := whole.free.maps[0], f.p.Layer
	heads := headsOf(l, m)
	right, other := *l.Projections()[m], *whole.problem.Layer.Projections()[m]
	off := make([]float64, heads)
	for at, w := range right.Weight {
		h := at / right.In * heads / right.Out
		if m == OutputMap {
			h = at % right.In * heads / right.In
		}
		off[h] += (other.Weight[at] - w) * (other.Weight[at] - w)
	}
	var differ []int
	for h, d := range off {
		if d > 0.01*slices.Max(off) {
			differ = append(differ, h)
		}
	}
	if len(differ) == heads {
		return nil
	}
	if some := f.try(freedom{maps: whole.free.maps, heads: differ}); some.Explains() {
		return []fit{some}
	}
	return nil
}

// candidates are heads that alone may differ: of the output weight all of them, of others those whose part of the
// output weight leads wherever the output is wrong.
func (f *fitter) candidates(m Projection) []int {
	l := f.p.Layer
	heads := upTo(headsOf(l, m))
	if m == OutputMap {
		return heads
	}
	return slices.DeleteFunc(heads, func(h int) bool {
		return !f.within(freedom{maps: []Projection{m}, heads: []int{h}}.queryHeads(l))
	})
}

// within says whether all that is wrong in an output lies where some heads' contexts lead.
func (f *fitter) within(heads []int) bool {
	l, ev := f.p.Layer, f.trace.ValueWidth
	if l.Output.Out < len(heads)*ev+surplus || f.p.EmptyRow != 0 && f.p.HasEmptyRow() {
		return false
	}
	back, reason := contextOf(f.p, f.trace, heads)
	if reason != "" {
		return false
	}
	part := compare.Expected{Shape: f.shape, Value: slices.Clone(f.trace.Output.Value), Sigma: f.trace.Output.Sigma()}
	for row := range len(f.got) / l.Output.Out {
		first := row * l.Output.Out
		off, sigma := difference(f.got[first:][:l.Output.Out], f.trace.Output.Value[first:][:l.Output.Out], f.trace.Output.Variance[first:][:l.Output.Out])
		copy(part.Sigma[first:], sigma)
		for place, h := range heads {
			for c := range ev {
				change, _ := through(back(place), c, off, sigma)
				for o := range l.Output.Out {
					part.Value[first+o] += change * l.Output.Weight[o*l.Output.In+h*ev+c]
				}
			}
		}
	}
	return compare.Outputs(f.shape, f.got, part).OK()
}

// together asks for value and output at once.
func (f *fitter) together(at *localisation) {
	both := f.try(freedom{maps: []Projection{ValueMap, OutputMap}})
	at.tried = append(at.tried, both)
	if both.Explains() {
		at.holding = append(at.holding, both)
	}
}

// exclude sorts the maps that do not explain the output: those whose fit leaves much more are out. One that could
// not be asked is drawn anew in the right computation, and is out where what that gives is not explained
// by the fit that holds.
func (f *fitter) exclude(at *localisation, found [][]fit, rel float64) {
	const share = 0.05 // of how wrong the output is: nearer than that nothing is out
	best := slices.MinFunc(at.holding, func(a, b fit) int { return cmpFloat(a.Residual, b.Residual) })
	for i, m := range order {
		if slices.ContainsFunc(at.holding, func(x fit) bool { return slices.Contains(x.free.maps, m) }) {
			continue
		}
		whole := found[i][slices.IndexFunc(found[i], func(x fit) bool { return x.free.heads == nil && !x.free.bias })]
		switch {
		case whole.Refused == "" && whole.Residual >= math.Max(minMargin*best.Residual, share*rel):
			at.apart = math.Min(at.apart, whole.Residual)
		case f.takenFor(best.free, m):
			at.also = append(at.also, m)
		default:
			at.untested = append(at.untested, whole)
		}
	}
	if len(at.also) > 1 {
		at.vacuous()
	}
}

// vacuous takes back fits that would explain most of what else may be wrong.
func (at *localisation) vacuous() {
	for i, x := range at.tried {
		if x.Explains() {
			at.tried[i].Holds, at.tried[i].Refused = false, "on this case it would explain other maps, drawn anew, as well"
		}
	}
	at.holding, at.also, at.untested = nil, nil, nil
}

func cmpFloat(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// takenFor says whether another map, drawn anew, gives an output that a fit explains.
func (f *fitter) takenFor(free freedom, m Projection) bool {
	other := freedom{maps: []Projection{m}, bias: free.bias && f.p.Layer.Projections()[m].Bias != nil}
	if free.heads != nil {
		for h := range headsOf(f.p.Layer, m) {
			served := freedom{maps: []Projection{m}, heads: []int{h}}.queryHeads(f.p.Layer)
			if slices.Contains(free.queryHeads(f.p.Layer), served[0]) {
				other.heads = append(other.heads, h)
			}
		}
	}
	drawn := *f
	drawn.got = redrawn(f.p, other).Run().Value
	if compare.Outputs(f.shape, drawn.got, f.trace.Output.Expected()).OK() {
		return false // and this map does nothing here
	}
	return drawn.try(free).Explains()
}

// redrawn is a problem with what is free in it drawn anew, of the same size.
func redrawn(p *oracle.Problem, free freedom) *oracle.Problem {
	q := p.Clone()
	for _, m := range free.maps {
		r := rand.New(rand.NewPCG(7, uint64(m)))
		l := q.Layer.Projections()[m]
		weight, bias := num.RMS(l.Weight), num.RMS(l.Bias)
		for o := range l.Out {
			for i := range l.In + 1 {
				switch {
				case !free.frees(q.Layer, m, o, i):
				case i < l.In:
					l.Weight[o*l.In+i] = weight * r.NormFloat64()
				default:
					l.Bias[o] = bias * r.NormFloat64()
				}
			}
		}
	}
	return q
}

// headText says which head alone is wrong; "" where that is not known.
func (at localisation) headText(names [4]Parameter, l *oracle.Layer) string {
	if at.within == nil {
		return ""
	}
	place := freedom{maps: []Projection{OutputMap}, heads: at.within}.place(l, names) + names[OutputMap].Weight
	return fmt.Sprintf("all that is wrong lies in what head %s gives: only where %s lead; the other heads and the output weight are right", Ranges(at.within), place)
}

// finding says what least squares found; nil where it explains nothing.
func (at localisation) finding() *finding {
	if len(at.holding) == 0 {
		return nil
	}
	first := at.holding[0]
	var words []string
	for _, x := range at.holding {
		words = append(words, x.Freed)
	}
	worst := slices.MaxFunc(at.holding, func(a, b fit) int { return cmpFloat(a.Residual, b.Residual) })
	text := fmt.Sprintf("the output is as with %s other than it should be and all else right: with what least squares finds it is explained to %.2g (max z %.2g)",
		strings.Join(words, ", or with "), worst.Residual, worst.MaxZ)
	if !math.IsInf(at.apart, 1) {
		text += fmt.Sprintf("; freeing any other leaves %.2g or more", at.apart)
	}
	out := found(WrongWeights, "%s", text)
	if first.Detail != "" && len(at.holding) == 1 {
		out.because("%s", first.Detail)
	}
	for _, m := range at.also {
		out.because("the %s weight or bias could not be asked (%s), and might give such an output on this case", m, at.refusal(m))
	}
	if len(at.holding) > 1 {
		out.because("this case cannot tell these apart")
	}
	for _, x := range at.untested {
		why := x.Refused
		if why == "" {
			why = fmt.Sprintf("it leaves %.2g", x.Residual)
		}
		out.because("%s: could not be asked (%s); drawn anew, it would not be taken for this", x.Freed, why)
	}
	return out
}

func (at localisation) refusal(m Projection) string {
	for _, x := range at.tried {
		if x.free.is(m) && x.Refused != "" && !x.free.bias {
			return x.Refused
		}
	}
	return "it comes too near"
}
