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
// each at all of its places. It searches nothing if the errors of the numbers alone lead elsewhere
// than the output's error. FindTwoNumbers returns several pairs if the case cannot tell them apart.
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
	dials  []*dial
	search *search

	error []float64 // of the output, in units of the noise
	size  float64   // scalar product of the error with itself
}

// dial is a number of a graph at all of its places, with what a few values of it give.
type dial struct {
	*moduleSearch
	tried []turned
}

// turned is a value of a number, with the error that it gives.
type turned struct {
	value    float64
	residual float64
	error    []float64 // in units of the noise
	along    float64   // scalar product with the output's error
	size     float64   // scalar product with itself
}

// newTwoSearch measures the errors that some values of each number give.
func newTwoSearch(ctx context.Context, m *Module, got []float64) *twoSearch {
	q := &twoSearch{ctx: ctx, module: m, got: got, search: newSearch(), error: m.errorInNoise(got)}
	q.size = product(q.error, q.error)
	q.search.miss(compare.Residual(got, m.Truth.Value)) // two numbers must come much nearer
	for _, n := range edits.Numbers {
		for _, at := range m.numberSites(n, everywhere) {
			q.dials = append(q.dials, &dial{moduleSearch: newModuleSearch(ctx, m, at, got)})
		}
	}
	each(ctx, "two numbers at once", len(q.dials), func(i int) { q.dials[i].turn(q.error) })
	for _, d := range q.dials {
		for _, t := range d.tried {
			q.search.miss(t.residual)
		}
	}
	return q
}

// turn tries the values that [Module.FindNumbers] tries, too. error is the output's, in units of
// the noise.
func (d *dial) turn(error []float64) {
	values := slices.Concat(d.leading(), d.at.number.Usual)
	if d.at.number.Step > 0 || d.leads() {
		values = d.grid()
	}
	for _, v := range values {
		if v == d.at.right || v < d.least || v > d.most || d.ctx.Err() != nil {
			continue
		}
		if t := d.tryKept(v); !math.IsInf(t.off, 1) {
			e := d.module.errorInNoise(t.output)
			d.tried = append(d.tried, turned{
				value: v, residual: compare.Residual(d.got, t.output),
				error: e, along: product(error, e), size: product(e, e),
			})
		}
	}
}

// twoNumbers is two numbers, and the values from which a search begins.
type twoNumbers struct {
	a, b *dial
	x, y float64 // the values
	left float64 // the part of the output's error that multiples of their errors leave, squared
}

// starts returns all pairs of numbers. The errors of their values come as near to the output's
// error as those of the numbers can. The nearest pair is first.
func (q *twoSearch) starts() []twoNumbers {
	var all []twoNumbers
	for i, a := range q.dials {
		for _, b := range q.dials[i+1:] {
			best := twoNumbers{left: math.Inf(1)}
			for _, t := range a.tried {
				for _, u := range b.tried {
					if s := q.from(a, t, b, u); s.left < best.left {
						best = s
					}
				}
			}
			if best.a != nil {
				all = append(all, best)
			}
		}
	}
	slices.SortStableFunc(all, func(s, t twoNumbers) int { return cmp.Compare(s.left, t.left) })
	return all
}

// from returns two numbers at the part of the way to given values at which their errors would come
// nearest to the output's error, if each went straight.
func (q *twoSearch) from(a *dial, t turned, b *dial, u turned) twoNumbers {
	const most = 1.5 // of the way
	both := product(t.error, u.error)
	left := func(s, r float64) float64 {
		return (q.size - 2*s*t.along - 2*r*u.along + s*s*t.size + r*r*u.size + 2*s*r*both) / q.size
	}
	ends := func(d *dial) []float64 {
		if d.at.number.Step > 0 {
			return []float64{1}
		}
		return []float64{0, most}
	}
	clamp := func(x float64, ends []float64) float64 { return min(max(x, ends[0]), ends[len(ends)-1]) }
	best, s, r := math.Inf(1), 0.0, 0.0
	try := func(x, y float64) {
		if off := left(x, y); off < best {
			best, s, r = off, x, y
		}
	}
	if det := t.size*u.size - both*both; det > 0 {
		x, y := (t.along*u.size-u.along*both)/det, (u.along*t.size-t.along*both)/det
		if x == clamp(x, ends(a)) && y == clamp(y, ends(b)) {
			try(x, y)
		}
	}
	for _, x := range ends(a) {
		try(x, clamp((u.along-x*both)/u.size, ends(b)))
	}
	for _, y := range ends(b) {
		try(clamp((t.along-y*both)/t.size, ends(a)), y)
	}
	return twoNumbers{a: a, b: b, x: a.partly(t.value, s), y: b.partly(u.value, r), left: best}
}

// partly returns the value at a part of the way from the right value to another.
func (d *dial) partly(value, part float64) float64 {
	if part == 1 {
		return value
	}
	right := d.coordinate(d.at.right)
	return d.valueAt(right + part*(d.coordinate(value)-right))
}

// run returns the pairs of numbers that give the output.
func (q *twoSearch) run() []NumberMatch {
	const first, most = 6, 4
	starts := q.starts()
	if len(starts) == 0 || starts[0].left > elsewhere {
		return nil
	}
	ends := q.descend(starts[:min(first, len(starts))])
	best := slices.MinFunc(ends, func(a, b twoEnd) int { return cmp.Compare(a.off, b.off) })
	if off := math.Sqrt(q.size / float64(len(q.error))); !(best.off < hopeless*off) {
		return nil
	}
	ends = append(ends, q.descend(q.around(best))...)
	if slices.ContainsFunc(ends, twoEnd.near) {
		ends = append(ends, q.descend(starts[len(starts[:min(first, len(starts))]):])...)
	}
	found := q.confirmed(ends)
	if len(found) == 0 || len(found) > most {
		return nil
	}
	return withMargin(found, q.search.next)
}

// A search is given up if the errors of numbers leave so much of the output's error, squared, or if
// the best values leave so much of it.
const elsewhere, hopeless = 0.85, 0.5

// twoEnd is the values of two numbers at which a search ends.
type twoEnd struct {
	twoNumbers
	tried2
}

// near reports whether the noise of the values may explain the output.
func (e twoEnd) near() bool {
	return e.off <= noisier*compare.MeasuredMaxRMSZ && e.residual(e.tried2) <= compare.MaxResidual
}

// descend searches from each start.
func (q *twoSearch) descend(starts []twoNumbers) []twoEnd {
	ends := make([]twoEnd, len(starts))
	each(q.ctx, "two numbers at once", len(starts), func(i int) {
		s := starts[i]
		from := [2]float64{s.a.coordinate(s.x), s.b.coordinate(s.y)}
		ends[i] = twoEnd{s, s.descend(from, [2]bool{true, true})}
	})
	return slices.DeleteFunc(ends, func(e twoEnd) bool { return e.output == nil })
}

// around returns starts with one number of a search that came near, and another one that has about
// its right value: of two errors one mostly covers the other.
func (q *twoSearch) around(end twoEnd) []twoNumbers {
	var starts []twoNumbers
	x, y := end.values(end.at)
	for i, a := range q.dials {
		for _, b := range q.dials[i+1:] {
			s := twoNumbers{a: a, b: b, x: a.at.right, y: b.at.right}
			set := func(d *dial, value float64) bool {
				switch d {
				case a:
					s.x = value
				case b:
					s.y = value
				}
				return d == a || d == b
			}
			if one, other := set(end.a, x), set(end.b, y); one != other {
				starts = append(starts, s)
			}
		}
	}
	return starts
}

// confirmed returns the pairs of numbers that explain the output, the nearest end of each.
func (q *twoSearch) confirmed(ends []twoEnd) []NumberMatch {
	slices.SortStableFunc(ends, func(a, b twoEnd) int { return cmp.Compare(a.off, b.off) })
	var found []NumberMatch
	done := map[[2]*dial]bool{}
	for _, e := range ends {
		if done[e.dials()] {
			continue
		}
		if !e.near() {
			q.search.miss(e.residual(e.tried2))
			continue
		}
		m, residual := e.confirm(e.tried2)
		if m == nil {
			q.search.miss(residual)
			continue
		}
		done[e.dials()] = true
		for k, d := range e.dials() {
			alone := explanation{twoNumbers: e.twoNumbers, at: e.at}.with(k, d.coordinate(d.at.right))
			q.search.miss(e.residual(alone))
		}
		found = append(found, *m)
	}
	return found
}
