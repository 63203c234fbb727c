// Package report holds what was found out about a subject, and writes it: text for people, JSON
// for programs.
package report

import (
	"io"
	"slices"
	"strings"

	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/diagnose"
)

// Report is the result of a run over cases.
type Report struct {
	Subject string

	// Precision is what the subject declares to compute in: "bfloat16"; "" is float32.
	Precision string

	Suite   string  // what made the cases: "PyTorch 2.15.0"
	Causes  []Cause // the fewest that explain all failures that have an explanation
	Results []Result
	Broken  []Broken // cases that could not be read: no verdict on the subject
}

// Cause is what explains failures of several cases: a mistake of the catalogue, or what a live subject
// was caught at.
type Cause struct {
	ID    string
	Title string
	Fix   string // what to do about it; "" where that is not known
	Live  bool   // the subject was caught at it; it is no mistake of the catalogue

	Failures       []string // cases whose failure it has part in
	Contradictions []string // cases that pass, and would not with it
	Passes         int      // passing cases that could speak against it

	Alternatives []string   // ids of mistakes that would do as well: no case tells them apart
	RuledOut     []RuledOut // mistakes that would do on some of the failures
}

// RuledOut is a mistake, or two made at once, that explains a failure, and that another case speaks
// against.
type RuledOut struct {
	ID string
	By string // the case: it is right and would not be, or it is wrong in another way
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

	RuledOut []RuledOut // matches that other cases of the run rule out; they stand behind the others

	Findings []string // wrong behaviour that is not in the numbers
	Probes   []Probe  // what a subject that was run again on a failing case was caught at
	Proven   []Proof  // what the probes and the load demonstrated
	Err      string   // why there is no output
	Known    string   // the reason given for a known failure
	Rerun    string   // the command that runs just this case
}

// Wrong says whether the output was compared and is outside the noise, and Right whether it was and is
// not, whatever the verdict is.
func (r Result) Wrong() bool { return r.Comparison.WantShape != nil && !r.Comparison.OK() }

// Right is the reverse of [Result.Wrong] of an output that was compared.
func (r Result) Right() bool { return r.Comparison.OK() }

// RuledOutBy names the case that rules a match out; "" where none does.
func (r Result) RuledOutBy(m diagnose.Match) string {
	for _, out := range r.RuledOut {
		if out.ID == m.ID() {
			return out.By
		}
	}
	return ""
}

// Probe is what a subject was caught at when it was run again with a case's inputs or parameters
// changed.
type Probe struct {
	ID    string
	Title string // a few words
	Text  string // what was changed and what came of it
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

// WithRerun returns a copy of the report whose results name the command that runs their case again.
func (r *Report) WithRerun(command func(name string) string) *Report {
	out := *r
	out.Results = slices.Clone(r.Results)
	for i := range out.Results {
		out.Results[i].Rerun = command(out.Results[i].Case)
	}
	return &out
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
