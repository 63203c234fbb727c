package known

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/printable"
	"github.com/difftest/difftest/harness/internal/report"
)

// Parse reads a list of known failures, one entry a line: the name of a case or a pattern, then, if
// the cause is known, cause=ID, then # and the reason.
//
//	mha/causal-left-padding  cause=padding-ignored  # there is no padding mask yet
//	decoder/**                                      # not ported
//
// Empty lines, and lines that begin with #, are comments. The error names every line that is
// neither.
func Parse(text string) ([]Failure, error) {
	var known []Failure
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

// parseEntry reads one line; nil if the line is a comment.
func parseEntry(line string) (*Failure, error) {
	line = strings.TrimSpace(line)
	if line == "" || strings.HasPrefix(line, "#") {
		return nil, nil
	}
	entry, reason, _ := strings.Cut(strings.ReplaceAll(line, "\t", " "), " #")
	words := strings.Fields(entry)
	k := Failure{Pattern: words[0], Reason: strings.TrimSpace(reason)}
	for _, word := range words[1:] {
		id, isCause := strings.CutPrefix(word, "cause=")
		if !isCause || id == "" || k.Cause != "" {
			return nil, fmt.Errorf("%.200q: want a name or pattern, cause=ID or nothing, then # and the reason", word)
		}
		k.Cause = id
	}
	if problems := k.problems(); len(problems) > 0 {
		return nil, fmt.Errorf("%.200s: %s", printable.Name(k.Pattern), strings.Join(problems, ", "))
	}
	return &k, nil
}

// Update makes a list of known failures true again. Comments stay, and so do entries that hold: all
// their cases fail, or are skipped, and with their cause if they name one. Any other entry is
// replaced by a line for each of its cases that still fails, with its reason. Failures that no
// entry selects stand at the end. The report must hold every case of the suite as it ended, before
// any [Acknowledge].
func Update(text string, r *report.Report) (string, error) {
	if _, err := Parse(text); err != nil {
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
		k.update(&out, line, r.Results, listed)
	}
	if s := out.String(); s != "" && !strings.HasSuffix(s, "\n") {
		out.WriteString("\n")
	}
	for _, result := range r.Results {
		if failed(result) && !listed[result.Case] {
			writeEntry(&out, Failure{Pattern: result.Case, Cause: foundCause(result), Reason: newReason(result)})
		}
	}
	return out.String(), nil
}

// update writes the line of an entry that holds, or lines for its cases that still fail, and notes
// which cases are listed.
func (k Failure) update(out *strings.Builder, line string, results []report.Result, listed map[string]bool) {
	selected := slices.DeleteFunc(slices.Clone(results), func(r report.Result) bool {
		return !fixture.Selects(k.Pattern, r.Case)
	})
	holds := k.holds(selected)
	if holds {
		out.WriteString(line)
	}
	for _, result := range selected {
		if failed(result) && !holds && !listed[result.Case] {
			writeEntry(out, Failure{Pattern: result.Case, Cause: k.causeOf(result), Reason: k.Reason})
		}
		listed[result.Case] = true
	}
}

func failed(r report.Result) bool { return r.Verdict == report.Fail || r.Verdict == report.Error }

// holds reports whether the entry is right about all cases that it selects, and selects some.
func (k Failure) holds(selected []report.Result) bool {
	return len(selected) > 0 && !slices.ContainsFunc(selected, func(r report.Result) bool {
		return r.Verdict == report.Pass || failed(r) && !k.expects(r)
	})
}

// causeOf returns the entry's cause if it is a failure's, and otherwise the cause that was found;
// "" if neither has a name.
func (k Failure) causeOf(r report.Result) string {
	if k.expects(r) {
		return k.Cause
	}
	return foundCause(r)
}

// foundCause returns the first of the explanations that the case cannot tell apart.
func foundCause(r report.Result) string {
	possible, numbers := r.Possible(), r.Diagnosis.Numbers
	switch {
	case len(possible) > 0:
		return possible[0].ID()
	case len(numbers) > 0:
		return strings.Join(numbers[0].IDs(), "+")
	case len(r.Joint) > 0:
		return r.Joint[0].ID()
	}
	return ""
}

func newReason(r report.Result) string {
	if r.Verdict == report.Error {
		return "error, not looked at yet"
	}
	return string(r.Diagnosis.Class) + ", not looked at yet"
}

func writeEntry(out *strings.Builder, k Failure) {
	cause := ""
	if k.Cause != "" {
		cause = "  cause=" + k.Cause
	}
	fmt.Fprintf(out, "%s%s  # %s\n", k.Pattern, cause, k.Reason)
}
