package replay

import (
	"cmp"
	"context"
	"math"
	"slices"

	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/edits"
)

// FindTwoNumbers looks for two numbers of the graph that give an output together with other values,
// each at all of its places. The search gives up early if the errors of numbers lead elsewhere than
// the output's error. FindTwoNumbers returns several pairs if the case cannot tell them apart.
func (m *Module) FindTwoNumbers(ctx context.Context, got []float64) ([]NumberMatch, Cut) {
	const replays = 300 // of a search, at most
	if m.lower || !m.affordable(replays) {
		return nil, ""
	}
	found := newTwoSearch(ctx, m, got).run()
	if ctx.Err() != nil {
		return nil, "not every two numbers of the graph were searched at once"
	}
	return found, ""
}

// twoSearch looks for two numbers that give one output.
type twoSearch struct {
	ctx    context.Context
	module *Module
	got    []float64
	errors []float64 // of the output, in units of the noise
	size   float64   // scalar product of the errors with themselves
	dials  []*dial
	search *search
}

// dial is a number of a graph at all of its places, and a few values of it.
type dial struct {
	*moduleSearch
	turned []turned
}

// turned is a value of a number, with the errors that the value gives.
type turned struct {
	value  float64
	errors []float64 // in units of the noise
	along  float64   // scalar product with the errors of the output
	size   float64   // scalar product with themselves
}

// newTwoSearch measures the errors that some values of each number give.
func newTwoSearch(ctx context.Context, m *Module, got []float64) *twoSearch {
	q := &twoSearch{ctx: ctx, module: m, got: got, errors: m.errorInNoise(got), search: newSearch()}
	q.size = product(q.errors, q.errors)
	q.search.miss(compare.Residual(got, m.Truth.Value)) // two numbers must come much nearer
	for _, n := range edits.Numbers {
		for _, at := range m.numberSites(n, everywhere) {
			q.dials = append(q.dials, &dial{moduleSearch: newModuleSearch(ctx, m, at, got)})
		}
	}
	each(ctx, twoAtOnce, len(q.dials), func(i int) { q.dials[i].turn(q.errors) })
	return q
}

// twoAtOnce names the stages of the search to whom listens.
const twoAtOnce = "two numbers at once"

// turn tries values that [Module.FindNumbers] has tried already.
func (d *dial) turn(errors []float64) {
	var values []float64
	switch {
	case d.at.number.Step > 0:
		values = d.grid()
	case d.leads():
		values = append(d.leading(), d.landmarks(d.grid())...)
	default:
		values = append(d.leading(), d.at.number.Usual...)
	}
	for _, v := range values {
		if v == d.at.right || v < d.least || v > d.most || d.ctx.Err() != nil {
			continue
		}
		if t := d.tryKept(v); !math.IsInf(t.off, 1) {
			e := d.module.errorInNoise(t.output)
			d.turned = append(d.turned, turned{v, e, product(errors, e), product(e, e)})
		}
	}
}

// run returns the pairs of numbers that give the output.
func (q *twoSearch) run() []NumberMatch {
	// The search is given up if multiples of the numbers' errors leave so much of the output's
	// error, squared, or if the nearest values leave so much of it.
	const elsewhere, hopeless = 0.85, 0.5
	const first, most = 6, 4
	starts := q.starts()
	if len(starts) == 0 || starts[0].left > elsewhere {
		return nil
	}
	count := min(first, len(starts))
	ends := q.descend(starts[:count])
	before := math.Sqrt(q.size / float64(len(q.errors)))
	for best := nearestEnd(ends); best.off < hopeless*before; best = nearestEnd(ends) {
		before = best.off
		ends = append(ends, q.descend(q.around(best))...)
	}
	if !slices.ContainsFunc(ends, twoEnd.near) {
		return nil
	}
	found := q.confirmed(append(ends, q.descend(starts[count:])...))
	if len(found) > most {
		return nil
	}
	return withMargin(found, q.search.next)
}

// twoNumbers is two numbers, and the values from which a search begins.
type twoNumbers struct {
	dials [2]*dial
	from  [2]float64
	left  float64 // how far the values leave the output: smaller is better
}

// starts returns all pairs of numbers, the most promising first, each with the values whose errors
// come nearest to the output's error.
func (q *twoSearch) starts() []twoNumbers {
	var all []twoNumbers
	for i, a := range q.dials {
		for _, b := range q.dials[i+1:] {
			best := twoNumbers{left: math.Inf(1)}
			for _, t := range a.turned {
				for _, u := range b.turned {
					if n := q.between([2]*dial{a, b}, t, u); n.left < best.left {
						best = n
					}
				}
			}
			if !math.IsInf(best.left, 1) {
				all = append(all, best)
			}
		}
	}
	slices.SortStableFunc(all, func(n, o twoNumbers) int { return cmp.Compare(n.left, o.left) })
	return all
}

// between returns two numbers on the way to given values, where the output would be nearest to the
// subject's if the error of each number grew along the way, and if the errors were added.
func (q *twoSearch) between(dials [2]*dial, t, u turned) twoNumbers {
	both := product(t.errors, u.errors)
	reach := func(d *dial, part float64) float64 {
		const most = 1.5 // of the way
		if d.at.number.Step > 0 {
			return 1
		}
		return min(max(part, 0), most)
	}
	best := twoNumbers{dials: dials, left: math.Inf(1)}
	try := func(s, r float64) {
		s, r = reach(dials[0], s), reach(dials[1], r)
		left := q.size - 2*s*t.along - 2*r*u.along + s*s*t.size + r*r*u.size + 2*s*r*both
		if left /= q.size; left < best.left {
			best.left, best.from = left, [2]float64{dials[0].partly(t.value, s), dials[1].partly(u.value, r)}
		}
	}
	det := t.size*u.size - both*both
	try((t.along*u.size-u.along*both)/det, (u.along*t.size-t.along*both)/det)
	for _, end := range []float64{math.Inf(-1), math.Inf(1)} {
		try(end, (u.along-reach(dials[0], end)*both)/u.size)
		try((t.along-reach(dials[1], end)*both)/t.size, end)
	}
	return best
}

// partly returns the value at a part of the way from the right value to another.
func (d *dial) partly(value, part float64) float64 {
	if part == 1 {
		return value
	}
	right := d.coordinate(d.at.right)
	return d.valueAt(right + part*(d.coordinate(value)-right))
}

// around returns starts that have one number from the end of a search, and another one: of two
// errors one may cover the other.
func (q *twoSearch) around(end twoEnd) []twoNumbers {
	var starts []twoNumbers
	values := end.values(end.at)
	for k, kept := range end.dials {
		for _, other := range q.dials {
			if slices.Contains(end.dials[:], other) {
				continue
			}
			n := twoNumbers{dials: [2]*dial{kept, other}, from: [2]float64{values[k], other.at.right}}
			if slices.Index(q.dials, other) < slices.Index(q.dials, kept) {
				slices.Reverse(n.dials[:])
				slices.Reverse(n.from[:])
			}
			starts = append(starts, n)
		}
	}
	each(q.ctx, twoAtOnce, len(starts), func(i int) { starts[i] = starts[i].nearest(end.dials) })
	return starts
}

// nearest returns the start with the nearest of a few values of the number that is none of some.
func (n twoNumbers) nearest(kept [2]*dial) twoNumbers {
	k := slices.IndexFunc(n.dials[:], func(d *dial) bool { return !slices.Contains(kept[:], d) })
	best := n
	best.left = math.Inf(1)
	for _, v := range n.dials[k].beside() {
		n.from[k] = v
		if n.left = n.try(n.coordinates(n.from)).off; n.left < best.left {
			best = n
		}
	}
	return best
}

// beside returns the right value of a number, and a few others.
func (d *dial) beside() []float64 {
	values := slices.Concat([]float64{d.at.right}, d.at.number.Usual, d.leading())
	if step := float64(d.at.number.Step); step > 0 {
		values = nil
		for _, times := range []float64{-2, -1, 1, 2} {
			values = append(values, d.at.right+times*step)
		}
	}
	return slices.DeleteFunc(values, func(v float64) bool { return v < d.least || v > d.most })
}

// twoEnd is the values of two numbers at which a search ends.
type twoEnd struct {
	twoNumbers
	tried2
}

// near reports whether the noise of the values may explain the output.
func (e twoEnd) near() bool {
	return e.off <= noisier*compare.MeasuredMaxRMSZ && e.residual(e.tried2) <= compare.MaxResidual
}

// nearestEnd returns the end that comes nearest to the output. Its distance is infinite if there is
// none.
func nearestEnd(ends []twoEnd) twoEnd {
	best := twoEnd{tried2: tried2{off: math.Inf(1)}}
	for _, e := range ends {
		if e.off < best.off {
			best = e
		}
	}
	return best
}

// descend searches from each start.
func (q *twoSearch) descend(starts []twoNumbers) []twoEnd {
	ends := make([]twoEnd, len(starts))
	each(q.ctx, twoAtOnce, len(starts), func(i int) {
		n := starts[i]
		ends[i] = twoEnd{n, n.descend(n.coordinates(n.from), [2]bool{true, true})}
	})
	return slices.DeleteFunc(ends, func(e twoEnd) bool { return e.output == nil })
}
