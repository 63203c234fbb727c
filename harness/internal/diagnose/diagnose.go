package diagnose

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// Diagnosis is what can be said of an output.
type Diagnosis struct {
	Class       Class
	Reasons     []string  // the numbers and facts that decided the class
	Structure   Structure // where it is wrong; empty when the shapes differ
	Matches     []Match   // the mistakes, or pairs of them, that give this output; several cannot be told apart here
	Bands       []Band    // what every mistake looks like on this case
	Fits        []Fit     // what least squares was asked of parameters, explanations first; nil where a mistake was found before
	Pattern     *Pattern  // the attention weights that gave the output; nil where they cannot be recovered
	Stage       Stage     // what they show to be wrong; "" where they show nothing
	Unexplained bool      // it fails, and neither a mistake nor the class nor a fit says why
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
	trace     func() oracle.Trace
	names     [4]Parameter
	fits      []Fit
	fitting   *finding // what least squares found
	pattern   *Pattern
	stage     Stage
	head      string // the head that alone is wrong
	why       string // the weights cannot be recovered

	reference  *Reference
	part       part     // of the output, that mistakes are made on
	candidates []replay // that may be the mistake
	replays    []replay // those that the part sees, random ones and those of fewer bits among them
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
	problem *oracle.Problem // shared
	truth   compare.Expected
	known   []catalogue.Mistake // all that are tried
	trace   func() oracle.Trace
	names   [4]Parameter
	sample  sample
	made    *made
}

// NewReference is that of a problem whose right result is the truth. Where the problem is
// [oracle.Problem.Cached], and the truth its own, less is computed twice. Nobody may write to its arrays
// from then on.
func NewReference(p *oracle.Problem, truth compare.Expected) *Reference {
	p = p.Cached()
	return &Reference{
		problem: p, truth: truth, known: catalogue.Mistakes, trace: sync.OnceValue(p.Trace), sample: newSample(p, truth),
		made: &made{mistakes: catalogue.Mistakes, replays: make([]*replay, len(catalogue.Mistakes)), turn: make(chan struct{}, 1)},
	}
}

// Named says where a state dict has the four maps of the problem's layer, in the order of
// [oracle.Layer.Projections].
func (r *Reference) Named(names [4]Parameter) *Reference {
	r.names = names
	return r
}

// Without is a reference that does not know a mistake, as if the catalogue lacked it. It shares what was
// worked out of the others.
func (r *Reference) Without(id string) *Reference {
	other := *r
	other.known = slices.DeleteFunc(slices.Clone(r.known), func(m catalogue.Mistake) bool { return m.ID == id })
	return &other
}

// Diagnose classifies an output of the problem. c is its comparison with the truth. The mistakes
// are run only when the output fails. When ctx ends it says what is known by then, and that it was
// interrupted.
func (r *Reference) Diagnose(ctx context.Context, got []float64, c compare.Comparison) Diagnosis {
	if c.OK() {
		return Diagnosis{Class: Right}
	}
	e := &evidence{ctx: ctx, problem: r.problem, truth: r.truth, got: got, c: c, trace: r.trace, names: r.names, reference: r}
	if c.SameShape() {
		e.visible = r.problem.Visible()
		e.structure = structure(c, e.visible)
		e.part = part{sample: r.sample, got: r.sample.of(got), c: c}
		if r.sample.partial() {
			e.part.c = compare.Outputs(r.sample.truth.Shape, e.part.got, r.sample.truth)
		}
		e.replay()
		e.recoverPattern()
	}
	return e.conclude(checklist)
}

// replay makes the mistakes. One that the part does not see may be seen elsewhere.
func (e *evidence) replay() {
	all, missing := e.reference.replays(e.ctx)
	if missing > 0 {
		e.cut = fmt.Sprintf("%d of %d mistakes were not tried on this case, and no two at once", missing, len(e.reference.known))
	}
	for _, made := range all {
		if made.visible() {
			e.replays = append(e.replays, made)
		}
		if made.mistake.Replayable() && (made.visible() || e.part.partial()) {
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
		e.visible = slices.Repeat([]int{1}, len(truth.Value)/max(1, num.Last(shape)))
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
	d.Matches, d.Fits, d.Pattern, d.Stage = e.matches, e.fits, e.pattern, e.stage
	fits := slices.ContainsFunc(d.Fits, Fit.Explains)
	d.Unexplained = len(d.Matches) == 0 && !fits && (d.Class == Unclear || d.Class == MissingFeature) && e.cut == ""
	if d.Unexplained {
		d.Reasons = append(d.Reasons, e.seen()...)
	}
	return d
}
