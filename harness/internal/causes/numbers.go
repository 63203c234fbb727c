package causes

import (
	"fmt"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/judge"
	"github.com/difftest/difftest/harness/internal/report"
)

// numbers returns a cause for each number that has the same wrong value in the failures that no
// mistake explains. A passing case contradicts it if the case would fail with the value.
func (in *inquiry) numbers() []report.Cause {
	var found []report.Cause
	for _, r := range in.failures() {
		for _, n := range r.Diagnosis.Numbers {
			c := report.Cause{
				ID:    n.Number.ID,
				Title: fmt.Sprintf("the %s is %.6g", n.Number.Title, n.Value),
				Fix:   n.Number.Fix,
			}
			i := indexOfTitle(found, c.Title)
			if i < 0 {
				i = len(found)
				c.Passes, c.Contradictions = in.passesWithNumber(n.Number, n.Value)
				found = append(found, c)
			}
			found[i].Failures = append(found[i].Failures, r.Case)
		}
	}
	return byFailures(found)
}

// indexOfTitle returns the index of the cause with a title; -1 if there is none. Two values of one
// number differ in nothing else.
func indexOfTitle(causes []report.Cause, title string) int {
	for i, c := range causes {
		if c.Title == title {
			return i
		}
	}
	return -1
}

// passesWithNumber counts the passing cases that have a number, and names those that would fail
// with a value.
func (w *witnesses) passesWithNumber(n catalogue.Number, value float64) (asked int, against []string) {
	for _, r := range w.results {
		referee := w.referee(r.Case)
		if !r.Right() || referee == nil {
			continue
		}
		out, ok := judge.WithNumber(w.cases[r.Case], w.declared, n, value)
		if !ok {
			continue
		}
		asked++
		if !compare.Outputs(out.Shape, out.Value, referee.Expected()).OK() {
			against = append(against, r.Case)
		}
	}
	return asked, against
}
