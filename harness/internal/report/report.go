// Package report holds the findings of a run, and writes them: text for people, JSON for programs.
package report

import (
	"io"
	"slices"
	"strings"
	"time"

	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/diagnose"
	"github.com/difftest/difftest/harness/internal/replay"
	"github.com/difftest/difftest/harness/internal/trace"
)

// Report is the result of a run over cases.
type Report struct {
	Subject string

	// Precision is the arithmetic that the subject declares: "bfloat16"; "" is float32.
	Precision string

	Suite   string   // the source of the cases: "PyTorch 2.15.0"
	Causes  []Cause  // the fewest that explain all failures that have an explanation
	Shared  []Shared // features that failures without a named cause share
	Results []Result
	Broken  []Broken // cases that could not be read: no verdict on the subject

	Tool      string // "difftest v1.2.0"; "" if unknown
	SuiteHash string // the SHA-256 of all case.json files of the suite, which name all others

	// Shard is the part of a run that the report is about: "2/3"; "" if it is about all.
	Shard string
	// Selected counts the cases that the run was about. Fewer results mean that it ended early.
	Selected int
	// Failure says why there are no results at all; nil if there may be some.
	Failure *Failure
	// Interrupted is set if the run was stopped from outside. Causes were not looked for then.
	Interrupted bool
	// Took is the time of the whole run; 0 if nobody measured it.
	Took time.Duration

	// Observed holds the observations behind the results and causes; nil if nobody kept them.
	Observed *Observed
}

// Observed holds what a run saw of the subject, before its failures were explained together. Parts
// of one run, observed on different machines, are explained again when all are there.
type Observed struct {
	Precision string   // that the subject declares for all of its outputs
	Replies   []string // the precisions that single outputs declare, each once; "" is none
	Judged    []Result // as the watchers of the run heard of them
	Probed    []Result // the same, after the subject ran again on its failures
	Broken    []Broken // the cases without a verdict
	General   []Broken // problems of the suite, or of all outputs
}

// Failure is the end of a command that could not do its work.
type Failure struct {
	Status  int    `json:"status"` // of the exit
	Message string `json:"message"`
}

// Cause explains failures of several cases: a mistake of the catalogue, parameters that are others,
// or a fact that running the subject again showed.
type Cause struct {
	ID    string
	Title string
	Fix   string // a sentence; "" if no fix is known
	Live  bool   // running the subject again showed it; the catalogue does not have it

	// Symptom is set if the cause tells where or how something goes wrong, and names no mistake:
	// parameters that would explain the outputs, or a fact that a probe showed.
	Symptom bool

	Failures       []string // cases that it explains, alone or together with another cause
	Contradictions []string // cases that pass, and would fail with it
	Otherwise      []string // cases that fail in another way, and would show it
	Passes         int      // passing cases that could contradict it

	// Only names a feature that the failures have, and no contradiction: "a window"; "" if unknown.
	Only string

	Alternatives []string // ids of mistakes that no case tells apart from it
	// RuledOut are mistakes that explain some of the failures, and that other cases contradict.
	RuledOut []RuledOut
}

// RuledOut is a mistake, or two made at once, that explains a failure and that another case
// contradicts.
type RuledOut struct {
	ID string
	By string // the case; it passes and would fail, or it fails in another way
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
	PyTorch    compare.Comparison // of PyTorch's own float32 result; zero if there is none
	Diagnosis  diagnose.Diagnosis

	// Trace judges the outputs of modules inside a model; nil if the subject gave none.
	Trace *trace.Trace

	// Got holds the values of the output; nil if there is none.
	Got []float64
	// Want is the truth, with its noise, of a failing output.
	Want compare.Expected
	// Masks tell which keys the queries of each batch element see in a failing case of attention.
	Masks []Mask

	// Joint holds explanations of several parts at once, found with the help of other cases.
	Joint []Joint

	// RuledOut are matches that other cases of the run contradict. They stand behind the others.
	RuledOut []RuledOut

	// Config describes the operation of a failing case. A line is a name, a tab and a value.
	Config string
	// Parameters is the state dict of a failing case, in the order of its keys.
	Parameters []Parameter

	Findings []string // wrong behaviour beside the numbers, a sentence each
	Probes   []Probe  // facts from running the subject again on a failing case
	Proven   []Proof  // facts that the probes and the load demonstrated
	Loaded   bool     // the parameters read back as they were loaded
	Err      string   // the reason why there is no output
	Known    string   // the reason given for a known failure
	Rerun    string   // the command that runs just this case

	// Absent is set of a skipped case that nobody was asked for: it was never exported.
	Absent bool
	// Took is the time of the subject's first answer; 0 of an output that was made elsewhere.
	Took time.Duration
}

// Wrong reports whether the output was compared and is outside the noise, whatever the verdict is.
func (r Result) Wrong() bool { return r.Comparison.WantShape != nil && !r.Comparison.OK() }

// Right reports whether the output was compared and is within the noise, whatever the verdict is.
func (r Result) Right() bool { return r.Comparison.OK() }

// WithoutValues returns the result without its elements: reports show none of outputs that are
// right.
func (r Result) WithoutValues() Result {
	r.Got, r.Comparison.Z, r.PyTorch.Z = nil, nil, nil
	return r
}

// RuledOutBy names the case that rules a match out; "" if none does.
func (r Result) RuledOutBy(m replay.Match) string {
	for _, out := range r.RuledOut {
		if out.ID == m.ID() {
			return out.By
		}
	}
	return ""
}

// Parameter is an entry of a state dict.
type Parameter struct {
	Key   string
	Shape []int
	// ReadBack tells how the parameter reads back after the load: "unchanged", or the difference.
	// It is empty if the subject does not give its parameters back.
	ReadBack string
}

// MaskLimit is the largest number of elements of a mask that reports draw.
const MaskLimit = 64 * 64

// Mask tells which keys each query of a head sees.
type Mask struct {
	Queries, Keys int
	Sees          []bool // (Queries, Keys)
}

// Probe is a fact that running a subject again, with changed inputs or parameters, showed.
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

// AddSource adds what made a case to Suite, once. A source may hold a comma itself.
func (r *Report) AddSource(source string) {
	switch {
	case r.Suite == "":
		r.Suite = source
	case r.Suite != source && !strings.Contains(", "+r.Suite+", ", ", "+source+", "):
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

// Count returns how many cases ended with a verdict.
func (r *Report) Count(v Verdict) int {
	n := 0
	for _, result := range r.Results {
		if result.Verdict == v {
			n++
		}
	}
	return n
}

// OK reports whether no case failed and at least one was judged.
func (r *Report) OK() bool {
	return r.Count(Fail)+r.Count(Error) == 0 && r.Count(Pass)+r.Count(Known) > 0
}

// Format writes a report.
type Format func(io.Writer, *Report) error
