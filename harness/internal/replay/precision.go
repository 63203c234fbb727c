package replay

import (
	"context"
	"math"
	"slices"
	"sync"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// FindLowPrecision looks for lower precisions in which the right computation gives the output.
func FindLowPrecision(ctx context.Context, o Output) ([]Match, Cut) {
	s := newSearch()
	for _, r := range o.Visible {
		if r.Mistake.Replayable() && r.Mistake.Family != catalogue.Precision {
			s.miss(o.distance(r))
		}
	}
	for _, low := range o.visiblePrecisions(ctx) {
		s.addLow(ctx, o, o.Case.Problem, low, low)
	}
	if ctx.Err() != nil {
		return nil, "fewer bits, and no two mistakes at once"
	}
	return clearest(s.withMargins()), ""
}

// visiblePrecisions returns the lower precisions that the sample sees. Precisions that the early
// rows of a large case rule out are left out.
func (o Output) visiblePrecisions(ctx context.Context) []catalogue.Mistake {
	visible := o.Visible
	if o.Sampled.Partial() {
		near := map[string]bool{}
		for _, m := range o.Case.known {
			near[m.ID] = m.Lower != nil && storesAs(*m.Lower, o.Sampled.Got) && !o.earlyOutside(ctx, m.Lower)
		}
		visible, _ = o.Case.replays(ctx, func(m catalogue.Mistake) bool { return near[m.ID] })
	}
	var all []catalogue.Mistake
	for _, r := range visible {
		if r.Mistake.Lower != nil && r.visible() {
			all = append(all, r.Mistake)
		}
	}
	return all
}

// earlyOutside reports whether an element of the output's early rows is outside the noise of the
// right computation in a lower precision. It is false if the case has no early rows.
func (o Output) earlyOutside(ctx context.Context, lower *oracle.Precision) bool {
	e := o.Case.early
	if e == nil || o.Case.Problem.Precision.Rounds() {
		return false
	}
	want, err := roundedIn(ctx, e.right, e.rows, *lower)
	return err == nil && compare.Outputs(want.Shape, o.Early.Got, want).Outside > 0
}

// clearest keeps the matches that show their known errors about as clearly as the best match
// does. Two precisions may round nearly the same numbers; one of them shows the others too.
func clearest(matches []Match) []Match {
	const apart = 0.1
	best := 0.0
	for _, m := range matches {
		best = math.Max(best, m.Trace)
	}
	return slices.DeleteFunc(matches, func(m Match) bool { return m.Trace < best-apart })
}

// FindSingleInLowPrecision looks for single mistakes that give the output in a lower precision.
func FindSingleInLowPrecision(ctx context.Context, o Output) ([]Match, Cut) {
	s := newSearch()
	precisions := sync.OnceValue(func() []catalogue.Mistake { return precisionsThatNeedAMistake(ctx, o) })
	for _, r := range o.Candidates {
		if r.Mistake.Family == catalogue.Precision {
			continue
		}
		if off := o.distance(r); !(off <= compare.MaxResidual) {
			s.miss(off)
			continue
		}
		wrong, ok := catalogue.Make(o.Case.Problem, nil, r.Mistake)
		if !ok {
			continue
		}
		for _, low := range precisions() {
			s.addLow(ctx, o, wrong, low, r.Mistake, low)
		}
	}
	if ctx.Err() != nil {
		return nil, "mistakes in fewer bits, and no two mistakes at once"
	}
	return s.matches(), ""
}

// precisionsThatNeedAMistake returns the lower precisions in which the right computation could
// not have given the output. In the others, the size of the error needs no mistake beside the
// precision.
func precisionsThatNeedAMistake(ctx context.Context, o Output) []catalogue.Mistake {
	var all []catalogue.Mistake
	for _, m := range o.Case.known {
		if m.Lower == nil || o.Case.Problem.Precision.Rounds() || !storesAs(*m.Lower, o.Sampled.Got) {
			continue
		}
		if outside, err := isOutside(ctx, o, m.Lower); err == nil && outside {
			all = append(all, m)
		}
	}
	return all
}

// isOutside reports whether an output is outside the noise of the right computation in a lower
// precision. A sampled element outside decides; the root mean square is one of all elements.
func isOutside(ctx context.Context, o Output, lower *oracle.Precision) (bool, error) {
	if o.earlyOutside(ctx, lower) {
		return true, nil
	}
	if o.Sampled.Partial() {
		want, err := o.Case.sampleIn(ctx, lower)
		if err != nil || compare.Outputs(want.Shape, o.Sampled.Got, want).Outside > 0 {
			return true, err
		}
	}
	want, err := roundedIn(ctx, o.Case.Problem, nil, *lower)
	return err == nil && !compare.Outputs(want.Shape, o.Got, want).OK(), err
}

// addLow collects mistakes if problem p, in the precision of low, explains the output: in the
// sample first, then in all rows.
func (s *search) addLow(
	ctx context.Context, o Output, p *oracle.Problem, low catalogue.Mistake, mistakes ...catalogue.Mistake,
) {
	levels := [][]int{nil}
	if o.Sampled.Partial() {
		levels = [][]int{o.Sampled.Rows, nil}
	}
	var m Match
	for _, rows := range levels {
		got := rowsOf(o.Got, rows, o.width())
		if !storesAs(*low.Lower, got) {
			return
		}
		f := lowPrecision{problem: p, precision: *low.Lower, rows: rows}
		var err error
		if p == o.Case.Problem && rows != nil {
			f.rounded, err = o.Case.sampleIn(ctx, low.Lower)
		} else {
			f.rounded, err = roundedIn(ctx, p, rows, *low.Lower)
		}
		if err != nil {
			return
		}
		var ok bool
		if m, ok = f.explains(ctx, got); !ok {
			return
		}
	}
	m.Mistakes = mistakes
	s.found = append(s.found, m)
}

// storesAs reports whether an output consists of numbers of a precision, as the results of an
// arithmetic do that stores them in fewer bits, and of no others.
func storesAs(precision oracle.Precision, got []float64) bool {
	return precision.Stores() == precision.Holds(got)
}

// lowPrecision holds selected rows of a problem, computed at reduced precision from rounded inputs
// and parameters. Sigma covers all other roundings.
type lowPrecision struct {
	problem   *oracle.Problem
	precision oracle.Precision
	rows      []int // nil means all rows
	rounded   compare.Expected
}

// sampleIn is [roundedIn] for the sample of the right problem, computed when first needed and kept.
func (c *Case) sampleIn(ctx context.Context, lower *oracle.Precision) (compare.Expected, error) {
	c.cache.mu.Lock()
	defer c.cache.mu.Unlock()
	if known, ok := c.cache.lower[lower]; ok {
		return known, nil
	}
	e, err := roundedIn(ctx, c.Problem, c.sample.Rows, *lower)
	if err == nil {
		c.cache.lower[lower] = e
	}
	return e, err
}

// roundedIn computes rows of a problem from inputs and parameters rounded to a precision, with the
// noise of all other roundings.
func roundedIn(
	ctx context.Context, p *oracle.Problem, rows []int, precision oracle.Precision,
) (compare.Expected, error) {
	all := p.Rounded(precision, oracle.Inputs|oracle.Parameters).WithMeanErrors(precision)
	f, err := all.Rows(ctx, rows, oracle.WithNoise)
	if err != nil {
		return compare.Expected{}, err
	}
	return f.Expected(), nil
}

// explains reports whether an output is within the noise of the lower precision, and shows the
// precision's known errors. These come from rounded inputs and parameters, and have a direction.
//
// The limits were measured on the committed cases, with sums added one by one and tile by tile.
// The output of a lower precision has a cosine of 0.5 to 0.8 with its own known errors, and below
// 0.34 with another precision's. A few numbers point the same way by chance, so the cosine must
// also reach six standard deviations, 6/sqrt(n).
func (f lowPrecision) explains(ctx context.Context, got []float64) (Match, bool) {
	const telling = 0.5
	c := compare.Outputs(f.rounded.Shape, got, f.rounded)
	if !c.Explained() {
		return Match{}, false
	}
	exact, err := f.problem.Rows(ctx, f.rows, oracle.ValuesAlone)
	if err != nil {
		return Match{}, false
	}
	known := compare.Expected{Shape: exact.Shape, Value: exact.Value, Sigma: f.rounded.Sigma}
	trace, enough := cosine(got, known, f.rounded), math.Max(telling, 6/math.Sqrt(float64(len(got))))
	return Match{Residual: c.Rel, MaxZ: c.MaxZ, Trace: trace}, trace >= enough && f.showsAllRoundings(ctx, got)
}

// showsAllRoundings reports whether an output has the errors of rounded inputs and of rounded
// parameters, each once. Rounding the weights alone leaves the other errors out.
func (f lowPrecision) showsAllRoundings(ctx context.Context, got []float64) bool {
	const all = oracle.Inputs | oracle.Parameters
	for _, part := range []oracle.Given{oracle.Inputs, oracle.Parameters} {
		partly := f.problem.Rounded(f.precision, all&^part).WithMeanErrors(f.precision)
		without, err := partly.Rows(ctx, f.rows, oracle.ValuesAlone)
		if err != nil {
			return false
		}
		start := compare.Expected{Value: without.Value, Sigma: f.rounded.Sigma}
		went := progressBesideGain(got, start, f.rounded)
		if math.Abs(went-1) > 0.5 {
			return false
		}
	}
	return true
}
