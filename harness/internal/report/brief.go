package report

import (
	"slices"

	"github.com/difftest/difftest/harness/internal/compare"
)

// briefLines is how many lines a failure has at most, its headline among them.
const briefLines = 8

// brief writes a failure in at most eight lines. The headline has taken some. The others hold the
// reasons, the first fix, the size, the worst element, the rows, and the command that runs the case
// again. Reasons get the lines that are left.
func (t *text) brief(r Result, taken int) {
	left, width := briefLines-taken, t.Width-indent
	if r.Rerun != "" {
		left--
	}
	var module []string
	if r.Trace != nil {
		module = first(wrapAll(firstWrong(r.Trace), width), 1, width)
		left -= len(module)
	}
	if !r.Wrong() {
		t.block("why", first(wrapAll(r.Findings, width), left, width))
		t.block("module", module)
		t.rerun(r)
		return
	}
	const forFix = 2
	reasons := wrapAll(slices.Concat(r.Diagnosis.Reasons, r.Findings), width)
	fix := r.fixes()
	fix = first(wrapAll(fix[:min(1, len(fix))], width), forFix, width)
	rows := t.firstRows(r)
	left -= len(fix) + len(rows) + 1 // the worst element, or the shapes
	t.block("why", first(reasons, left, width))
	t.block("module", module)
	t.block("fix", fix)
	if left > len(reasons) {
		t.size(r.Comparison)
	}
	if r.Comparison.SameShape() {
		t.worst(r.Comparison)
	} else {
		t.shapes(r.Comparison)
	}
	t.block("rows", rows)
	t.rerun(r)
}

// size writes how large the error is, in one line.
func (t *text) size(c compare.Comparison) {
	if c.SameShape() {
		t.block("size", []string{proportions(c)})
	}
}

// firstRows draws which rows of the first batch elements that look alike are wrong, in one line.
func (t *text) firstRows(r Result) []string {
	s := r.Diagnosis.Structure
	if len(s.WrongRows) == 0 {
		return nil
	}
	picture := s.Picture()
	legend := ""
	if len(picture) > 1 {
		legend = "; the other batch elements look otherwise"
	}
	return []string{cut(picture[0]+legend, t.Width-indent)}
}
