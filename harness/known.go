package harness

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/diagnose"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/report"
	"github.com/difftest/difftest/harness/internal/subject"
)

// Known is a failure that is expected.
type Known = subject.Known

// Acknowledge gives the failures in a report that are expected the verdict known. A listed case that
// passes fails, and one that fails with another cause than the listed one still does. The error names what
// is wrong with the list itself: an entry that selects none of the suite's cases, has no reason, or names no
// mistake of the catalogue.
func Acknowledge(r *Report, known []Known, cases []string) error {
	for i := range r.Results {
		r.Results[i] = acknowledged(known, r.Results[i])
	}
	var causes []report.Cause
	for _, c := range r.Causes {
		c.Failures = slices.DeleteFunc(c.Failures, func(name string) bool { return verdictOn(r, name) == report.Known })
		if len(c.Failures) > 0 {
			causes = append(causes, c)
		}
	}
	r.Causes = causes
	return checkKnown(known, cases)
}

func verdictOn(r *Report, name string) report.Verdict {
	for _, result := range r.Results {
		if result.Case == name {
			return result.Verdict
		}
	}
	return ""
}

// acknowledged is a result in the light of the entries that select its case.
func acknowledged(known []Known, r report.Result) report.Result {
	for _, k := range known {
		switch {
		case r.Verdict == report.Skip || !fixture.Selects(k.Cases, r.Case):
		case r.Verdict == report.Pass:
			r.Verdict = report.Fail
			r.Findings = append(r.Findings, fmt.Sprintf("it passes, but is listed as known to fail (%s): take %s off the list", k.Reason, k.Cases))
			return r
		case expects(k, r):
			r.Verdict, r.Known = report.Known, k.Reason
			return r
		}
	}
	for _, k := range known {
		if r.Verdict != report.Skip && fixture.Selects(k.Cases, r.Case) {
			r = otherwise(k, r)
		}
	}
	return r
}

// expects says whether a failure is the one of an entry.
func expects(k Known, r report.Result) bool {
	return k.Cause == "" || slices.ContainsFunc(r.Diagnosis.Matches, func(m diagnose.Match) bool { return sameMistakes(m.ID(), k.Cause) })
}

// sameMistakes compares ids of one mistake or of two at once, in any order.
func sameMistakes(a, b string) bool {
	return slices.Equal(slices.Sorted(strings.SplitSeq(a, "+")), slices.Sorted(strings.SplitSeq(b, "+")))
}

// otherwise says of a failure that it is another than that of an entry.
func otherwise(k Known, r report.Result) report.Result {
	finding := fmt.Sprintf("it is listed as failing with %s (%s), and fails otherwise", k.Cause, k.Reason)
	if r.Verdict == report.Error {
		r.Err = finding + "\n" + r.Err
	} else {
		r.Findings = append(r.Findings, finding)
	}
	return r
}

// checkKnown refuses entries that cannot mean anything. A typing mistake must not select nothing.
func checkKnown(known []Known, cases []string) error {
	var errs []error
	for i, k := range known {
		for _, problem := range problemsOf(k) {
			errs = append(errs, fmt.Errorf("known %q: %s", k.Cases, problem))
		}
		if slices.ContainsFunc(known[:i], func(other Known) bool { return other.Cases == k.Cases }) {
			errs = append(errs, fmt.Errorf("known %q: listed twice", k.Cases))
		}
		if !slices.ContainsFunc(cases, func(name string) bool { return fixture.Selects(k.Cases, name) }) {
			errs = append(errs, fmt.Errorf("known %q: the suite has no such case", k.Cases))
		}
	}
	return errors.Join(errs...)
}

// problemsOf are those of an entry by itself.
func problemsOf(k Known) []string {
	var problems []string
	if k.Reason == "" {
		problems = append(problems, "no reason")
	}
	if !fixture.ValidPattern(k.Cases) {
		problems = append(problems, "a malformed pattern")
	}
	if k.Cause != "" {
		for id := range strings.SplitSeq(k.Cause, "+") {
			if _, ok := catalogue.ByID(id); !ok {
				problems = append(problems, fmt.Sprintf("cause=%s: %q is no known mistake", k.Cause, id))
			}
		}
	}
	return problems
}
