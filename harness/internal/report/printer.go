package report

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/difftest/difftest/harness/internal/diagnose"
)

// Verbosity is how much of a report people see.
type Verbosity int

// The verbosities. Higher ones hold all that lower ones do.
const (
	// Quiet leaves out every case that does not fail.
	Quiet Verbosity = iota - 1
	// Normal writes a line for each case, and the first failure of each cause in detail.
	Normal
	// Verbose writes each failure in detail, and the purpose and PyTorch's noise of each pass.
	Verbose
	// Everything adds what was tried without success, and how large every mistake would be.
	Everything
)

// TextOptions are the options of [Text] and [NewPrinter]. The zero value suits a terminal of 80
// columns without colour.
type TextOptions struct {
	Verbosity Verbosity
	Bare      bool    // results alone, without the first and the last line
	Brief     bool    // of a failure, at most eight lines
	Color     bool    // ANSI colours
	Palette   Palette // of pictures, if there are colours
	Width     int     // of the terminal, in characters; 0 is none, where sentences wrap at 80
	Slowest   int     // how many of the slowest cases stand at the end
}

// Text writes a report for people. It may change from version to version.
func Text(o TextOptions) Format {
	return func(w io.Writer, r *Report) error {
		p := NewPrinter(w, o)
		names := make([]string, len(r.Results))
		for i, result := range r.Results {
			names[i] = result.Case
		}
		if len(r.Results) > 0 {
			if err := p.Begin(r, names); err != nil {
				return err
			}
		}
		for _, result := range r.Results {
			if err := p.Case(result); err != nil {
				return err
			}
		}
		return p.End(r)
	}
}

// Printer writes a report for people while the run goes on: a line for each case as soon as it is
// judged, and the failures and their causes in the end.
type Printer struct {
	w       io.Writer
	t       text
	column  int // the width of the column of names
	printed map[string]bool
	begun   Report   // as far as it was known at the beginning
	cut     bool     // lines of cases must fit a terminal
	skipped []string // the skipped cases since the last line of another verdict
}

// mostSkips is how many of the skipped cases that follow one another have lines of their own.
const mostSkips = 1

// NewPrinter returns a printer that writes to w.
func NewPrinter(w io.Writer, o TextOptions) *Printer {
	p := &Printer{w: w, printed: map[string]bool{}, cut: o.Width > 0 && o.Verbosity < Verbose}
	if o.Width <= 0 {
		o.Width = 80
	}
	p.t.TextOptions = o
	return p
}

// Begin writes the first lines: the number of cases, and what about gives as subject, suite and
// precision. names are the cases of the run.
func (p *Printer) Begin(about *Report, names []string) error {
	p.begun = *about
	p.t.single = len(names) == 1
	for _, name := range names {
		p.column = max(p.column, utf8.RuneCountInString(name))
	}
	const widest = 40
	p.column = min(p.column, widest)
	if o := p.t.TextOptions; o.Verbosity == Quiet || o.Bare {
		return nil
	}
	line := about.Subject + declared(about.Precision) + " against " + about.Suite
	if !p.t.single {
		line += ", " + counted(len(names), "case")
	}
	line += partOf(about.Shard)
	p.t.line("%s", strings.Join(wrap(line, p.t.Width), "\n"))
	p.t.gap()
	return p.flush()
}

// Nothing writes, in place of the first lines, why there are no cases.
func (p *Printer) Nothing(why string) error {
	if p.t.Verbosity != Quiet {
		p.t.line("%s", why)
	}
	return p.flush()
}

// partOf names a shard behind the number of its cases; "" for a whole run.
func partOf(shard string) string {
	if shard == "" {
		return ""
	}
	return ", shard " + shard
}

// counted writes "1 case" or "12 cases".
func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// Case writes the line of one case. In a run of one case, the failure follows in [Printer.End].
func (p *Printer) Case(r Result) error {
	failed := r.Verdict == Fail || r.Verdict == Error
	if failed && p.t.single || !failed && p.t.Verbosity == Quiet || r.Absent {
		return nil
	}
	if r.Verdict != Skip {
		p.moreSkips()
	} else if p.skipped = append(p.skipped, r.Case); len(p.skipped) > mostSkips && p.t.Verbosity < Verbose {
		return nil
	}
	p.printed[r.Case] = true
	word, color, rest := string(r.Verdict), yellow, ""
	switch r.Verdict {
	case Pass:
		word, color, rest = "ok", green, p.t.margin(r)
	case Skip:
		rest = r.Err
	case Known:
		rest = r.Known
	case Error:
		word, color = "ERROR", red
		rest, _, _ = strings.Cut(strings.TrimSpace(r.Err), "\n")
	case Fail:
		word, color, rest = "FAIL", red, headline(r)
	}
	p.caseLine(word, color, r.Case, rest)
	if r.Verdict == Pass && p.t.Verbosity >= Verbose {
		p.t.prose("case", []string{r.Purpose})
		p.t.prose("padded", notJudged(r.Comparison))
	}
	if r.Verdict == Pass {
		p.t.trace(r.Trace)
	}
	return p.flush()
}

// moreSkips writes a line for the skipped cases that have no lines of their own.
func (p *Printer) moreSkips() {
	if more := len(p.skipped) - mostSkips; more > 0 && p.t.Verbosity < Verbose {
		last := p.skipped[len(p.skipped)-1]
		p.t.line("%s  ... and %d more, to %s (-v lists them)", p.t.paint(yellow, "skip"), more, last)
	}
	p.skipped = nil
}

// Broken writes the line of a case without a verdict.
func (p *Printer) Broken(name, err string) error {
	p.moreSkips()
	p.printed[name] = true
	problem, _, _ := strings.Cut(err, "\n")
	p.caseLine("BROKEN", red, name, problem)
	return p.flush()
}

// caseLine writes one line. On a terminal the line of a failure is cut to the width, because the
// whole stands below.
func (p *Printer) caseLine(word, color, name, rest string) {
	line := fmt.Sprintf("%-5s %-*s  %s", word, p.column, name, rest)
	line = strings.TrimRight(line, " ")
	if below := word == "FAIL" || word == "ERROR" || word == "BROKEN"; p.cut && below {
		line = cut(line, max(p.t.Width, len(word)+2+utf8.RuneCountInString(name)))
	}
	p.t.line("%s%s", p.t.paint(color, word), strings.TrimPrefix(line, word))
}

// margin says how far a right output is from the truth.
func (t *text) margin(r Result) string {
	c, torch := r.Comparison, r.PyTorch
	if t.Verbosity < Verbose {
		return fmt.Sprintf("max z %5.2f", c.MaxZ)
	}
	if torch.Elements == 0 {
		return fmt.Sprintf("max z %5.2f  rms z %4.2f", c.MaxZ, c.RMSZ)
	}
	return fmt.Sprintf("max z %5.2f (PyTorch %5.2f)  rms z %4.2f (PyTorch %4.2f)%s",
		c.MaxZ, torch.MaxZ, c.RMSZ, torch.RMSZ, measured(c))
}

// End writes the failures of the finished run, broken files, the causes, and the counts.
func (p *Printer) End(r *Report) error {
	p.moreSkips()
	full := inDetail(r)
	for _, result := range r.Results {
		switch {
		case result.Verdict == Error:
			p.t.noOutput(result, p.title("ERROR", result.Case))
		case result.Verdict == Fail:
			brief := p.t.Brief || !p.t.single && p.t.Verbosity < Verbose && !full[result.Case]
			p.t.failure(result, p.title("FAIL", result.Case), brief)
		}
	}
	for _, b := range r.Broken {
		p.t.gap()
		p.t.line("%s", p.title("BROKEN", b.Case))
		p.t.block("file", strings.Split(b.Err, "\n"))
	}
	if len(r.Results) > 1 && !p.t.single {
		p.t.causes(r)
		p.t.inShort(r)
	}
	p.t.slowest(r)
	if !p.t.Bare {
		p.late(r)
		p.t.summary(r)
	}
	return p.flush()
}

// late corrects the first line, in what the run itself has shown.
func (p *Printer) late(r *Report) {
	if len(r.Results) == 0 || p.t.Verbosity == Quiet {
		return
	}
	if r.Precision != p.begun.Precision {
		p.t.gap()
		p.t.line("The outputs declare %s.", r.Precision)
	}
	if r.Suite != p.begun.Suite {
		p.t.gap()
		p.t.line("The cases are from %s.", r.Suite)
	}
}

// title is the first words of a failure. A case that has its line already goes without the verdict,
// so that every verdict stands once.
func (p *Printer) title(word, name string) string {
	if p.printed[name] {
		return p.t.paint(red, name)
	}
	return p.t.paint(red, word) + " " + name
}

// flush hands over the written lines, so that a reader at the other end of a pipe sees them.
func (p *Printer) flush() error {
	written := p.t.String()
	p.t.Reset()
	p.t.last = (p.t.last + written)[max(0, len(p.t.last)+len(written)-2):]
	_, err := io.WriteString(p.w, written)
	return err
}

// inDetail names the failures that are written in detail: the first of each cause, and the first
// without one.
func inDetail(r *Report) map[string]bool {
	full, alone := map[string]bool{}, true
	for _, result := range r.Results {
		if result.Verdict != Fail {
			continue
		}
		caused := false
		for _, c := range r.Causes {
			if !slices.Contains(c.Failures, result.Case) {
				continue
			}
			caused = true
			seen := slices.ContainsFunc(c.Failures, func(name string) bool { return full[name] })
			full[result.Case] = full[result.Case] || !seen
		}
		if !caused && alone {
			full[result.Case], alone = true, false
		}
	}
	return full
}

// inShort writes a line for each cause, and one for the failures that have none.
func (t *text) inShort(r *Report) {
	var failures, errors []string
	for _, result := range r.Results {
		switch {
		case result.Verdict == Error:
			errors = append(errors, result.Case)
		case result.Verdict == Fail && !slices.ContainsFunc(r.Causes, func(c Cause) bool {
			return slices.Contains(c.Failures, result.Case)
		}):
			failures = append(failures, result.Case)
		}
	}
	if len(r.Causes)+len(failures)+len(errors) == 0 {
		return
	}
	t.gap()
	t.line("Causes")
	for i, c := range r.Causes {
		t.item(fmt.Sprintf("%d.", i+1), fmt.Sprintf("%s: %s (%s)", c.ID, c.Title, counted(len(c.Failures), "failure")))
	}
	if len(failures) > 0 {
		t.item("-", "without a cause: "+someOf(failures))
	}
	if len(errors) > 0 {
		t.item("-", "without an output: "+someOf(errors))
	}
}

// item writes one line of a list.
func (t *text) item(mark, line string) {
	for i, part := range wrap(line, t.Width-5) {
		if i > 0 {
			mark = ""
		}
		t.line("  %-2s %s", mark, part)
	}
}

// slowest names the cases that the subject took longest for.
func (t *text) slowest(r *Report) {
	timed := slices.DeleteFunc(slices.Clone(r.Results), func(one Result) bool { return one.Took == 0 })
	slices.SortStableFunc(timed, func(a, b Result) int { return int(b.Took - a.Took) })
	timed = timed[:min(t.Slowest, len(timed))]
	if len(timed) == 0 {
		return
	}
	t.gap()
	t.line("Slowest")
	for _, one := range timed {
		t.line("  %9s  %s", seconds(one.Took), one.Case)
	}
}

// seconds writes a time for people.
func seconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }

// noOutput writes a case in which the subject gave no output.
func (t *text) noOutput(r Result, title string) {
	t.gap()
	t.line("%s", title)
	t.prose("case", []string{r.Purpose})
	t.block("subject", strings.Split(strings.TrimSpace(r.Err), "\n"))
	t.rerun(r)
}

// failure writes a case whose output is wrong.
func (t *text) failure(r Result, title string, brief bool) {
	d := r.Diagnosis
	t.gap()
	words := wrap(r.Case+"  "+headline(r), t.Width-5)
	if plain := strings.TrimPrefix(words[0], r.Case); plain != words[0] {
		t.line("%s", strings.TrimRight(title+"  "+t.paint(yellow, strings.TrimSpace(plain)), " "))
	}
	for _, more := range words[1:] {
		t.line("    %s", t.paint(yellow, more))
	}
	if brief {
		t.brief(r, len(words))
		return
	}
	t.prose("finding", r.Findings)
	if d.Class != diagnose.Right {
		t.prose("why", d.Reasons)
		t.prose("fix", r.fixes())
		t.prose("not", ruledOut(r.RuledOut))
		t.probes(r)
	}
	t.trace(r.Trace)
	t.prose("case", []string{r.Purpose})
	if d.Class != diagnose.Right {
		t.numbers(r.Comparison, r.PyTorch)
		t.prose("padded", notJudged(r.Comparison))
		t.elements(r.Comparison)
		t.structure(d.Structure, r.Comparison)
		t.pattern(d.Pattern)
		if t.Verbosity >= Everything {
			t.fits(d.Fits)
			t.bands(d.Bands)
		}
	}
	t.rerun(r)
}
