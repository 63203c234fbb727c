package fit

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// Fit is one question: would other values of some parameters give the output, with all other
// parameters right? Least squares finds the values, and the case is computed again with them.
type Fit struct {
	Freed      string   // "the value weight (v_proj.weight)"
	Parameters []string // names in the state dict
	// Refused is why this case cannot answer the question, or why values that fit explain nothing;
	// "" if neither is so.
	Refused string

	Holds    bool    // the values found explain the output
	Residual float64 // RMS(got - replay) / RMS(replay)
	MaxZ     float64 // of got - replay, in units of the replay's sigma
	Detail   string  // how the values found differ from the right ones

	// Narrowest reports whether the fit frees the fewest parameters among the fits that explain
	// the output and free the same projection.
	Narrowest bool
	// Confusable reports whether the case cannot answer the question, and the explanation found
	// would explain outputs of other values of these parameters, too.
	Confusable bool

	free freeSet
}

// Named reports whether the parameters are to be named: they explain the output, or the case cannot
// tell them from parameters that do.
func (f Fit) Named() bool { return f.Explains() && f.Narrowest || f.Confusable }

// Explains reports whether the question was asked and the answer is yes.
func (f Fit) Explains() bool { return f.Refused == "" && f.Holds }

// Projections returns the names of the projections with free parameters: "value".
func (f Fit) Projections() []string {
	var names []string
	for _, m := range f.free.projections {
		names = append(names, m.String())
	}
	return names
}

// WithProjections returns a fit in which the named projections have free parameters, as one that
// was stored in a file. It reports false if a name is no projection's.
func (f Fit) WithProjections(names []string) (Fit, bool) {
	f.free = freeSet{}
	for _, name := range names {
		m := slices.IndexFunc(allProjections, func(m Projection) bool { return m.String() == name })
		if m < 0 {
			return f, false
		}
		f.free.projections = append(f.free.projections, allProjections[m])
	}
	return f, true
}

// attempt is a fit and the problem with the values found.
type attempt struct {
	Fit
	problem *oracle.Problem // nil if no values were found
	// contradicted is set if right rows contradict the values found.
	contradicted bool
}

// fitter fits one output.
type fitter struct {
	ctx        context.Context // ends the work; what was found by then means nothing
	p          *oracle.Problem // right
	trace      oracle.Trace    // of p
	shape      []int
	got        []float64
	placements [4]attention.Placement
	within     sync.Map // by heads: the answer of isWithin
}

// interrupted is why a question was refused if the context ended.
const interrupted = "interrupted"

// fit frees one set of parameters.
func (f *fitter) fit(free freeSet) attempt {
	l := f.p.Layer
	out := attempt{Fit: Fit{
		Freed: free.text(l, f.placements), Parameters: free.names(l, f.placements),
		Residual: math.Inf(1), MaxZ: math.Inf(1), free: free,
	}}
	if f.ctx.Err() != nil {
		out.Refused = interrupted
		return out
	}
	x := f.jacobian(f.p, free)
	share, reason := x.identifiable()
	if reason != "" {
		out.Refused = reason
		return out
	}
	start := f.p
	switch {
	case len(free.projections) > 1:
		start, reason = f.startOfProduct(x)
	case free.projections[0] < ValueProjection && !free.bias:
		var mixture compare.Comparison
		if start, mixture, reason = f.startOfScores(x); reason == "" && start == nil {
			out.Residual, out.MaxZ = mixture.Rel, mixture.MaxZ
			return out
		}
	}
	if reason != "" {
		out.Refused = reason
		return out
	}
	out = f.solve(out, x.blocks(), start, share)
	if out.Holds {
		out.Refused = f.contradicted(out)
		out.contradicted = out.Refused != ""
	}
	if out.Holds && !out.contradicted {
		out.Refused = f.implausible(out)
	}
	if !out.Holds && (free.curved(f.p) || math.IsNaN(out.Residual)) {
		const text = "no such parameter was found (%.2g is left), and the search does not see all"
		out.Refused = fmt.Sprintf(text, out.Residual)
	}
	return out
}

// jacobian returns the jacobian of a problem. The trace of the right one is known.
func (f *fitter) jacobian(p *oracle.Problem, free freeSet) *jacobian {
	if p == f.p {
		return jacobianOf(p, f.trace, free)
	}
	return newJacobian(p, free)
}

// curved reports whether the search for query or key parameters may miss an explanation. The
// search for a bias begins at the right parameters, and no search inverts a softcap.
func (f freeSet) curved(p *oracle.Problem) bool {
	return f.projections[0] < ValueProjection && (f.bias || p.Softcap > 0)
}

// solve takes steps of least squares from a start, until the output is explained or the steps
// stop helping.
func (f *fitter) solve(out attempt, b blocks, p *oracle.Problem, share float64) attempt {
	for n := 0; ; n++ {
		x := f.jacobian(p, out.free)
		c, before := compare.Outputs(f.shape, f.got, x.t.Output.Expected()), out.Residual
		if n > 0 && leadsAway(c, before) {
			return out
		}
		out.Residual, out.MaxZ, out.problem = c.Rel, c.MaxZ, p
		out.Holds = holds(c, share)
		if f.finished(out, n, before) {
			return out
		}
		p = x.moved(cgls(f.ctx, x.operator(), b, x.missing(f.got), len(x.mask)))
	}
}

// leadsAway reports whether an output is outside the noise and further off than before.
func leadsAway(c compare.Comparison, before float64) bool { return !c.OK() && !(c.Rel <= before) }

// finished reports whether more steps cannot bring a fit nearer after n steps. The last one began
// at the residual before. Values and outputs are linear, so one step is enough. A start from
// recovered weights that is not near the output has no explanation near it.
func (f *fitter) finished(out attempt, n int, before float64) bool {
	const most = 5
	if n == 0 {
		return out.problem != f.p && out.Residual > 2*compare.MaxResidual
	}
	linear := out.free.is(ValueProjection) || out.free.is(OutputProjection)
	return n == most || out.Holds || !(out.Residual < before/2) || linear && out.Residual > compare.MaxResidual
}

// holds reports whether a fit explains an output: within the share of the replay's noise that
// least squares leaves.
func holds(c compare.Comparison, share float64) bool {
	return c.Explained() && c.RMSZ <= c.Limits.RMS*math.Sqrt(share)
}

// implausible says why values that fit explain nothing; "" if they do explain. Very large
// parameters tell apart rows that differ by rounding alone. A very noisy computation agrees with
// anything, and an output near the right one with many.
func (f *fitter) implausible(out attempt) string {
	const larger, noisier = 64, 16
	for _, m := range out.free.projections {
		right, other := f.p.Layer.Projections()[m], out.problem.Layer.Projections()[m]
		if ratio := num.RMS(other.Weight) / num.RMS(right.Weight); ratio > larger {
			return fmt.Sprintf("only %s weights %.2g times as large would fit", m, ratio)
		}
	}
	if off := compare.Outputs(f.shape, f.got, f.trace.Output.Expected()).Rel; off < compare.MinMargin*out.Residual {
		return fmt.Sprintf("the output is %.2g from the right one, too near to tell what is other", off)
	}
	if out.free.projections[0] >= ValueProjection {
		if reason := f.otherMixtures(); reason != "" {
			return reason
		}
	}
	if ratio := relativeNoise(out.problem.Run()) / relativeNoise(f.trace.Output); !(ratio <= noisier) {
		return fmt.Sprintf("what would fit is %.2g times as noisy as the right computation", ratio)
	}
	return ""
}

// relativeNoise returns the RMS of an output's noise over the RMS of its values.
func relativeNoise(f oracle.Field) float64 {
	var noise, size float64
	for i, v := range f.Value {
		if !math.IsNaN(v) {
			noise, size = noise+f.Variance[i], size+v*v
		}
	}
	return math.Sqrt(noise / size)
}
