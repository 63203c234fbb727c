package diagnose

import (
	"math"
	"slices"
)

// leastSquares asks which parameters may be others, and decides nothing yet: two known mistakes that give the
// output say more than parameters that might.
func leastSquares(e *evidence) *finding {
	if e.c.NonFinite > 0 || len(e.structure.WrongBatches) == 0 {
		return nil
	}
	scale := scaleFit(e.problem, e.c.WantShape, e.got, e.structure.WrongBatches[0])
	e.fits = []Fit{scale}
	if scale.Holds {
		e.fitting = found(MissingFeature, "the output is as with another scale, found by least squares, and all else right: it is explained to %.2g (max z %.2g)", scale.Residual, scale.MaxZ).
			because("%s", scale.Detail)
		if e.problem.Layer != nil {
			e.fitting.because("all queries, or all keys, that much larger would give the same")
		}
		return nil
	}
	if e.problem.Layer == nil {
		return nil
	}
	if reason := untraceable(e.problem); reason != "" {
		e.fits = append(e.fits, Fit{Freed: "any parameter", Refused: reason, Residual: math.Inf(1), MaxZ: math.Inf(1)})
		return nil
	}
	f := newFitter(e.problem, e.trace(), e.c.WantShape, e.got, e.names)
	at := f.localise(e.c.Rel)
	for _, x := range at.tried {
		e.fits = append(e.fits, x.Fit)
	}
	slices.SortStableFunc(e.fits, func(a, b Fit) int { return rankOf(a) - rankOf(b) })
	e.fitting, e.head = at.finding(), at.headText(e.names, e.problem.Layer)
	return nil
}

// rankOf puts explanations first and what was not asked last.
func rankOf(f Fit) int {
	switch {
	case f.Explains():
		return 0
	case f.Refused == "":
		return 1
	}
	return 2
}

// fitted: the output is explained by parameters that are others.
func fitted(e *evidence) *finding { return e.fitting }

// recoverPattern finds the attention weights of the output, where that can be done.
func (e *evidence) recoverPattern() {
	if e.c.NonFinite > 0 {
		e.why = "the output is not finite"
		return
	}
	if e.why = untraceable(e.problem); e.why != "" {
		return
	}
	e.pattern, e.stage, e.why = pattern(e.problem, e.trace(), e.got)
}

// seen says what the recovered weights show.
func (e *evidence) seen() []string {
	var lines []string
	if e.head != "" {
		lines = append(lines, e.head)
	}
	switch {
	case e.pattern == nil && e.stage == "":
		return lines
	case e.pattern == nil:
		return append(lines, e.why)
	case len(e.pattern.Findings) == 0:
		return append(lines, "attention weights recovered from the output give every key that is hidden none and add to what they should: the scores differ")
	}
	for _, line := range e.pattern.Findings {
		lines = append(lines, "recovered attention weights: "+line)
	}
	return lines
}
