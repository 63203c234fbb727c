package selftest

import (
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/diagnose"
	"github.com/difftest/difftest/harness/internal/replay"
	"github.com/difftest/difftest/harness/internal/report"
)

// outcome is what became of one planted output.
type outcome int

const (
	unexplained outcome = iota // it has no name
	right                      // it has its own, and no other
	equivalent                 // it has its own among those of mistakes that give the same output
	impostor                   // it has not its own, but that of one that gives the same output
	constant                   // it has no name, but is one row again and again and said to be: so is an output that nobody wrote
	wrong                      // it has the name of a mistake that gives another output
)

// outcome holds a verdict against what was planted.
func (t *trial) outcome(p plant, r report.Result) outcome {
	switch {
	case len(r.Diagnosis.Matches) > 0:
	case r.Diagnosis.Class == diagnose.Dead && p.constant():
		return constant
	default:
		return unexplained
	}
	own, others := false, false
	for _, match := range r.Diagnosis.Matches {
		switch {
		case joined(match.Mistakes) == p.id():
			own = true
		case t.gives(match, p):
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
	}
	return impostor
}

// constant says whether all rows of the planted output are the same.
func (p plant) constant() bool {
	width := p.exact.Shape[len(p.exact.Shape)-1]
	first := slices.Repeat(p.exact.Value[:width], len(p.exact.Value)/width)
	return compare.Outputs(p.exact.Shape, first, p.exact).OK()
}

// gives says whether what an output is called gives the output that was planted. What draws numbers of its
// own gives that of no other.
func (t *trial) gives(called replay.Match, p plant) bool {
	for _, m := range called.Mistakes {
		if m.Random {
			return false
		}
	}
	problem, ok := changed(t.problem, rand.New(rand.NewPCG(0, 0)), called.Mistakes...)
	if !ok {
		return false
	}
	other := problem.Run().Expected()
	if slices.ContainsFunc(called.Mistakes, func(m catalogue.Mistake) bool { return m.Lower != nil }) {
		return compare.Outputs(other.Shape, p.exact.Value, other).OK() // fewer bits give many outputs, and this is one
	}
	if p.by == ByPyTorch {
		return same(other, p.withNoiseOf(other))
	}
	return same(other, p.exact)
}

// withNoiseOf is the planted output with the noise of another computation where it has none: in rows that
// see no key, where the catalogue may have NaN and PyTorch a number.
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

// misclassified says whether an output without a name is said to be of a class that none of its mistakes is
// in. Rounding is not among them: parameters that are slightly off look the same.
func misclassified(p plant, d diagnose.Class) bool {
	kinds, ok := map[diagnose.Class][]catalogue.Kind{
		diagnose.WrongWeights:   {catalogue.Unloaded, catalogue.Parameters},
		diagnose.MissingFeature: {catalogue.Missing, catalogue.Altered},
	}[d]
	for _, m := range p.mistakes {
		for _, k := range kinds {
			ok = ok && m.Kind != k
		}
	}
	return ok
}

// said is what an output was called, for people.
func said(r report.Result) string {
	d := r.Diagnosis
	if len(d.Matches) == 0 {
		return "no name, " + string(d.Class)
	}
	var names []string
	for _, m := range d.Matches {
		names = append(names, m.ID())
	}
	return strings.Join(names, " or ")
}
