package selftest

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/diagnose"
	"github.com/difftest/difftest/harness/internal/replay"
	"github.com/difftest/difftest/harness/internal/report"
)

// outcome is how the diagnosis named a planted output.
type outcome int

const (
	unexplained outcome = iota // no name
	right                      // the planted name, and no other
	equivalent                 // the planted name, among others with the same output
	impostor                   // only the names of other mistakes with the same output
	constant                   // no name, but rightly called constant, or without a finite number
	wrong                      // the name of a mistake with another output
)

// outcome compares a verdict with what was planted.
func (t *trial) outcome(p plant, r report.Result) outcome {
	own, others := false, false
	for _, n := range r.Diagnosis.Numbers {
		switch {
		case p.number.is(n):
			own = true
		case t.reproducesNumber(n, p):
			others = true
		default:
			return wrong
		}
	}
	for _, match := range r.Diagnosis.Matches {
		switch {
		case match.ID() == p.id():
			own = true
		case t.reproduces(match, p):
			others = true
		default:
			return wrong
		}
	}
	switch {
	case own && others:
		return equivalent
	case own:
		return right
	case others:
		return impostor
	case r.Diagnosis.Class == diagnose.Dead && p.constant(),
		r.Diagnosis.Class == diagnose.NonFinite && !p.finite():
		return constant
	}
	return unexplained
}

// constant reports whether all rows of the planted output are the same.
func (p plant) constant() bool {
	width := p.exact.Shape[len(p.exact.Shape)-1]
	first := slices.Repeat(p.exact.Value[:width], len(p.exact.Value)/width)
	return compare.Outputs(p.exact.Shape, first, p.exact).OK()
}

// finite reports whether the planted output holds a finite number. Without one nothing tells what
// was planted.
func (p plant) finite() bool {
	return slices.ContainsFunc(p.exact.Value, func(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) })
}

// reproduces reports whether making the named mistakes yields the planted output. Random mistakes
// never do.
func (t *trial) reproduces(named replay.Match, p plant) bool {
	for _, m := range named.Mistakes {
		if m.Random {
			return false
		}
	}
	problem, ok := catalogue.Make(t.problem, rand.New(rand.NewPCG(0, 0)), named.Mistakes...)
	if !ok {
		return false
	}
	other := problem.Run().Expected()
	if slices.ContainsFunc(named.Mistakes, func(m catalogue.Mistake) bool { return m.Lower != nil }) {
		// Fewer bits have many possible outputs. The planted one must be within their noise.
		return compare.Outputs(other.Shape, p.exact.Value, other).OK()
	}
	if p.by == ByPyTorch {
		return same(other, p.withNoiseOf(other))
	}
	return same(other, p.exact)
}

// reproducesNumber reports whether a wrong number yields the planted output.
func (t *trial) reproducesNumber(named replay.NumberMatch, p plant) bool {
	problem, ok := catalogue.Make(t.problem, nil, named.With...)
	if !ok {
		return false
	}
	if _, ok := named.Number.Get(problem); !ok {
		return false
	}
	named.Number.Set(problem, named.Value)
	return same(problem.Run().Expected(), p.exact)
}

// withNoiseOf returns the planted output, and fills in the noise of another computation where the
// planted output has none. In rows that see no key, the catalogue may have NaN and PyTorch a
// number.
func (p plant) withNoiseOf(other compare.Expected) compare.Expected {
	e := p.exact
	e.Sigma = slices.Clone(e.Sigma)
	for i, s := range e.Sigma {
		if !(s > 0) {
			e.Sigma[i] = other.Sigma[i]
		}
	}
	return e
}

// misclassified reports whether an output without a name got a magnitude class to which none of its
// mistakes belongs. The class rounding never counts, because slightly wrong parameters look the
// same.
func misclassified(p plant, d diagnose.Class) bool {
	kinds, ok := map[diagnose.Class][]catalogue.Kind{
		diagnose.WrongWeights:   {catalogue.Unloaded, catalogue.Parameters},
		diagnose.MissingFeature: {catalogue.Missing, catalogue.Altered},
		diagnose.WrongLayout:    {catalogue.Layout},
	}[d]
	for _, m := range p.mistakes {
		for _, k := range kinds {
			ok = ok && m.Kind != k
		}
	}
	return ok
}

// answer describes a diagnosis for people.
func answer(r report.Result) string {
	d := r.Diagnosis
	var names []string
	for _, n := range d.Numbers {
		names = append(names, n.Label())
	}
	if len(d.Matches)+len(names) == 0 {
		return "no name, " + string(d.Class)
	}
	for _, m := range d.Matches {
		names = append(names, m.ID())
	}
	return strings.Join(names, " or ")
}
