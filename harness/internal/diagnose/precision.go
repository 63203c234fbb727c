package diagnose

import (
	"context"
	"math"
	"slices"
	"sync"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// lowered: the output is this case computed in fewer bits.
func lowered(e *evidence) *finding {
	s := &search{next: math.Inf(1)}
	for _, r := range e.replays {
		switch {
		case r.mistake.Lower != nil:
			e.tryLower(s, e.problem, r.mistake, r.mistake)
		case r.mistake.Replayable() && r.mistake.Family != catalogue.Precision:
			s.passed(distance(e.part.got, r.outputs[0]))
		}
	}
	if e.ctx.Err() != nil {
		e.cut = "fewer bits, and no two mistakes at once"
		return nil
	}
	e.matches = clearest(s.withMargins())
	return explained(e.matches)
}

// clearest are the explanations whose known errors are there as clearly as those of the best. Of two that
// round the same numbers nearly all, one shows the rest.
func clearest(matches []Match) []Match {
	const apart = 0.1
	best := 0.0
	for _, m := range matches {
		best = math.Max(best, m.Trace)
	}
	return slices.DeleteFunc(matches, func(m Match) bool { return m.Trace < best-apart })
}

// replayedLower: it is that of a mistake in fewer bits.
func replayedLower(e *evidence) *finding {
	s, lowers := &search{next: math.Inf(1)}, sync.OnceValue(e.lowerPrecisions)
	for _, r := range e.candidates {
		if r.mistake.Family == catalogue.Precision {
			continue
		}
		if off := distance(e.part.got, r.outputs[0]); !(off <= near) {
			s.passed(off)
			continue
		}
		wrong, ok := catalogue.Make(e.problem, nil, r.mistake)
		if !ok {
			continue
		}
		for _, low := range lowers() {
			e.tryLower(s, wrong, low, r.mistake, low)
		}
	}
	if e.ctx.Err() != nil {
		e.cut = "mistakes in fewer bits, and no two mistakes at once"
		return nil
	}
	e.matches = s.matches()
	return explained(e.matches)
}

// lowerPrecisions are those in which the right computation could not have given the output: where it could, by
// its size alone, no mistake is needed beside the fewer bits.
func (e *evidence) lowerPrecisions() []catalogue.Mistake {
	var lowers []catalogue.Mistake
	for _, m := range e.reference.known {
		if m.Lower == nil || e.problem.Precision.Rounds() {
			continue
		}
		f, err := newFewer(e.ctx, e.problem, nil, *m.Lower)
		if err == nil && !compare.Outputs(f.low.Shape, e.got, f.low).OK() {
			lowers = append(lowers, m)
		}
	}
	return lowers
}

// fewer is some rows of a computation in fewer bits: its result without, and with what is given rounded. Its
// noise is that of the rest.
type fewer struct {
	problem    *oracle.Problem
	precision  oracle.Precision
	rows       []int
	exact, low compare.Expected
}

// newFewer fails when ctx ends.
func newFewer(ctx context.Context, p *oracle.Problem, rows []int, lower oracle.Precision) (fewer, error) {
	f := fewer{problem: p, precision: lower, rows: rows}
	exact, err := p.Rows(ctx, rows, oracle.ValuesAlone)
	if err != nil {
		return f, err
	}
	low, err := p.Rounded(lower, oracle.Inputs|oracle.Parameters).Rows(ctx, rows, oracle.WithNoise)
	if err != nil {
		return f, err
	}
	f.low = low.Expected()
	f.exact = compare.Expected{Shape: exact.Shape, Value: exact.Value, Sigma: f.low.Sigma}
	return f, nil
}

// tryLower takes a problem in fewer bits for an explanation if it is one in the rows of the part and, where
// these are not all, in all.
func (e *evidence) tryLower(s *search, p *oracle.Problem, low catalogue.Mistake, mistakes ...catalogue.Mistake) {
	levels := [][]int{nil}
	if e.part.partial() {
		levels = [][]int{e.part.rows, nil}
	}
	var m Match
	for _, rows := range levels {
		f, err := newFewer(e.ctx, p, rows, *low.Lower)
		if err != nil {
			return
		}
		var ok bool
		if m, ok = f.explains(e.ctx, rowsOf(e.got, rows, num.Last(e.c.WantShape))); !ok {
			return
		}
	}
	m.Mistakes = mistakes
	s.found = append(s.found, m)
}

// explains says whether an output is within the noise of fewer bits, and the part of their
// errors that is known is there: those of inputs and parameters, which point somewhere.
//
// Measured on the committed cases, in orders of adding as different as one by one and tile by tile: the
// cosine of what a precision of fewer bits gives is 0.5 to 0.8 with its own known errors, below 0.34 with
// those of others. Few numbers point the same way by chance: six standard deviations, 6/sqrt(n), are asked
// for.
func (f fewer) explains(ctx context.Context, got []float64) (Match, bool) {
	const telling = 0.5
	c, trace := compare.Outputs(f.low.Shape, got, f.low), towards(got, f.exact, f.low)
	ok := c.OK() && c.Rel <= near && trace >= math.Max(telling, 6/math.Sqrt(float64(len(got)))) && f.inAll(ctx, got)
	return Match{Residual: c.Rel, MaxZ: c.MaxZ, Trace: trace}, ok
}

// inAll says whether the errors of inputs and those of parameters are both there, each once: weights
// alone that were rounded leave out the others.
func (f fewer) inAll(ctx context.Context, got []float64) bool {
	for _, part := range []oracle.Given{oracle.Inputs, oracle.Parameters} {
		without, err := f.problem.Rounded(f.precision, (oracle.Inputs|oracle.Parameters)&^part).Rows(ctx, f.rows, oracle.ValuesAlone)
		if err != nil {
			return false
		}
		went := share(got, compare.Expected{Value: without.Value, Sigma: f.low.Sigma}, f.low)
		if math.Abs(went-1) > 0.5 {
			return false
		}
	}
	return true
}
