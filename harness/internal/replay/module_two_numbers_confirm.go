package replay

import (
	"math"

	"github.com/difftest/difftest/harness/internal/compare"
)

// confirm holds the output against two numbers in their own noise. It returns nil, and the
// residual, if they do not explain the output, or if nothing bounds one of the values.
func (n twoNumbers) confirm(t tried2) (*NumberMatch, float64) {
	m := n.a.module
	g := n.graph(n.values(t.at))
	output := m.outputOfGraph(g)
	own := m.noiseOf(g, output)
	if own.tooSmall(n.a.got) {
		return nil, compare.Residual(n.a.got, output.Data)
	}
	want, err := own.expected()
	if err != nil {
		return nil, math.Inf(1)
	}
	e := explanation{twoNumbers: n, want: want, at: t.at}
	c, ok := e.explains(t)
	if !ok {
		return nil, c.Rel
	}
	found := [2]NumberMatch{}
	for k, d := range e.dials() {
		if found[k], ok = e.match(k, d); !ok {
			return nil, c.Rel
		}
	}
	at, c := e.round(found, c)
	for k, d := range e.dials() {
		found[k].Value, found[k].Residual, found[k].MaxZ = d.valueAt(at[k]), c.Rel, c.MaxZ
	}
	found[0].Beside = &found[1]
	return &found[0], c.Rel
}

// explanation is values of two numbers that give the output.
type explanation struct {
	twoNumbers
	want compare.Expected // the output of these values, with its noise
	at   [2]float64       // the coordinates of the values
}

func (n twoNumbers) dials() [2]*dial { return [2]*dial{n.a, n.b} }

// explains reports whether values give the output, in the noise of the explanation.
func (e explanation) explains(t tried2) (compare.Comparison, bool) {
	if t.output == nil {
		return compare.Comparison{Rel: math.Inf(1)}, false
	}
	c := compare.Outputs(e.want.Shape, e.a.got, compare.Expected{
		Shape: e.want.Shape, Value: t.output, Sigma: e.want.Sigma, Measured: true,
	})
	return c, c.Explained()
}

// with returns the values that come nearest to the output if one number has a given value.
func (e explanation) with(k int, coordinate float64) tried2 {
	at, free := e.at, [2]bool{true, true}
	at[k], free[k] = coordinate, false
	return e.descend(at, free)
}

// match returns one number of the explanation with the values that explain the output as well, the
// other number being what comes nearest then. It reports false if the right value, or the end of
// the number's range, explains the output as well.
func (e explanation) match(k int, d *dial) (m NumberMatch, ok bool) {
	m = NumberMatch{Number: d.at.number.Number, Value: d.valueAt(e.at[k]), Right: d.at.right}
	if alike := d.at.number.Alike; alike != nil {
		m.Alike = alike(d.module.view, d.module.graph.Nodes[d.at.sites[0]])
	}
	explains := func(value float64) bool {
		_, ok := e.explains(e.with(k, d.coordinate(value)))
		return ok
	}
	if m.Least, ok = d.last(m.Value, -1, explains); ok {
		m.Most, ok = d.last(m.Value, 1, explains)
	}
	return m, ok
}

// round returns the coordinates of rounder values that explain the output as well, if there are
// any. c is the comparison with the explanation's own values.
func (e explanation) round(found [2]NumberMatch, c compare.Comparison) ([2]float64, compare.Comparison) {
	dials := e.dials()
	best := e.at
	for k, d := range dials {
		if d.at.number.Step > 0 {
			continue
		}
		t := e.with(k, d.coordinate(roundest(d.at.number.Usual, found[k])))
		if other, ok := e.explains(t); ok {
			e.at, best, c = t.at, t.at, other
			continue
		}
	}
	for k, d := range dials {
		if d.at.number.Step > 0 {
			continue
		}
		m := found[k]
		m.Value = d.valueAt(best[k])
		at := best
		at[k] = d.coordinate(roundest(d.at.number.Usual, m))
		if other, ok := e.explains(e.try(at)); ok {
			best, c = at, other
		}
	}
	return best, c
}
