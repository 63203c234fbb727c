package causes

import (
	"github.com/difftest/difftest/harness/internal/report"
)

// caught returns the probes that found something on several failures that no mistake explains.
func (in *inquiry) caught() []report.Cause {
	var found []report.Cause
	for _, r := range in.unnamed() {
		for _, p := range r.Probes {
			if p.ID != report.LoadNoEffect.ID {
				found = withFailure(found, report.Cause{ID: p.ID, Title: p.Title, Live: true, Symptom: true}, r.Case)
			}
		}
	}
	var kept []report.Cause
	for _, c := range byFailures(found) {
		c.Passes, c.Contradictions = in.withoutMask(in.ctx, c.ID)
		e := evidence{supporting: c.Failures, denying: c.Contradictions}
		if e.enoughForSymptom() || e.confined(in.cases) {
			kept = append(kept, c)
		}
	}
	return kept
}
