package harness

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/report"
)

// ParseKnown reads a list of known failures: an entry a line, the name of a case or a pattern, then, if the
// cause is known, cause=ID, then # and the reason.
//
//	mha/causal-left-padding  cause=padding-ignored  # there is no padding mask yet
//	decoder/**                                      # not ported
//
// Empty lines, and those that begin with #, are for people. The error names every line that is something else.
func ParseKnown(text string) ([]Known, error) {
	var known []Known
	var errs []error
	number := 0
	for line := range strings.Lines(text) {
		number++
		k, err := parseEntry(line)
		if err != nil {
			errs = append(errs, fmt.Errorf("line %d: %w", number, err))
		}
		if k != nil {
			known = append(known, *k)
		}
	}
	return known, errors.Join(errs...)
}

// parseEntry reads one line; nil where it is for people.
func parseEntry(line string) (*Known, error) {
	line = strings.TrimSpace(line)
	if line == "" || strings.HasPrefix(line, "#") {
		return nil, nil
	}
	entry, reason, _ := strings.Cut(strings.ReplaceAll(line, "\t", " "), " #")
	words := strings.Fields(entry)
	k := Known{Cases: words[0], Reason: strings.TrimSpace(reason)}
	for _, word := range words[1:] {
		id, isCause := strings.CutPrefix(word, "cause=")
		if !isCause || id == "" || k.Cause != "" {
			return nil, fmt.Errorf("%q: want a name or pattern, cause=ID or nothing, then # and the reason", word)
		}
		k.Cause = id
	}
	if problems := problemsOf(k); len(problems) > 0 {
		return nil, fmt.Errorf("%s: %s", k.Cases, strings.Join(problems, ", "))
	}
	return &k, nil
}

// UpdateKnown makes a list of known failures true again. Lines for people stay, and entries that hold: all
// their cases fail, or are skipped, with their cause if they name one. Of any other, the cases that still fail get
// a line each with its reason; failures that no entry selects stand at the end. The report must hold every case
// of the suite as it ended, before any [Acknowledge].
func UpdateKnown(text string, r *Report) (string, error) {
	if _, err := ParseKnown(text); err != nil {
		return "", err
	}
	var out strings.Builder
	listed := map[string]bool{}
	for line := range strings.Lines(text) {
		k, _ := parseEntry(line) // read above
		if k == nil {
			out.WriteString(line)
			continue
		}
		selected := slices.DeleteFunc(slices.Clone(r.Results), func(result report.Result) bool { return !fixture.Selects(k.Cases, result.Case) })
		if holds(*k, selected) {
			out.WriteString(line)
		}
		for _, result := range selected {
			if failed(result) && !holds(*k, selected) && !listed[result.Case] {
				writeEntry(&out, Known{Cases: result.Case, Cause: causeOf(*k, result), Reason: k.Reason})
			}
			listed[result.Case] = listed[result.Case] || failed(result)
		}
	}
	if s := out.String(); s != "" && !strings.HasSuffix(s, "\n") {
		out.WriteString("\n")
	}
	for _, result := range r.Results {
		if failed(result) && !listed[result.Case] {
			writeEntry(&out, Known{Cases: result.Case, Cause: foundCause(result), Reason: newReason(result)})
		}
	}
	return out.String(), nil
}

func failed(r report.Result) bool { return r.Verdict == report.Fail || r.Verdict == report.Error }

// holds says whether an entry is right about all of its cases, and has any.
func holds(k Known, selected []report.Result) bool {
	return len(selected) > 0 && !slices.ContainsFunc(selected, func(r report.Result) bool {
		return r.Verdict == report.Pass || failed(r) && !expects(k, r)
	})
}

// causeOf is what an entry says of a failure, or what was found in its place; "" where it names none.
func causeOf(k Known, r report.Result) string {
	if expects(k, r) {
		return k.Cause
	}
	return foundCause(r)
}

// foundCause is the first of the mistakes that cannot be told apart.
func foundCause(r report.Result) string {
	if len(r.Diagnosis.Matches) == 0 {
		return ""
	}
	return r.Diagnosis.Matches[0].ID()
}

func newReason(r report.Result) string {
	if r.Verdict == report.Error {
		return "error, not looked at yet"
	}
	return string(r.Diagnosis.Class) + ", not looked at yet"
}

func writeEntry(out *strings.Builder, k Known) {
	cause := ""
	if k.Cause != "" {
		cause = "  cause=" + k.Cause
	}
	fmt.Fprintf(out, "%s%s  # %s\n", k.Cases, cause, k.Reason)
}
