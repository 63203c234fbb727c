package diagnose

import (
	"context"
	"slices"
	"sync"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/fit"
	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/pattern"
	"github.com/difftest/difftest/harness/internal/reorder"
	"github.com/difftest/difftest/harness/internal/replay"
)

// Diagnosis classifies an output, and holds the evidence.
type Diagnosis struct {
	Class     Class
	Reasons   []string             // the numbers and facts that decided the class
	Structure Structure            // where the output is wrong; empty if the shapes differ
	Matches   []replay.Match       // mistakes that give this output, the same on this case
	Numbers   []replay.NumberMatch // numbers that give this output with another value
	Orders    []reorder.Order      // orders that turn this output into the expected one
	Bands     []replay.Band        // size and direction of every mistake that this case sees
	Distances []replay.Distance    // of the output from every mistake that may explain it

	// Unwritten is the part whose zeros account for all that is wrong; nil if there is none.
	Unwritten *Unwritten

	// Fits holds the questions to least squares, explanations first. It is nil if an earlier step
	// decided.
	Fits []fit.Fit

	// Pattern holds the output's attention weights, nil if they cannot be recovered. Stage is the
	// step that they show to be wrong, "" if unknown.
	Pattern *pattern.Pattern
	Stage   pattern.Stage

	// Unexplained reports whether the output fails, and neither the class nor a mistake nor a fit
	// says why.
	Unexplained bool
}

// Reference diagnoses outputs of one problem. It makes every mistake once, when first needed.
// Several goroutines may use a Reference.
type Reference struct {
	mistakes   *replay.Case
	trace      func() oracle.Trace
	placements [4]attention.Placement
	layout     attention.InputLayout
}

// NewReference returns the reference of a problem and its right result. See [replay.NewCase].
func NewReference(p *oracle.Problem, truth compare.Expected) *Reference {
	c := replay.NewCase(p, truth)
	return &Reference{mistakes: c, trace: sync.OnceValue(c.Problem.Trace)}
}

// WithPlacements returns the reference for a state dict that holds the layer's projections at
// some placements. Diagnoses name parameters by them.
func (r *Reference) WithPlacements(placements [4]attention.Placement) *Reference {
	other := *r
	other.placements = placements
	return &other
}

// WithLayout returns the reference for a case with its own order of dimensions. Diagnoses name axes
// by it. The oracle's order, batch first, stays the order of all arrays.
func (r *Reference) WithLayout(layout attention.InputLayout) *Reference {
	other := *r
	other.layout = layout
	return &other
}

// Without returns the reference for a catalogue that lacks a mistake. It shares all computations
// with the first.
func (r *Reference) Without(id string) *Reference {
	other := *r
	other.mistakes = r.mistakes.Without(id)
	return &other
}

// Visibility tells which known mistakes the case can see.
func (r *Reference) Visibility() replay.Visibility { return r.mistakes.Visibility() }

// Diagnose classifies an output of the problem, whose comparison with the truth is c. It makes
// mistakes only if the output fails. When ctx ends, the diagnosis tells what was found by then,
// and that it was interrupted.
func (r *Reference) Diagnose(ctx context.Context, got []float64, c compare.Comparison) Diagnosis {
	if c.OK() {
		return Diagnosis{Class: Right}
	}
	problem := r.mistakes.Problem
	in := &input{
		problem: problem, truth: r.mistakes.Truth, got: got, comparison: c,
		whole: r.mistakes.Truth, output: got,
		trace: r.trace, placements: r.placements, layout: r.layout,
	}
	if c.SameShape() {
		in.visible = problem.Visible()
		in.structure = newStructure(c, in.visible)
		in.replays, in.unmade = replay.NewOutput(ctx, r.mistakes, got, c)
		if c.NonFinite == 0 && problem.Turn == nil && pattern.Untraceable(problem) == "" {
			in.recovery = pattern.Recover(problem, r.trace(), got)
		}
	}
	steps := checklist
	if problem.Turn != nil {
		steps = withoutAttention
	}
	return newDiagnosis(in, ask(ctx, steps, in))
}

// DiagnoseModule classifies an output of a module, whose graph is nil if it is not known. lower
// holds the noise that the output has in lower precisions, by their names.
func DiagnoseModule(
	ctx context.Context, truth compare.Expected, lower map[string][]float64, module *replay.Module,
	got []float64, c compare.Comparison,
) Diagnosis {
	if c.OK() {
		return Diagnosis{Class: Right}
	}
	in := &input{truth: truth, lower: lower, module: module, got: got, comparison: c, whole: truth, output: got}
	if c.SameShape() {
		if len(truth.Shape) > 1 {
			in.structure = newStructure(c, rowsThatMatter(truth))
		}
		in.leaveOutPadding()
		// A vector counts as one row, and a number as a row of one.
		shape := slices.Concat([]int{1, 1}, in.truth.Shape)[min(2, len(in.truth.Shape)):]
		in.comparison.GotShape, in.comparison.WantShape = shape, shape
		in.visible = slices.Repeat([]int{1}, len(in.truth.Value)/num.Last(shape))
	}
	return newDiagnosis(in, ask(ctx, structural, in))
}

func newDiagnosis(in *input, c conclusion) Diagnosis {
	d := Diagnosis{
		Class: c.class, Reasons: c.reasons, Structure: in.structure, Matches: c.matches, Numbers: c.numbers,
		Orders: c.orders, Distances: append(in.replays.Distances(), c.distances...), Unwritten: c.unwritten,
		Fits: c.fits.Fits, Pattern: in.recovery.Pattern, Stage: in.recovery.Stage,
	}
	for _, r := range in.replays.Visible {
		d.Bands = append(d.Bands, r.Band())
	}
	fits := slices.ContainsFunc(d.Fits, fit.Fit.Explains)
	vague := d.Class == Unclear || d.Class == MissingFeature
	d.Unexplained = vague && len(d.Matches) == 0 && !fits && !c.interrupted
	if !d.Unexplained {
		return d
	}
	if c.fits.Head != "" {
		d.Reasons = append(d.Reasons, c.fits.Head)
	}
	d.Reasons = append(append(d.Reasons, c.notes...), in.recovery.Lines()...)
	return d
}
