package causes

import (
	"slices"

	"github.com/difftest/difftest/harness/internal/report"
)

// caught returns the probes that found something on several failures that no mistake explains.
func (in *inquiry) caught() []report.Cause {
	var found []report.Cause
	for _, r := range in.failures() {
		if len(r.Diagnosis.Matches) > 0 {
			continue
		}
		for _, p := range r.Probes {
			if p.ID != report.LoadNoEffect.ID {
				found = withFailure(found, report.Cause{ID: p.ID, Title: p.Title, Live: true, Symptom: true}, r.Case)
			}
		}
	}
	found = slices.DeleteFunc(found, func(c report.Cause) bool { return len(c.Failures) < severalFailures })
	for i := range found {
		found[i].Passes, found[i].Contradictions = in.withoutMask(in.ctx, found[i].ID)
	}
	return byFailures(found)
}
