package diagnose

import (
	"context"
	"fmt"
	"slices"

	"github.com/difftest/difftest/harness/catalogue"
	"github.com/difftest/difftest/harness/compare"
	"github.com/difftest/difftest/harness/oracle"
)

// Diagnosis is what can be said of an output.
type Diagnosis struct {
	Class       Class
	Reasons     []string  // the numbers and facts that decided the class
	Structure   Structure // where it is wrong; empty when the shapes differ
	Matches     []Match   // the mistakes, or pairs of them, that give this output; several cannot be told apart here
	Bands       []Band    // what every mistake looks like on this case
	Unexplained bool      // it fails, and neither a mistake nor the class says why
}

// evidence is everything that the checklist looks at.
type evidence struct {
	ctx       context.Context
	problem   *oracle.Problem
	truth     compare.Expected
	got       []float64
	c         compare.Comparison
	visible   []int // keys that each row sees
	structure Structure
	matches   []Match // what a check found that looks for them

	reference  *Reference
	part       part     // of the output, that mistakes are made on
	candidates []replay // that may be the mistake
	replays    []replay // those of them that the part sees
	cut        string   // what was not tried, because ctx ended
}

// part is what an output is in the rows of a sample.
type part struct {
	sample
	got []float64
	c   compare.Comparison
}

// Reference is what outputs are held against: a problem, its truth, and what every mistake makes of
// it, which is worked out once, when it is first asked for. It may be used from several goroutines.
type Reference struct {
	problem  *oracle.Problem // shared
	truth    compare.Expected
	sample   sample
	mistakes []catalogue.Mistake
	made     []*replay     // of each of them, nil: not yet
	turn     chan struct{} // of who makes them
}

// NewReference is that of a problem whose right result is the truth. Where the problem is
// [oracle.Problem.Shared], and the truth its own, less is computed twice. Nobody may write to its arrays
// from then on.
func NewReference(p *oracle.Problem, truth compare.Expected) *Reference {
	return &Reference{
		problem: p.Shared(), truth: truth, sample: newSample(p, truth),
		mistakes: catalogue.Mistakes, made: make([]*replay, len(catalogue.Mistakes)), turn: make(chan struct{}, 1),
	}
}

// Diagnose classifies an output of the problem. c is its comparison with the truth. The mistakes
// are run only when the output fails. When ctx ends it says what is known by then, and that it was
// interrupted.
func (r *Reference) Diagnose(ctx context.Context, got []float64, c compare.Comparison) Diagnosis {
	if c.OK() {
		return Diagnosis{Class: Right}
	}
	e := &evidence{ctx: ctx, problem: r.problem, truth: r.truth, got: got, c: c, reference: r}
	if c.SameShape() {
		e.visible = r.problem.Visible()
		e.structure = structure(c, e.visible)
		e.part = part{sample: r.sample, got: r.sample.of(got), c: c}
		if r.sample.partial() {
			e.part.c = compare.Outputs(r.sample.truth.Shape, e.part.got, r.sample.truth)
		}
		e.replay()
	}
	return e.conclude(checklist)
}

// replay makes the mistakes. One that the part does not see may be seen elsewhere.
func (e *evidence) replay() {
	all, missing := e.reference.replays(e.ctx)
	if missing > 0 {
		e.cut = fmt.Sprintf("%d of %d mistakes were not tried on this case, and no two at once", missing, len(e.reference.mistakes))
	}
	for _, made := range all {
		if made.visible() {
			e.replays = append(e.replays, made)
		}
		if !made.mistake.Random && (made.visible() || e.part.partial()) {
			e.candidates = append(e.candidates, made)
		}
	}
}

// DiagnoseUnknown classifies an output of which no more is known than the truth.
func DiagnoseUnknown(truth compare.Expected, got []float64, c compare.Comparison) Diagnosis {
	if c.OK() {
		return Diagnosis{Class: Right}
	}
	e := &evidence{truth: truth, got: got, c: c}
	if c.SameShape() {
		shape := slices.Concat([]int{1, 1}, truth.Shape)[min(2, len(truth.Shape)):] // a vector is one row, a number one of one
		e.c.GotShape, e.c.WantShape = shape, shape
		e.visible = slices.Repeat([]int{1}, len(truth.Value)/max(1, last(shape)))
	}
	if c.SameShape() && len(truth.Shape) > 1 {
		e.structure = structure(c, e.visible)
	}
	return e.conclude(structural)
}

// conclude asks a checklist.
func (e *evidence) conclude(checklist []func(*evidence) *finding) Diagnosis {
	d := Diagnosis{Structure: e.structure}
	for _, r := range e.replays {
		d.Bands = append(d.Bands, r.band())
	}
	for _, check := range checklist {
		if f := check(e); f != nil {
			d.Class, d.Reasons = f.class, f.reasons
			break
		}
	}
	d.Matches = e.matches
	d.Unexplained = len(d.Matches) == 0 && (d.Class == Unclear || d.Class == MissingFeature) && e.cut == ""
	return d
}

func last(shape []int) int { return shape[len(shape)-1] }
