package diagnose

import (
	"context"
	"fmt"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/fit"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/pattern"
	"github.com/difftest/difftest/harness/internal/reorder"
	"github.com/difftest/difftest/harness/internal/replay"
)

// input holds everything that a step may look at. No step writes to it.
type input struct {
	problem    *oracle.Problem // right; nil if the oracle does not know the computation
	module     *replay.Module  // nil unless a graph is known in place of a problem
	truth      compare.Expected
	lower      map[string][]float64 // the noise of a module in lower precisions, by their names
	got        []float64
	comparison compare.Comparison
	// whole and output are truth and got with the rows that do not matter, which truth, got and
	// comparison lack. kept holds the places of the other rows, nil if all matter.
	whole     compare.Expected
	output    []float64
	kept      []int
	visible   []int // for each row: the number of keys that it sees
	structure Structure

	replays replay.Output // known mistakes on this case; empty without a problem
	unmade  replay.Cut    // the mistakes that could not be made

	recovery pattern.Recovery // the attention weights behind the output, if they can be recovered

	trace      func() oracle.Trace
	placements [4]attention.Placement
	layout     attention.InputLayout // the case's own order of dimensions
}

// step is one entry of a checklist. It takes the fits that an earlier step made.
type step struct {
	name string
	run  func(ctx context.Context, in *input, fits fit.Result) answer
}

// answer is the result of a step. A step may decide, hand fits to later steps, do neither, or
// leave work out because the context ended.
type answer struct {
	finding *finding
	fits    *fit.Result
	cut     replay.Cut
	note    string // what the step tried in vain, for a report without a cause
	// distances are how far the output is from the mistakes that the step made in a graph.
	distances []replay.Distance
}

// finding is the decision of a step: a class, and the numbers and facts behind it.
type finding struct {
	class   Class
	reasons []string
	matches []replay.Match       // mistakes that give the output
	numbers []replay.NumberMatch // numbers that give the output with another value
	orders  []reorder.Order      // orders that turn the output into the expected one
	// unwritten is the part that is zero where it should not be; nil if there is none.
	unwritten *Unwritten
}

func findingf(c Class, format string, args ...any) *finding {
	return &finding{class: c, reasons: []string{fmt.Sprintf(format, args...)}}
}

func (f *finding) because(format string, args ...any) *finding {
	f.reasons = append(f.reasons, fmt.Sprintf(format, args...))
	return f
}

// checklist runs from top to bottom. Proofs come before comparisons of size, so that a size never
// overrules a proof.
var checklist = []step{
	{"shape", check(otherShape)},
	{"dead output", check(dead)},
	{"every mistake made", everyMistake},
	{"one mistake", search(replay.FindSingle)},
	{"lower precision", search(replay.FindLowPrecision)},
	{"one wrong number", wrongNumber(replay.FindNumbers)},
	{"rounding", rounding},
	{"order", check(reordered)},
	{"one mistake in lower precision", search(replay.FindSingleInLowPrecision)},
	{"gain or shift", check(gainOrShift)},
	{"not written", notWritten},
	{"least squares", leastSquares}, // decides nothing: two known mistakes say more than parameters
	{"two mistakes", twoMistakes},
	{"a wrong number and a mistake", wrongNumber(replay.FindNumbersWithMistakes)},
	{"other parameters", otherParameters},
	{"factors and functions", check(factorsOrFunctions)},
	{"non-finite", check(nonFinite)},
	{"rows not written", check(unwritten)},
	{"rows of a mask", rowsOfAMask},
	{"rows of the scores", check(rowsOfTheScores)},
	{"unrelated output", unrelated},
	{"nothing fits", check(nothingFits)},
}

// withoutAttention is the checklist for a rotation by tables, which has neither parameters nor
// scores.
var withoutAttention = []step{
	{"shape", check(otherShape)},
	{"dead output", check(dead)},
	{"every mistake made", everyMistake},
	{"one mistake", search(replay.FindSingle)},
	{"lower precision", search(replay.FindLowPrecision)},
	{"rounding", rounding},
	{"order", check(reordered)},
	{"one mistake in lower precision", search(replay.FindSingleInLowPrecision)},
	{"two mistakes", twoMistakes},
	{"non-finite", check(nonFinite)},
	{"rows not written", check(unwritten)},
	{"nothing fits", check(nothingFits)},
}

// structural is the checklist for a computation that the oracle does not know, in which no
// mistake can be made. An output that is not finite has no distance from another, so that step
// comes before all that measure one.
var structural = []step{
	{"shape", check(otherShape)},
	{"non-finite", check(nonFinite)},
	{"dead output", check(dead)},
	{"order", check(reordered)},
	{"fewer bits", check(fewerBits)},
	{"lower precision", check(lowerPrecision)},
	{"one mistake in the graph", mistakeInGraph},
	{"rounded factors", check(roundedFactors)},
	{"one wrong number in the graph", numberInGraph((*replay.Module).FindNumbers)},
	{"gain or shift", check(gainOrShift)},
	{"parameters in wrong places", inGraph((*replay.Module).FindParameters)},
	{"factors of parameters", numberInGraph((*replay.Module).ParameterFactors)},
	{"two mistakes in the graph", pairsInGraph},
	{"two wrong numbers in the graph", numberInGraph((*replay.Module).FindTwoNumbers)},
	{"other values of a parameter", valuesInGraph},
	{"factors and functions", check(factorsOrFunctions)},
	{"size of a lower precision", check(sizeOfLowerPrecision)},
	{"rows not written", check(unwritten)},
	{"unknown module", check(unknownModule)},
}

// check is a step that decides from the input alone, or does not decide.
func check(decide func(*input) *finding) func(context.Context, *input, fit.Result) answer {
	return func(_ context.Context, in *input, _ fit.Result) answer { return answer{finding: decide(in)} }
}

// search is a step that decides if it finds mistakes.
func search(
	find func(context.Context, replay.Output) ([]replay.Match, replay.Cut),
) func(context.Context, *input, fit.Result) answer {
	return func(ctx context.Context, in *input, _ fit.Result) answer {
		matches, cut := find(ctx, in.replays)
		return answer{finding: explained(matches), cut: cut}
	}
}

// conclusion is the result of a checklist.
type conclusion struct {
	finding
	notes       []string
	fits        fit.Result
	distances   []replay.Distance
	interrupted bool
}

// ask runs the steps of a checklist until one decides or is cut off.
func ask(ctx context.Context, steps []step, in *input) conclusion {
	var c conclusion
	for _, s := range steps {
		a := s.run(ctx, in, c.fits)
		if a.fits != nil {
			c.fits = *a.fits
		}
		if a.note != "" {
			c.notes = append(c.notes, a.note)
		}
		c.distances = append(c.distances, a.distances...)
		switch {
		case a.cut != "":
			c.finding, c.interrupted = interrupted(in, a.cut), true
			return c
		case a.finding != nil:
			c.finding = *a.finding
			return c
		}
	}
	return c
}

// interrupted says what was not tried. Without it nothing is certain about the other mistakes.
func interrupted(in *input, cut replay.Cut) finding {
	f := findingf(Unclear, "interrupted: %s", cut)
	if nearest, off := in.replays.Nearest(); off <= compare.MaxResidual {
		f.because("of what was tried, %s comes nearest: residual %.2g", nearest.Title, off)
	}
	return *f
}
