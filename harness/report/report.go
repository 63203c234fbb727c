// Package report holds what was found out about a subject, and writes it: text for people, JSON
// for programs.
package report

import (
	"io"
	"slices"
	"strings"

	"github.com/difftest/difftest/harness/catalogue"
	"github.com/difftest/difftest/harness/compare"
	"github.com/difftest/difftest/harness/diagnose"
)

// Report is the result of a run over cases.
type Report struct {
	Subject string

	// Precision is what the subject declares to compute in: "bfloat16"; "" is float32.
	Precision string

	Suite   string  // what made the cases: "PyTorch 2.15.0"
	Causes  []Cause // the fewest mistakes that explain all failures that have an explanation
	Results []Result
	Broken  []Broken // cases that could not be read: no verdict on the subject
}

// Cause is a mistake that explains failures of several cases.
type Cause struct {
	Mistake        catalogue.Mistake
	Failures       []string // cases whose failure it has part in
	Contradictions []string // cases that pass, and would not with this mistake
}

// Verdict says how a case ended.
type Verdict string

// The verdicts.
const (
	Pass  Verdict = "pass"
	Fail  Verdict = "fail"
	Error Verdict = "error" // the subject panicked, refused the case or gave no usable output
	Skip  Verdict = "skip"  // the subject does not offer the operation
	Known Verdict = "known" // fails, and is listed as failing
)

// Result is one case.
type Result struct {
	Case    string
	Purpose string
	Verdict Verdict

	Comparison compare.Comparison // of the subject's output; zero when there is none
	PyTorch    compare.Comparison // of PyTorch's own float32 result
	Diagnosis  diagnose.Diagnosis

	Findings []string // wrong behaviour that is not in the numbers
	Err      string   // why there is no output
	Known    string   // the reason given for a known failure
	Rerun    string   // the command that runs just this case
}

// Broken is a case that could not be read.
type Broken struct {
	Case string
	Err  string // names file and field, one problem a line
}

// AddSource adds what made a case to Suite, once.
func (r *Report) AddSource(source string) {
	switch {
	case r.Suite == "":
		r.Suite = source
	case !slices.Contains(strings.Split(r.Suite, ", "), source):
		r.Suite += ", " + source
	}
}

// Count says how many cases ended with a verdict.
func (r *Report) Count(v Verdict) int {
	n := 0
	for _, result := range r.Results {
		if result.Verdict == v {
			n++
		}
	}
	return n
}

// OK says whether the subject did nothing wrong and at least one case was judged.
func (r *Report) OK() bool {
	return r.Count(Fail)+r.Count(Error) == 0 && r.Count(Pass)+r.Count(Known) > 0
}

// Format writes a report.
type Format func(io.Writer, *Report) error
