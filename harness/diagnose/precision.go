package diagnose

import (
	"math"
	"slices"

	"github.com/difftest/difftest/harness/catalogue"
	"github.com/difftest/difftest/harness/compare"
	"github.com/difftest/difftest/harness/oracle"
)

// lowered: the output is this case computed in fewer bits.
func lowered(e *evidence) *finding {
	s := &search{next: math.Inf(1)}
	for _, r := range e.replays {
		switch {
		case r.mistake.Lower != nil:
			s.tryLower(e.got, newFewer(e.problem, e.truth, r.mistake), r.mistake)
		case r.mistake.Replayable() && r.mistake.Family != catalogue.Precision:
			s.holds(e.got, r.outputs[0])
		}
	}
	e.matches = s.withMargins()
	return explained(e.matches)
}

// replayedLower: it is that of a mistake in fewer bits.
func replayedLower(e *evidence) *finding {
	s := &search{next: math.Inf(1)}
	for _, r := range e.replays {
		if !r.mistake.Replayable() || r.mistake.Family == catalogue.Precision {
			continue
		}
		if c := compare.Outputs(r.outputs[0].Shape, e.got, r.outputs[0]); c.NonFinite > 0 || !(c.Rel <= near) {
			if c.NonFinite == 0 {
				s.next = math.Min(s.next, c.Rel)
			}
			continue
		}
		wrong := e.problem.Clone()
		r.mistake.Plant(wrong, nil)
		for _, low := range e.lowerPrecisions() {
			s.tryLower(e.got, newFewer(wrong, r.outputs[0], low), r.mistake, low)
		}
	}
	e.matches = s.matches()
	return explained(e.matches)
}

func (e *evidence) lowerPrecisions() []catalogue.Mistake {
	if e.problem.Precision.Rounds() {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(catalogue.Mistakes), func(m catalogue.Mistake) bool { return m.Lower == nil })
}

// fewer is a computation in fewer bits: its result without, and with what is given rounded. Its noise is
// that of the rest.
type fewer struct {
	problem    *oracle.Problem
	precision  oracle.Precision
	exact, low compare.Expected
}

func newFewer(p *oracle.Problem, exact compare.Expected, m catalogue.Mistake) fewer {
	low := expected(p.Rounded(*m.Lower, oracle.Inputs|oracle.Parameters).Run())
	exact.Sigma = low.Sigma
	return fewer{p, *m.Lower, exact, low}
}

// tryLower takes fewer bits for an explanation if the output is within their noise, and the part of their
// errors that is known is there: those of inputs and parameters, which point somewhere.
//
// Measured on the committed cases, in orders of adding as different as one by one and tile by tile: the
// cosine of what a precision of fewer bits gives is 0.5 to 0.8 with its own known errors, below 0.34 with
// those of others. Few numbers point the same way by chance: six standard deviations, 6/sqrt(n), are asked
// for.
func (s *search) tryLower(got []float64, f fewer, mistakes ...catalogue.Mistake) {
	const telling = 0.5
	c, trace := compare.Outputs(f.low.Shape, got, f.low), towards(got, f.exact, f.low)
	if c.OK() && c.Rel <= near && trace >= math.Max(telling, 6/math.Sqrt(float64(len(got)))) && f.inAll(got) {
		s.found = append(s.found, Match{Mistakes: mistakes, Residual: c.Rel, MaxZ: c.MaxZ, Trace: trace})
	}
}

// inAll says whether the errors of inputs and those of parameters are both there, each once: weights
// alone that were rounded leave out the others.
func (f fewer) inAll(got []float64) bool {
	for _, part := range []oracle.Given{oracle.Inputs, oracle.Parameters} {
		without := expected(f.problem.Rounded(f.precision, (oracle.Inputs|oracle.Parameters)&^part).Run())
		without.Sigma = f.low.Sigma
		if went := share(got, without, f.low); math.Abs(went-1) > 0.5 {
			return false
		}
	}
	return true
}
