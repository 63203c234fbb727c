package causes

import (
	"fmt"
	"slices"
	"strings"

	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/report"
)

// unwritten returns a cause for each part of the computation, such as heads, that several failures
// lack. Functions and layers lack it alike. A pass contradicts the cause if it has several such
// parts.
func (in *inquiry) unwritten() []report.Cause {
	var found []report.Cause
	titles := map[string][]string{}
	for _, r := range in.failures() {
		u := r.Diagnosis.Unwritten
		if u == nil || len(r.Possible()) > 0 || in.loadIsWrong(r) {
			continue
		}
		found = withFailure(found, report.Cause{ID: u.ID, Fix: u.Fix}, r.Case)
		if !slices.Contains(titles[u.ID], u.Title) {
			titles[u.ID] = append(titles[u.ID], u.Title)
		}
	}
	var kept []report.Cause
	for _, c := range byFailures(found) {
		c.Title, c.Passes = someTitles(titles[c.ID]), in.passes()
		c.Contradictions = in.which(in.ctx, func(r report.Result) bool {
			if !r.Right() {
				return false
			}
			read := in.cases(r.Case)
			return read != nil && read.Op != fixture.Module && hasSeveral(read, c.ID)
		})
		e := evidence{supporting: c.Failures, denying: c.Contradictions}
		c.Only = e.only(in.cases)
		if e.enoughForSymptom() || c.Only != "" {
			kept = append(kept, c)
		}
	}
	return kept
}

// hasSeveral reports whether a case has several of the parts that a cause is about. All cases have
// several rows and features.
func hasSeveral(c *fixture.Case, id string) bool {
	switch heads, _ := headCounts(c); id {
	case "heads-not-written":
		return heads > 1
	case "batch-elements-not-written":
		return batchCount(c) > 1
	}
	return false
}

// someTitles joins the first few titles: the parts differ from case to case.
func someTitles(titles []string) string {
	const shown = 3
	text := strings.Join(titles[:min(shown, len(titles))], "; ")
	if len(titles) > shown {
		text += fmt.Sprintf("; and %d more", len(titles)-shown)
	}
	return text
}
