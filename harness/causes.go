package harness

import (
	"context"
	"slices"

	"github.com/difftest/difftest/harness/catalogue"
	"github.com/difftest/difftest/harness/diagnose"
	"github.com/difftest/difftest/harness/fixture"
	"github.com/difftest/difftest/harness/report"
)

// causes looks for the fewest mistakes that explain all failures together: a failure is explained by
// them when one of its matches consists of them alone. A passing case that would see a mistake speaks
// against it.
func causes(ctx context.Context, results []report.Result, cases map[string]*fixture.Case) []report.Cause {
	var failures []report.Result
	for _, r := range results {
		if len(r.Diagnosis.Matches) > 0 {
			failures = append(failures, r)
		}
	}
	var found []report.Cause
	for _, m := range fewest(failures) {
		cause := report.Cause{Mistake: m}
		for _, r := range failures {
			if slices.ContainsFunc(r.Diagnosis.Matches, func(match diagnose.Match) bool { return contains(match.Mistakes, m) }) {
				cause.Failures = append(cause.Failures, r.Case)
			}
		}
		for _, r := range results {
			if c := cases[r.Case]; r.Verdict == report.Pass && c != nil {
				if _, seen, err := made(ctx, c, m); err == nil && seen {
					cause.Contradictions = append(cause.Contradictions, r.Case)
				}
			}
		}
		found = append(found, cause)
	}
	return found
}

// fewest takes, again and again, the match that explains most of the failures that are left.
func fewest(failures []report.Result) []catalogue.Mistake {
	var chosen []catalogue.Mistake
	for {
		left := slices.DeleteFunc(slices.Clone(failures), func(r report.Result) bool { return explainedBy(r, chosen) })
		var best []catalogue.Mistake
		most := 0
		for _, r := range left {
			for _, match := range r.Diagnosis.Matches {
				with := slices.Concat(chosen, match.Mistakes)
				n := 0
				for _, other := range left {
					if explainedBy(other, with) {
						n++
					}
				}
				if n > most || n == most && len(match.Mistakes) < len(best) {
					best, most = match.Mistakes, n
				}
			}
		}
		if most == 0 {
			return chosen
		}
		for _, m := range best {
			if !contains(chosen, m) {
				chosen = append(chosen, m)
			}
		}
	}
}

// explainedBy says whether one of a failure's matches consists of the given mistakes.
func explainedBy(r report.Result, mistakes []catalogue.Mistake) bool {
	return slices.ContainsFunc(r.Diagnosis.Matches, func(match diagnose.Match) bool {
		return !slices.ContainsFunc(match.Mistakes, func(m catalogue.Mistake) bool { return !contains(mistakes, m) })
	})
}

func contains(list []catalogue.Mistake, m catalogue.Mistake) bool {
	return slices.ContainsFunc(list, func(other catalogue.Mistake) bool { return other.ID == m.ID })
}
