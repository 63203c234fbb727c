package replay

import (
	"cmp"
	"math"
	"slices"

	"github.com/difftest/difftest/harness/internal/compare"
)

// confirmed returns the pairs of numbers that explain the output, each at its nearest end. The
// search notes how near the others come, and each number of a pair alone.
func (q *twoSearch) confirmed(ends []twoEnd) []NumberMatch {
	slices.SortStableFunc(ends, func(a, b twoEnd) int { return cmp.Compare(a.off, b.off) })
	var found []NumberMatch
	done := map[[2]*dial]bool{}
	for _, e := range ends {
		if done[e.dials] {
			continue
		}
		residual := e.residual(e.tried2)
		var m *NumberMatch
		if e.near() {
			m, residual = e.confirm()
		}
		if m == nil {
			q.search.miss(residual)
			continue
		}
		done[e.dials] = true
		for k, d := range e.dials {
			q.search.miss(e.residual(e.with(e.at, k, d.at.right)))
		}
		found = append(found, *m)
	}
	return found
}

// with returns the values near some that come nearest to the output if one number has a given
// value.
func (n twoNumbers) with(at [2]float64, k int, value float64) tried2 {
	free := [2]bool{true, true}
	at[k], free[k] = n.dials[k].coordinate(value), false
	return n.descend(at, free)
}

// confirm holds the output against two numbers in their own noise. It returns nil, and the
// residual, if they do not explain the output, or if nothing bounds one of the values.
func (e twoEnd) confirm() (*NumberMatch, float64) {
	m, got := e.module(), e.dials[0].got
	g := e.graph(e.values(e.at))
	output := m.outputOfGraph(g)
	own := m.noiseOf(g, output)
	if own.tooSmall(got) {
		return nil, compare.Residual(got, output.Data)
	}
	want, err := own.expected()
	if err != nil {
		return nil, math.Inf(1)
	}
	x := explanation{e.twoNumbers, e.at, want}
	c, ok := x.explains(e.tried2)
	if !ok {
		return nil, c.Rel
	}
	var found [2]NumberMatch
	for k := range found {
		if found[k], ok = x.match(k); !ok {
			return nil, c.Rel
		}
	}
	at, c := x.round(found, c)
	for k, value := range e.values(at) {
		found[k].Value, found[k].Residual, found[k].MaxZ = value, c.Rel, c.MaxZ
	}
	found[0].Beside = &found[1]
	return &found[0], c.Rel
}

// explanation is values of two numbers that give the output.
type explanation struct {
	twoNumbers
	at   [2]float64       // the coordinates of the values
	want compare.Expected // the output that they give, with its noise
}

// explains reports whether values give the output, in the noise of the explanation.
func (e explanation) explains(t tried2) (compare.Comparison, bool) {
	if t.output == nil {
		return compare.Comparison{Rel: math.Inf(1)}, false
	}
	c := compare.Outputs(e.want.Shape, e.dials[0].got, compare.Expected{
		Shape: e.want.Shape, Value: t.output, Sigma: e.want.Sigma, Measured: true,
	})
	return c, c.Explained()
}

// match returns one number of the explanation with all values that explain the output. The other
// number then has whatever value comes nearest. match reports false if the right value, or the end
// of the number's range, explains the output as well.
func (e explanation) match(k int) (m NumberMatch, ok bool) {
	d := e.dials[k]
	m = NumberMatch{Number: d.at.number.Number, Value: d.valueAt(e.at[k]), Right: d.at.right}
	if alike := d.at.number.Alike; alike != nil {
		m.Alike = alike(d.module.view, d.module.graph.Nodes[d.at.sites[0]])
	}
	explains := func(value float64) bool {
		_, ok := e.explains(e.with(e.at, k, value))
		return ok
	}
	if m.Least, ok = d.last(m.Value, -1, explains); ok {
		m.Most, ok = d.last(m.Value, 1, explains)
	}
	return m, ok
}

// round returns the coordinates of rounder values that explain the output as well, if there are
// any. First one number gets a round value and the other one follows, then each by itself. c is the
// comparison with the explanation's own values.
func (e explanation) round(found [2]NumberMatch, c compare.Comparison) ([2]float64, compare.Comparison) {
	best := e.at
	take := func(t tried2) {
		if other, ok := e.explains(t); ok {
			best, c = t.at, other
		}
	}
	rounder := func(k int) float64 {
		if e.dials[k].at.number.Step > 0 {
			return e.dials[k].valueAt(best[k])
		}
		m := found[k]
		m.Value = e.dials[k].valueAt(best[k])
		return roundest(e.dials[k].at.number.Usual, m)
	}
	for k := range found {
		take(e.with(best, k, rounder(k)))
	}
	for k, d := range e.dials {
		at := best
		at[k] = d.coordinate(rounder(k))
		take(e.try(at))
	}
	return best, c
}
