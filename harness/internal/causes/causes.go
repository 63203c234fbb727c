// Package causes explains the failures of several cases together. One subject makes the same
// mistakes on every case. A case on which a mistake would show contradicts it by passing, or by
// failing in another way.
package causes

import (
	"context"
	"slices"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/replay"
	"github.com/difftest/difftest/harness/internal/report"
	"github.com/difftest/difftest/harness/internal/subject"
)

// Find returns the causes of all failures among results, and new results. In these, matches that
// another case rules out are marked and stand last, and matches that belong to a cause stand first.
// The given results stay as they are. declared is the precision of the subject. When ctx ends,
// causes that are not found by then are missing.
func Find(
	ctx context.Context, results []report.Result, cases map[string]*fixture.Case, declared subject.Precision,
) ([]report.Cause, []report.Result) {
	in := &inquiry{ctx: ctx, results: slices.Clone(results), witnesses: newWitnesses(results, cases, declared)}
	in.ruleOut()
	chosen := in.fewest(in.explained())
	in.prefer(chosen)
	// Without loaded weights no mistake shows, so the load comes first. A failure that a mistake
	// explains needs no other cause, so mistakes come next.
	return slices.Concat(in.load(), in.mistakes(chosen), in.numbers(), in.parameters(), in.caught()),
		in.results
}

// inquiry is the search for causes in the results of one run.
type inquiry struct {
	ctx     context.Context
	results []report.Result // a copy; their order of matches is the inquiry's
	*witnesses
}

// failures returns the results whose output is wrong.
func (in *inquiry) failures() []report.Result {
	return slices.DeleteFunc(slices.Clone(in.results), func(r report.Result) bool { return !r.Wrong() })
}

// explained returns the failures that at least one mistake explains.
func (in *inquiry) explained() []report.Result {
	return slices.DeleteFunc(in.failures(), func(r report.Result) bool { return len(r.Diagnosis.Matches) == 0 })
}

// ruleOut marks the matches of a failure that another case contradicts, if some match is left.
func (in *inquiry) ruleOut() {
	for i := range in.results {
		r := &in.results[i]
		if len(r.Diagnosis.Matches) < 2 {
			continue
		}
		var out []report.RuledOut
		for _, match := range r.Diagnosis.Matches {
			if by := in.against(match, *r); by != "" {
				out = append(out, report.RuledOut{ID: match.ID(), By: by})
			}
		}
		if len(out) < len(r.Diagnosis.Matches) {
			r.RuledOut = out
		}
	}
}

// against names a case that contradicts a match of a failure; "" if none does.
func (in *inquiry) against(match replay.Match, failure report.Result) string {
	var rivals []catalogue.Mistake
	for _, other := range failure.Diagnosis.Matches {
		for _, m := range other.Mistakes {
			if !contains(match.Mistakes, m) {
				rivals = append(rivals, m)
			}
		}
	}
	for _, m := range match.Mistakes {
		if by := in.first(in.ctx, m, rivals, failure.Case); by != "" {
			return by
		}
	}
	return ""
}

// rightLayers names the passing cases that have parameters: they show that parameters are loaded.
func (in *inquiry) rightLayers() []string {
	var right []string
	for _, r := range in.results {
		if r.Right() && in.hasParameters(r.Case) {
			right = append(right, r.Case)
		}
	}
	return right
}

func contains(list []catalogue.Mistake, m catalogue.Mistake) bool {
	return slices.ContainsFunc(list, func(other catalogue.Mistake) bool { return other.ID == m.ID })
}
