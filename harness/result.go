package harness

import (
	"io"
	"strings"

	"github.com/difftest/difftest/harness/internal/report"
)

// Report holds what a run found out about an implementation.
type Report struct {
	Subject string   // the name of the implementation; "" for outputs in a folder
	Suite   string   // what made the cases: "PyTorch 2.15.0"
	Results []Result // in the order of the cases
	Causes  []Cause  // the fewest that explain the failures, the most frequent first
	Shared  []Shared // what failures without a named cause have in common
	Broken  []string // cases and outputs that could not be read, each with the reason

	full *report.Report
}

// Verdict is how a case ended.
type Verdict string

// The verdicts on an implementation.
const (
	Pass         Verdict = "pass"
	Fail         Verdict = "fail"
	Error        Verdict = "error" // it panicked, refused the case, or gave no usable output
	Skip         Verdict = "skip"  // it does not offer what the case asks for
	Acknowledged Verdict = "known" // the case fails, as [Expect] says
)

// Class is the sort of a failure.
type Class string

// The classes of a failure.
const (
	// MissingFeature: the weights are right; a mask, the scale or the biases are missing or wrong,
	// or a step such as a softmax follows.
	MissingFeature Class = "missing-feature"
	// WrongWeights: the output is as unrelated to the truth, and as large, as random weights make
	// it on this case; or parameters are proved to be others.
	WrongWeights Class = "wrong-weights"
	// Rounding: the errors have the size of a lower precision, everywhere, without direction.
	Rounding Class = "rounding"
	// WrongNumber: a number of the configuration has another value.
	WrongNumber Class = "wrong-number"
	// WrongLayout: the numbers are right, but were read from or written to wrong places: heads,
	// axes, or the order of memory.
	WrongLayout Class = "wrong-layout"
	// Dead: the output is zero or constant, or nobody wrote a block of heads, rows or features.
	Dead Class = "dead"
	// NonFinite: NaN or infinity stands where a number was expected, or the reverse.
	NonFinite Class = "non-finite"
	// Unclear: none of these for sure. A mistake may be named nevertheless.
	Unclear Class = "unclear"
)

// Result is the verdict on one case and, if the case fails, its diagnosis.
type Result struct {
	Case    string
	Verdict Verdict

	// Class is the sort of a failure whose output was compared; "" otherwise.
	Class Class
	// Reasons are the numbers and facts that decided the class, a sentence each.
	Reasons []string

	// Explanations are the mistakes that give this output to rounding. The case cannot tell several
	// apart. Explanations that other cases of the run rule out are left out.
	Explanations []Explanation
	// Unexplained reports that the output is wrong, and that neither a mistake nor the class says
	// why.
	Unexplained bool

	// Findings are facts beside the numbers: behaviour that is wrong in itself, and what running
	// the implementation again showed.
	Findings []Finding

	Numbers Numbers

	// First is the path of the first wrong module of a [Tracer]: "model.layers.2.mlp". It is "" if
	// no module was traced, or every traced module is right.
	First string

	// Err says why there is no output; "" if there is one. Of a skipped case it is the reason.
	Err string
	// Reason is the reason given for a failure that is expected.
	Reason string

	full report.Result
}

// Explanation is a mistake, two made at once, or a wrong number of the configuration, whose output
// on the case is the implementation's.
type Explanation struct {
	IDs      []string // of MISTAKES.md: "causal-missing"; of a number: "rope-base"
	Title    string   // follows "computed with": "the causal mask missing"
	Site     string   // path of the only module of a model that is wrong; "" if all of its kind are
	Fixes    []string // what to do, a sentence for each mistake
	Residual float64  // RMS(got - replay) / RMS(replay)
	MaxZ     float64  // the largest distance from the replay, in sigma of the replay
	Margin   float64  // the residual of the next explanation, divided by Residual

	// Values are the numbers that were found in the output, by id; nil without a wrong number.
	Values map[string]float64
}

// Finding is a fact about an implementation.
type Finding struct {
	ID   string // of a probe: "future-token"; "" of behaviour that is wrong in itself
	Text string // a sentence, with numbers
}

// Numbers compare an output with the truth. They are zero if no output was compared.
type Numbers struct {
	MaxZ, RMSZ               float64 // of the output, in sigma
	PyTorchMaxZ, PyTorchRMSZ float64 // of PyTorch's own result
	Rel, Gain, Cosine        float64 // NaN if no element is finite
	Elements, Outside        int     // of the expected output; further than allowed from the truth

	// The element with the largest z; nil if the shape is wrong.
	WorstIndex                        []int
	WorstGot, WorstWant, WorstAllowed float64
}

// Cause is a mistake, or something an implementation was caught at, that explains failures of
// several cases.
type Cause struct {
	ID    string // of MISTAKES.md, of a probe, or of a projection: "other-value-parameters"
	Title string
	Fix   string // "" if it is not known

	Failures       []string // cases that it explains, alone or together with another cause
	Contradictions []string // cases that pass, and would fail with it
	Otherwise      []string // cases that fail in another way, and would show it
	Alternatives   []string // ids of mistakes that no case tells apart from it
}

// Shared names features that all failures without a named cause have, and that no pass has, or few.
// Shared states a fact about the cases of the run. The fact proves no cause.
type Shared struct {
	Cases     []string // the failures
	Features  []string // ids: "window", "keys-at-least-33"
	Sentences []string // "all 11 failures have a window; none of the 156 passes does"
}

// OK reports whether no case failed and at least one was judged.
func (r *Report) OK() bool { return r.full != nil && r.full.OK() && len(r.Broken) == 0 }

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

// WriteText writes the report for people. The text may change from version to version.
func (r *Report) WriteText(w io.Writer) error { return report.Text(report.TextOptions{})(w, r.whole()) }

// WriteJSON writes the report for programs, as schemas/report.schema.json describes it.
func (r *Report) WriteJSON(w io.Writer) error { return report.JSON(w, r.whole()) }

// WriteHTML writes the report as one page for a browser, which loads nothing.
func (r *Report) WriteHTML(w io.Writer) error { return report.HTML(w, r.whole()) }

// WriteJUnit writes the report as JUnit XML.
func (r *Report) WriteJUnit(w io.Writer) error { return report.JUnit(w, r.whole()) }

// WriteMarkdown writes the report in GitHub's Markdown.
func (r *Report) WriteMarkdown(w io.Writer) error { return report.Markdown(w, r.whole()) }

func (r *Report) whole() *report.Report {
	if r.full == nil {
		return &report.Report{}
	}
	return r.full
}

// String returns the result for people, in all detail.
func (r Result) String() string { return text(r.full, false) }

func text(r report.Result, brief bool) string {
	var b strings.Builder
	_ = report.Text(report.TextOptions{Bare: true, Brief: brief})(&b, &report.Report{Results: []report.Result{r}})
	return strings.TrimRight(b.String(), "\n") // a strings.Builder takes everything
}

func newReport(full *report.Report) *Report {
	r := &Report{Subject: full.Subject, Suite: full.Suite, full: full}
	for _, result := range full.Results {
		r.Results = append(r.Results, newResult(result))
	}
	for _, c := range full.Causes {
		r.Causes = append(r.Causes, newCause(c))
	}
	for _, s := range full.Shared {
		shared := Shared{Cases: s.Cases, Sentences: s.Sentences()}
		for _, f := range s.Features {
			shared.Features = append(shared.Features, f.ID)
		}
		r.Shared = append(r.Shared, shared)
	}
	for _, b := range full.Broken {
		r.Broken = append(r.Broken, b.Case+": "+b.Err)
	}
	return r
}

func newCause(c report.Cause) Cause {
	return Cause{
		ID: c.ID, Title: c.Title, Fix: c.Fix,
		Failures: c.Failures, Contradictions: c.Contradictions, Otherwise: c.Otherwise, Alternatives: c.Alternatives,
	}
}

func newResult(full report.Result) Result {
	r := Result{
		Case: full.Case, Verdict: Verdict(full.Verdict), Unexplained: full.Diagnosis.Unexplained,
		Numbers: newNumbers(full), Err: full.Err, Reason: full.Known, full: full,
	}
	if t := full.Trace; t != nil && t.First >= 0 {
		r.First = t.Lines[t.First].Path
	}
	if full.Wrong() {
		r.Class, r.Reasons = Class(full.Diagnosis.Class), full.Diagnosis.Reasons
	}
	for _, m := range full.Possible() {
		r.Explanations = append(r.Explanations, Explanation{
			IDs: m.IDs(), Title: m.Title(), Site: m.Where, Fixes: m.Fixes(),
			Residual: m.Residual, MaxZ: m.MaxZ, Margin: m.Margin,
		})
	}
	for _, n := range full.Diagnosis.Numbers {
		r.Explanations = append(r.Explanations, Explanation{
			IDs: n.IDs(), Title: n.Title(), Fixes: n.Fixes(),
			Residual: n.Residual, MaxZ: n.MaxZ, Margin: n.Next / n.Residual,
			Values: n.Values(),
		})
	}
	for _, j := range full.Joint {
		r.Explanations = append(r.Explanations, Explanation{
			IDs: j.IDs(), Title: j.Title(), Fixes: j.Fixes(), Residual: j.Residual, MaxZ: j.MaxZ, Values: j.Values(),
		})
	}
	for _, f := range full.Findings {
		r.Findings = append(r.Findings, Finding{Text: f})
	}
	for _, p := range full.Probes {
		r.Findings = append(r.Findings, Finding{p.ID, p.Text})
	}
	return r
}

func newNumbers(r report.Result) Numbers {
	c, torch := r.Comparison, r.PyTorch
	return Numbers{
		MaxZ: c.MaxZ, RMSZ: c.RMSZ, PyTorchMaxZ: torch.MaxZ, PyTorchRMSZ: torch.RMSZ,
		Rel: c.Rel, Gain: c.Gain, Cosine: c.Cosine, Elements: c.Elements, Outside: c.Outside,
		WorstIndex: c.Worst.Index, WorstGot: c.Worst.Got, WorstWant: c.Worst.Want, WorstAllowed: c.Worst.Allowed,
	}
}
