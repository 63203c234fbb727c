package report

import (
	"slices"

	"github.com/difftest/difftest/harness/internal/compare"
)

// brief writes a failure in at most seven lines below its headline: two reasons, the first fix, the
// size, the worst element, the rows, and the command that runs the case again.
func (t *text) brief(r Result) {
	const why = 2
	wrong := r.Findings
	if r.Wrong() {
		wrong = slices.Concat(r.Diagnosis.Reasons, r.Findings)
	}
	t.block("why", wrong[:min(why, len(wrong))])
	if r.Trace != nil {
		t.block("module", firstWrong(r.Trace))
	}
	if r.Wrong() {
		fix := r.fixes()
		t.block("fix", fix[:min(1, len(fix))])
		t.size(r.Comparison)
		t.worst(r.Comparison)
		t.firstRows(r)
	}
	t.rerun(r)
}

// size writes how large the error is, in one line.
func (t *text) size(c compare.Comparison) {
	if !c.SameShape() {
		t.shapes(c)
		return
	}
	t.block("size", []string{proportions(c)})
}

// firstRows draws which rows of the first batch elements that look alike are wrong.
func (t *text) firstRows(r Result) {
	s := r.Diagnosis.Structure
	if len(s.WrongRows) == 0 {
		return
	}
	picture := s.Picture()
	legend := ""
	if len(picture) > 1 {
		legend = "; the other batch elements look otherwise"
	}
	t.block("rows", []string{picture[0] + legend})
}
