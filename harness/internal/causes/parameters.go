package causes

import (
	"slices"
	"strings"

	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/fit"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/judge"
	"github.com/difftest/difftest/harness/internal/report"
)

// load returns the causes that lie in the load of the state dict. A layer that passes contradicts
// them: it holds the right parameters.
func (in *inquiry) load() []report.Cause {
	var found []report.Cause
	for _, cause := range []struct {
		proof report.Proof
		fix   string
	}{
		{report.LoadNoEffect, "See that the load is called, not assigned, and its error is checked, " +
			"and that it writes to the layer that computes, not to a copy."},
		{report.OtherParameters, "See what becomes of the values between the state dict and the layer."},
	} {
		c := report.Cause{ID: cause.proof.ID, Title: cause.proof.Title, Fix: cause.fix, Live: true}
		for _, r := range in.failures() {
			if r.Proves(c.ID) {
				c.Failures = append(c.Failures, r.Case)
			}
		}
		if len(c.Failures) > 0 {
			c.Contradictions = in.rightLayers()
			c.Passes = len(c.Contradictions)
			found = append(found, c)
		}
	}
	return found
}

// loadIsWrong reports whether a failure's parameters are proved to be others.
func (in *inquiry) loadIsWrong(r report.Result) bool {
	return r.Proves(report.LoadNoEffect.ID) || r.Proves(report.OtherParameters.ID)
}

// parameters returns the projections whose parameters, if they were others, would explain several
// failures that have no other explanation. told are the causes that were found before.
func (in *inquiry) parameters(told []report.Cause) []report.Cause {
	explained := explainedBy(told)
	var found []report.Cause
	of := map[string]freed{}
	for _, r := range in.unnamed() {
		if explained[r.Case] || len(r.Proven) > 0 {
			continue
		}
		for _, f := range r.Diagnosis.Fits {
			if what := freedBy(f); f.Named() && len(what.projections) > 0 {
				c := what.cause()
				of[c.ID] = what
				found = withFailure(found, c, r.Case)
			}
		}
	}
	return in.onlySupported(byFailures(found), of, explained)
}

// freed names the parameters that a fit changes to explain an output.
type freed struct {
	projections []string
	bias        bool // the bias alone
}

func freedBy(f fit.Fit) freed {
	weight := slices.ContainsFunc(f.Parameters, func(name string) bool { return !strings.HasSuffix(name, "bias") })
	return freed{projections: f.Projections(), bias: len(f.Parameters) > 0 && !weight}
}

// cause is the cause that other parameters of this kind are.
func (f freed) cause() report.Cause {
	what, kind, part := strings.Join(f.projections, " and "), "parameters", "rows"
	if f.bias {
		kind, part = "bias", "part"
	}
	text := "another bias of the " + what + " projection than the case's"
	if !f.bias {
		text = "other parameters of the " + what + " projection than the case's"
	}
	return report.Cause{
		ID: "other-" + strings.Join(f.projections, "-and-") + "-" + kind, Title: text,
		Fix: "See how the " + what + " projection is loaded: under which name, which " + part + " of it, " +
			"and in which layout.",
		Symptom: true,
	}
}

// explainedBy returns the failures that causes explain.
func explainedBy(causes []report.Cause) map[string]bool {
	explained := map[string]bool{}
	for _, c := range causes {
		for _, name := range c.Failures {
			explained[name] = true
		}
	}
	return explained
}

// withFailure adds a case to the failures of a cause, which is added to the causes if it is new.
func withFailure(causes []report.Cause, c report.Cause, name string) []report.Cause {
	i := slices.IndexFunc(causes, func(other report.Cause) bool { return other.ID == c.ID })
	if i < 0 {
		i = len(causes)
		causes = append(causes, c)
	}
	if !slices.Contains(causes[i].Failures, name) {
		causes[i].Failures = append(causes[i].Failures, name)
	}
	return causes
}

// onlySupported returns the causes that have enough evidence. It leaves out causes all of whose
// failures an earlier one has.
func (in *inquiry) onlySupported(causes []report.Cause, of map[string]freed, explained map[string]bool) []report.Cause {
	told := map[string]bool{}
	var kept []report.Cause
	for _, c := range causes {
		isNew := slices.ContainsFunc(c.Failures, func(name string) bool { return !told[name] })
		for i := range kept {
			if slices.Equal(kept[i].Failures, c.Failures) {
				kept[i].Alternatives = append(kept[i].Alternatives, c.ID)
			}
		}
		if len(c.Failures) < severalFailures || !isNew {
			continue
		}
		c.Contradictions, c.Otherwise = in.denials(of[c.ID], c.Failures, explained)
		c.Passes = len(in.rightLayers())
		e := evidence{supporting: c.Failures, denying: slices.Concat(c.Contradictions, c.Otherwise)}
		if !e.enoughForSymptom() {
			continue
		}
		for _, name := range c.Failures {
			told[name] = true
		}
		kept = append(kept, c)
	}
	return kept
}

// denials returns the cases that speak against other parameters: passes that would change with
// them, and failures that have no such parameters, or whose parameters are proved right.
func (in *inquiry) denials(what freed, supporting []string, explained map[string]bool) (passes, failures []string) {
	passes = in.which(in.ctx, func(r report.Result) bool { return r.Right() && in.takesPart(r.Case, what) })
	for _, r := range in.unnamed() {
		if explained[r.Case] || slices.Contains(supporting, r.Case) {
			continue
		}
		c := in.cases(r.Case)
		if c != nil && c.Op == fixture.SDPA || r.Loaded || refuted(r.Diagnosis.Fits, what) {
			failures = append(failures, r.Case)
		}
	}
	return passes, failures
}

// takesPart reports whether other parameters would change the output of a case.
func (w *witnesses) takesPart(name string, what freed) bool {
	return w.seen.get(name+" "+what.cause().ID, func() bool {
		r := w.referee(name)
		if r == nil {
			return false
		}
		out, ok := judge.WithProjections(w.cases(name), w.declared, what.projections, what.bias)
		return ok && !compare.Outputs(out.Shape, out.Value, r.Expected()).OK()
	})
}

// refuted reports whether least squares shows that no other parameters of a kind explain an output:
// all such questions were asked, and none has an answer.
func refuted(fits []fit.Fit, what freed) bool {
	asked := 0
	for _, f := range fits {
		if !slices.Equal(f.Projections(), what.projections) || freedBy(f).bias && !what.bias {
			continue
		}
		if f.Refused != "" || f.Holds {
			return false
		}
		asked++
	}
	return asked > 0
}
