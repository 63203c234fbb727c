package report

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/diagnose"
	"github.com/difftest/difftest/harness/internal/fit"
	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/pattern"
	"github.com/difftest/difftest/harness/internal/replay"
)

// text is the lines of a report that are not handed over yet.
type text struct {
	TextOptions
	strings.Builder
	single bool   // the report has one case
	last   string // the last two bytes that were handed over
}

// declared names the arithmetic that the noise is computed for, unless it is float32.
func declared(precision string) string {
	if precision == "" {
		return ""
	}
	return ", which declares " + precision + ","
}

// gap leaves one blank line, unless it would be the first line.
func (t *text) gap() {
	if before := t.last + t.String(); before != "" && !strings.HasSuffix(before, "\n\n") {
		t.line("")
	}
}

const (
	red    = "31"
	green  = "32"
	yellow = "33"
)

func (t *text) paint(color, s string) string {
	if !t.Color {
		return s
	}
	return "\x1b[" + color + "m" + s + "\x1b[0m"
}

func (t *text) line(format string, args ...any) {
	fmt.Fprintf(t, format+"\n", args...)
}

// indent is the width of the labels.
const indent = 12

// prose writes sentences behind a label, wrapped to the width of the terminal.
func (t *text) prose(label string, lines []string) {
	t.block(label, wrapAll(lines, t.Width-indent))
}

// block writes lines behind a label, which stands before the first of them.
func (t *text) block(label string, lines []string) {
	for i, line := range lines {
		if i > 0 {
			label = ""
		}
		t.line("  %-9s %s", label, line)
	}
}

// causes writes the causes in detail.
func (t *text) causes(r *Report) {
	wrong := 0
	for _, result := range r.Results {
		if result.Wrong() && result.Verdict != Known {
			wrong++
		}
	}
	named := slices.ContainsFunc(r.Causes, func(c Cause) bool { return !c.Symptom })
	if !named {
		t.shared(r.Shared)
	}
	for _, c := range r.Causes {
		t.cause(c, wrong)
	}
	if named {
		t.shared(r.Shared)
	}
}

func (t *text) cause(c Cause, wrong int) {
	t.gap()
	head := wrap(fmt.Sprintf("%s explains %s%s", c.ID, shareOf(len(c.Failures), wrong), c.against()),
		t.Width-len("CAUSE "))
	t.line("%s %s%s", t.paint(red, "CAUSE"), t.paint(yellow, c.ID), strings.TrimPrefix(head[0], c.ID))
	for _, more := range head[1:] {
		t.line("      %s", more)
	}
	t.prose("what", []string{c.Title})
	t.prose("failures", []string{someOf(c.Failures)})
	if len(c.Contradictions) > 0 {
		t.prose("passes", []string{
			someOf(c.Contradictions) + ": with it they would fail, so it is not made everywhere",
		})
	}
	if c.Only != "" {
		t.prose("only", []string{"all of its failures have " + c.Only + "; no pass that contradicts it does"})
	}
	if len(c.Otherwise) > 0 {
		t.prose("otherwise", []string{someOf(c.Otherwise) + ": they fail, and it does not explain how"})
	}
	if len(c.Alternatives) > 0 {
		t.prose("or", []string{strings.Join(c.Alternatives, ", or ") + ": no case tells them apart"})
	}
	t.prose("not", ruledOut(c.RuledOut))
	if c.Fix != "" {
		t.prose("fix", []string{c.Fix})
	}
	t.gap()
}

// shared writes what failures without a named cause have in common.
func (t *text) shared(all []Shared) {
	for _, s := range all {
		t.gap()
		lines := wrapAll(s.Sentences(), t.Width-len("SHARED "))
		t.line("%s %s", t.paint(red, "SHARED"), strings.Join(lines, "\n       "))
		t.prose("cases", []string{someOf(s.Cases)})
		t.gap()
	}
}

func shareOf(n, all int) string {
	switch {
	case n == 1 && all == 1:
		return "the failure"
	case n == all:
		return fmt.Sprintf("all %d failures", n)
	}
	return fmt.Sprintf("%d of %d failures", n, all)
}

// against says how many passing cases contradict a cause.
func (c Cause) against() string {
	switch n := len(c.Contradictions); {
	case n > 0:
		return fmt.Sprintf(", but %d of the %d passes contradict it", n, c.Passes)
	case c.Passes > 1:
		return fmt.Sprintf(" and none of the %d passes contradicts it", c.Passes)
	case c.Passes == 1:
		return " and the one pass does not contradict it"
	}
	return "; no case passes that could contradict it"
}

func ruledOut(list []RuledOut) []string {
	var lines []string
	for _, out := range list {
		lines = append(lines, fmt.Sprintf("%s, which %s rules out", out.ID, out.By))
	}
	return lines
}

// someOf names the first few of a list.
func someOf(names []string) string {
	const shown = 4
	if len(names) <= shown {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:shown], ", "), len(names)-shown)
}

// Causes writes the causes of a report for people.
func Causes(w io.Writer, r *Report) error {
	t := &text{TextOptions: TextOptions{Width: 80}}
	t.causes(r)
	_, err := io.WriteString(w, t.String())
	return err
}

// fixes returns what to do about all explanations, each sentence once.
func (r Result) fixes() []string {
	var all []string
	add := func(fix string) {
		if !slices.Contains(all, fix) {
			all = append(all, fix)
		}
	}
	for _, m := range r.Possible() {
		for _, fix := range m.Fixes() {
			add(fix)
		}
	}
	for _, n := range r.Diagnosis.Numbers {
		for _, fix := range n.Fixes() {
			add(fix)
		}
	}
	for _, j := range r.Joint {
		for _, fix := range j.Fixes() {
			add(fix)
		}
	}
	if u := r.Diagnosis.Unwritten; u != nil {
		add(u.Fix)
	}
	return all
}

// headline returns the class and the explanation of the output: what the subject was proved to do,
// the mistakes that give the output, or otherwise the parameters that would.
func headline(r Result) string {
	var ids []string
	for _, m := range r.Possible() {
		ids = append(ids, m.ID())
	}
	for _, n := range r.Diagnosis.Numbers {
		ids = append(ids, n.Label())
	}
	for _, j := range r.Joint {
		ids = append(ids, j.Label())
	}
	named := len(ids) > 0
	for _, f := range r.Diagnosis.Fits {
		if !named && f.Named() {
			ids = append(ids, "another of "+f.Freed)
		}
	}
	if orders := r.Diagnosis.Orders; len(orders) == 1 {
		ids = append(ids, orders[0].String()+" is right")
	}
	if u := r.Diagnosis.Unwritten; u != nil {
		ids = append(ids, u.Title)
	}
	words := r.ProvenTitles()
	if len(ids) > 0 {
		words = append(words, strings.Join(ids, " or "))
	}
	if len(words) == 0 {
		return string(r.Diagnosis.Class)
	}
	return string(r.Diagnosis.Class) + ": " + strings.Join(words, "; ")
}

// Possible returns the matches that no other case rules out.
func (r Result) Possible() []replay.Match {
	ruledOut := func(m replay.Match) bool { return r.RuledOutBy(m) != "" }
	return slices.DeleteFunc(slices.Clone(r.Diagnosis.Matches), ruledOut)
}

func (t *text) probes(r Result) {
	var lines []string
	for _, p := range r.Probes {
		lines = append(lines, p.Text)
	}
	t.prose("probe", lines)
}

func (t *text) numbers(c, torch compare.Comparison) {
	if !c.SameShape() {
		t.shapes(c)
		return
	}
	maxZ, rmsZ := fmt.Sprintf("at most %g", c.Limits.Z), fmt.Sprintf("at most %.1f", c.Limits.RMS)
	if torch.Elements > 0 {
		maxZ += fmt.Sprintf("; PyTorch %.2g", torch.MaxZ)
		rmsZ += fmt.Sprintf("; PyTorch %.2g", torch.RMSZ)
	}
	t.prose("numbers", []string{
		proportions(c),
		fmt.Sprintf("max z %.3g (%s), rms z %.3g (%s)%s", c.MaxZ, maxZ, c.RMSZ, rmsZ, measured(c)),
	})
}

func (t *text) shapes(c compare.Comparison) {
	t.block("shape", []string{
		"got " + attention.FormatShape(c.GotShape) + ", want " + attention.FormatShape(c.WantShape),
	})
}

// proportions says how large the error is, and how much of the output it touches.
func proportions(c compare.Comparison) string {
	return fmt.Sprintf("rel %.3g, gain %.3g, cosine %.3f; %.1f %% of %d elements wrong",
		c.Rel, c.Gain, c.Cosine, 100*float64(c.Outside)/float64(c.Elements), c.Elements)
}

// notJudged says how many rows are padded; nil if none is.
func notJudged(c compare.Comparison) []string {
	if c.Padded == 0 {
		return nil
	}
	return []string{fmt.Sprintf("%d of %d rows are padded and are not judged", c.Padded, c.Rows)}
}

// measured names the source of the noise, unless the oracle computed it.
func measured(c compare.Comparison) string {
	if c.Measured {
		return "  noise as PyTorch shows it on jittered inputs"
	}
	return ""
}

func (t *text) elements(c compare.Comparison) {
	if !c.SameShape() {
		return
	}
	t.worst(c)
	var lines []string
	for _, e := range c.First {
		lines = append(lines, elementText(e))
	}
	t.block("first", lines)
}

func (t *text) worst(c compare.Comparison) {
	if c.SameShape() {
		t.block("worst", []string{elementText(c.Worst)})
	}
}

func elementText(e compare.Element) string {
	return fmt.Sprintf("%-12s got %-14s want %-14s allowed ±%.2g",
		e.Place(), decimal(e.Got), decimal(e.Want), e.Allowed)
}

// decimal writes a number with eight digits, which tell most float32 values apart.
func decimal(v float64) string { return fmt.Sprintf("%.8g", v) }

func (t *text) structure(s diagnose.Structure, c compare.Comparison) {
	if len(s.WrongRows) == 0 {
		return // no shape, or nothing outside the noise by itself
	}
	t.block("rows", s.Picture())
	legend := "x outside the noise, . within it"
	switch unseen := strings.Contains(strings.Join(rowsOf(s), ""), "-"); {
	case unseen && c.Padded > 0:
		legend += ", - padded"
	case unseen:
		legend += ", - within it and sees no key"
	}
	facts := []string{legend}
	switch {
	case s.FirstRowExact && s.LastRowExact:
		facts = append(facts, "first and last row exact in every batch")
	case s.FirstRowExact:
		facts = append(facts, "first row exact in every batch")
	case s.LastRowExact:
		facts = append(facts, "last row exact in every batch")
	}
	t.block("", facts)
	t.prose("where", []string{fmt.Sprintf("rows %s (of %d), batch elements %s (of %d), features %s (of %d)",
		ranges(s.WrongRows), s.Rows, ranges(s.WrongBatches), s.Batches, ranges(s.WrongFeatures), s.Features)})
}

// ranges writes a sorted list of indices: 0-3, 5, 7-9.
func ranges(places []int) string {
	if len(places) == 0 {
		return "none"
	}
	return num.Ranges(places)
}

// pattern draws the attention weights recovered from the output beside the expected ones.
func (t *text) pattern(p *pattern.Pattern) {
	if p == nil {
		return
	}
	var lines []string
	if t.Color && t.Palette != NoPalette {
		blocks, legend := t.Palette.picture(p)
		t.block("weights", slices.Concat(blocks, wrap(legend, t.Width-indent), wrapAll(p.Findings, t.Width-indent)))
		return
	}
	for _, line := range p.Picture() {
		if strings.HasPrefix(line, "|") {
			lines = append(lines, line)
		} else {
			lines = append(lines, wrap(line, t.Width-indent)...) // the legend
		}
	}
	t.block("weights", append(lines, wrapAll(p.Findings, t.Width-indent)...))
}

// fits lists the projections that least squares freed, and whether each explains the output.
func (t *text) fits(fits []fit.Fit) {
	var lines []string
	for _, f := range fits {
		switch {
		case f.Refused != "":
			lines = append(lines, fmt.Sprintf("not asked: %s: %s", f.Freed, f.Refused))
		case f.Holds:
			lines = append(lines, fmt.Sprintf("residual %.2g, the output: %s", f.Residual, f.Freed))
		default:
			lines = append(lines, fmt.Sprintf("residual %.2g, not the output: %s", f.Residual, f.Freed))
		}
	}
	t.block("freed", lines)
}

func (t *text) bands(bands []replay.Band) {
	var lines []string
	for _, b := range bands {
		lines = append(lines, fmt.Sprintf("%-24s rel %-14s gain %-14s cosine %s",
			b.Mistake.ID, rangeText(b.Rel), rangeText(b.Gain), rangeText(b.Cosine)))
	}
	t.block("mistakes", lines)
}

func rangeText(r replay.Range) string {
	switch {
	case math.IsNaN(r.Min):
		return "none"
	case r.Min == r.Max:
		return fmt.Sprintf("%.3g", r.Min)
	}
	return fmt.Sprintf("%.3g..%.3g", r.Min, r.Max)
}

func (t *text) rerun(r Result) {
	if r.Rerun != "" {
		t.block("rerun", []string{r.Rerun})
	}
	t.gap()
}

// summary writes the last line: how often each verdict occurred.
func (t *text) summary(r *Report) {
	t.gap()
	if judged := len(r.Results) + len(r.Broken); r.Interrupted {
		t.line("%s", t.paint(yellow,
			fmt.Sprintf("interrupted after %d of %s", len(r.Results), counted(r.Selected, "case"))))
	} else if judged < r.Selected {
		t.line("%s", t.paint(yellow,
			fmt.Sprintf("ended early, after %d of %s", judged, counted(r.Selected, "case"))))
	}
	color := green
	if !r.OK() || len(r.Broken) > 0 {
		color = red
	}
	took := ""
	if r.Took > 0 {
		took = " in " + seconds(r.Took)
	}
	t.line("%s%s", t.paint(color, counts(r)), took)
}
