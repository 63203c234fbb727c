package causes

import (
	"slices"
	"strings"

	"github.com/difftest/difftest/harness/internal/fit"
	"github.com/difftest/difftest/harness/internal/report"
)

// load returns the causes that lie in the load of the state dict. A layer that passes contradicts
// them: it holds the right parameters.
func (in *inquiry) load() []report.Cause {
	var found []report.Cause
	right := in.rightLayers()
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
			c.Contradictions, c.Passes = right, len(right)
			found = append(found, c)
		}
	}
	return found
}

// parameters returns the projections whose parameters, if they were others, would explain several
// failures that have no other explanation.
func (in *inquiry) parameters() []report.Cause {
	var found []report.Cause
	for _, r := range in.failures() {
		if len(r.Diagnosis.Matches) > 0 || len(r.Proven) > 0 {
			continue
		}
		for _, f := range r.Diagnosis.Fits {
			if f.Explains() && f.Narrowest && len(f.Projections()) > 0 {
				found = withFailure(found, ofProjections(f), r.Case)
			}
		}
	}
	return in.onlyNew(byFailures(found))
}

// ofProjections is the cause that a fit stands for.
func ofProjections(f fit.Fit) report.Cause {
	what := strings.Join(f.Projections(), " and ")
	return report.Cause{
		ID:    "other-" + strings.Join(f.Projections(), "-and-") + "-parameters",
		Title: "other parameters of the " + what + " projection than the case's",
		Fix: "See how the " + what + " projection is loaded: under which name, which rows of it, " +
			"and in which layout.",
	}
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

// onlyNew leaves out causes of fewer than two failures, and causes all of whose failures an earlier
// one has.
func (in *inquiry) onlyNew(causes []report.Cause) []report.Cause {
	told, right := map[string]bool{}, in.rightLayers()
	var kept []report.Cause
	for _, c := range causes {
		isNew := slices.ContainsFunc(c.Failures, func(name string) bool { return !told[name] })
		if len(c.Failures) < severalFailures || !isNew {
			continue
		}
		for _, name := range c.Failures {
			told[name] = true
		}
		c.Contradictions, c.Passes = right, len(right)
		kept = append(kept, c)
	}
	return kept
}

// severalFailures is how many failures a cause without a name in the catalogue needs.
const severalFailures = 2
