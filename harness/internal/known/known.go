// Package known compares results with a list of failures that are expected.
package known

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/edits"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/printable"
	"github.com/difftest/difftest/harness/internal/replay"
	"github.com/difftest/difftest/harness/internal/report"
)

// Failure is a failure that is expected.
type Failure struct {
	Pattern string // the name of a case, or a pattern for several: "mha/**", "left-padding"
	Cause   string // id of the mistake that the case fails with; "" is any
	Reason  string
}

// Acknowledge returns a report in which expected failures have the verdict known. A listed case
// that passes fails, and so does a case that fails with another cause than the listed one. The
// error is [Check]'s, about the list itself. The given report stays as it is.
func Acknowledge(r *report.Report, known []Failure, cases []string) (*report.Report, error) {
	out := *r
	out.Results = make([]report.Result, len(r.Results))
	expected := map[string]bool{}
	for i, result := range r.Results {
		out.Results[i] = Acknowledged(known, result)
		expected[result.Case] = out.Results[i].Verdict == report.Known
	}
	out.Causes = nil
	for _, c := range r.Causes {
		c.Failures = slices.DeleteFunc(slices.Clone(c.Failures), func(name string) bool { return expected[name] })
		if len(c.Failures) > 0 {
			out.Causes = append(out.Causes, c)
		}
	}
	out.Shared = slices.DeleteFunc(slices.Clone(r.Shared), func(s report.Shared) bool {
		return !slices.ContainsFunc(s.Cases, func(name string) bool { return !expected[name] })
	})
	return &out, Check(known, cases)
}

// Acknowledged returns one result of [Acknowledge]. Only the entries that select its case matter.
func Acknowledged(known []Failure, r report.Result) report.Result {
	if r.Verdict == report.Skip {
		return r
	}
	known = slices.DeleteFunc(slices.Clone(known), func(k Failure) bool { return !fixture.Selects(k.Pattern, r.Case) })
	for _, k := range known {
		switch {
		case r.Verdict == report.Pass:
			r.Verdict = report.Fail
			r.Findings = append(slices.Clone(r.Findings), fmt.Sprintf(
				"it passes, but is listed as known to fail (%s): take %s off the list", k.Reason, k.Pattern))
			return r
		case k.expects(r):
			r.Verdict, r.Known = report.Known, k.Reason
			return r
		}
	}
	for _, k := range known {
		r = k.otherwise(r)
	}
	return r
}

// expects reports whether a failure is the one that the entry describes.
func (k Failure) expects(r report.Result) bool {
	isCause := func(m replay.Match) bool { return sameMistakes(m.ID(), k.Cause) }
	isNumber := func(n replay.NumberMatch) bool { return sameMistakes(strings.Join(n.IDs(), "+"), k.Cause) }
	isJoint := func(j report.Joint) bool { return sameMistakes(j.ID(), k.Cause) }
	return k.Cause == "" || slices.ContainsFunc(r.Diagnosis.Matches, isCause) ||
		slices.ContainsFunc(r.Diagnosis.Numbers, isNumber) || slices.ContainsFunc(r.Joint, isJoint)
}

// sameMistakes compares the ids of one mistake, or of two at once, in any order.
func sameMistakes(a, b string) bool {
	return slices.Equal(slices.Sorted(strings.SplitSeq(a, "+")), slices.Sorted(strings.SplitSeq(b, "+")))
}

// otherwise returns a failure with the remark that the entry describes another one.
func (k Failure) otherwise(r report.Result) report.Result {
	finding := fmt.Sprintf("it is listed as failing with %s (%s), and fails otherwise", k.Cause, k.Reason)
	if r.Verdict == report.Error {
		r.Err = finding + "\n" + r.Err
	} else {
		r.Findings = append(slices.Clone(r.Findings), finding)
	}
	return r
}

// Check refuses entries that cannot mean anything: an entry that selects none of the cases, has no
// reason, or names no mistake of the catalogue. A typing mistake must not select nothing.
func Check(known []Failure, cases []string) error {
	var errs []error
	for i, k := range known {
		for _, problem := range k.problems() {
			errs = append(errs, fmt.Errorf("known %.200q: %s", k.Pattern, problem))
		}
		if slices.ContainsFunc(known[:i], func(other Failure) bool { return other.Pattern == k.Pattern }) {
			errs = append(errs, fmt.Errorf("known %.200q: listed twice", k.Pattern))
		}
		if !slices.ContainsFunc(cases, func(name string) bool { return fixture.Selects(k.Pattern, name) }) {
			errs = append(errs, fmt.Errorf("known %.200q: the suite has no such case", k.Pattern))
		}
	}
	return errors.Join(errs...)
}

// problems returns the faults of the entry itself, a few words each.
func (k Failure) problems() []string {
	var problems []string
	if k.Reason == "" {
		problems = append(problems, "no reason")
	}
	if err := fixture.CheckPattern(k.Pattern); err != nil {
		problems = append(problems, err.Error())
	}
	if !printable.Is(k.Pattern + k.Reason) {
		problems = append(problems, "characters that a terminal does not show")
	}
	if k.Cause != "" {
		for id := range strings.SplitSeq(k.Cause, "+") {
			_, isMistake := catalogue.ByID(id)
			_, isEdit := edits.ByID(id)
			_, inGraph := edits.NumberByID(id)
			if _, isNumber := catalogue.NumberByID(id); !isMistake && !isEdit && !isNumber && !inGraph {
				problems = append(problems, fmt.Sprintf("cause=%.200s: %.200q is no known mistake", printable.Name(k.Cause), id))
			}
		}
	}
	return problems
}
