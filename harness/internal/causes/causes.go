// Package causes explains the failures of several cases together. One subject makes the same
// mistakes on every case. A case on which a mistake would show contradicts it by passing, or by
// failing in another way.
package causes

import (
	"context"
	"slices"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/diagnose"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/replay"
	"github.com/difftest/difftest/harness/internal/report"
	"github.com/difftest/difftest/harness/internal/subject"
)

// Cases returns a case of the run by its name, nil if it is not known. It is called from several
// goroutines, and may read the case.
type Cases func(name string) *fixture.Case

// Of returns the cases of a map.
func Of(read map[string]*fixture.Case) Cases {
	return func(name string) *fixture.Case { return read[name] }
}

// Found holds what [Find] finds.
type Found struct {
	Causes  []report.Cause
	Shared  []report.Shared // what failures without a cause share
	Results []report.Result // in their order, each with its best explanation first
}

// Find returns the causes of all failures among results, and new results. In these, matches that
// another case rules out are marked and stand last, and matches that belong to a cause stand first.
// The given results stay as they are. declared is the precision of the subject. When ctx ends,
// causes that are not found by then are missing.
func Find(
	ctx context.Context, results []report.Result, cases Cases, declared subject.Precision,
) Found {
	in := &inquiry{ctx: ctx, results: slices.Clone(results), witnesses: newWitnesses(results, cases, declared)}
	in.ruleOut()
	in.ruleOutPairs()
	numbers := in.numbers()
	in.preferNumbers(numbers)
	numbers, chosen := in.together(numbers, in.fewest(in.explained()))
	in.ruleOutNumbers(numbers, chosen)
	in.prefer(chosen)
	// Without loaded weights no mistake shows, so the load comes first. A failure that a mistake or
	// a number explains needs no other cause, so they come next.
	causes := slices.Concat(in.load(), byFailures(slices.Concat(in.mistakes(chosen), in.numberCauses(numbers))))
	causes = append(causes, in.unwritten()...)
	causes = append(causes, in.parameters(causes)...)
	causes = append(causes, in.caught()...)
	return Found{Causes: causes, Shared: in.shared(causes), Results: in.results}
}

// inquiry is the search for causes in the results of one run.
type inquiry struct {
	ctx     context.Context
	results []report.Result // a copy; their order of matches is the inquiry's
	*witnesses

	settled map[string]bool // failures that a wrong number explains, and that need no mistake
}

// failures returns the results whose output is wrong.
func (in *inquiry) failures() []report.Result {
	var wrong []report.Result
	for _, r := range in.results {
		if r.Wrong() {
			wrong = append(wrong, r)
		}
	}
	return wrong
}

// explained returns the failures that at least one mistake explains, and no wrong number better.
func (in *inquiry) explained() []report.Result {
	return slices.DeleteFunc(in.failures(), func(r report.Result) bool {
		return len(r.Possible()) == 0 || in.settled[r.Case]
	})
}

// unnamed returns the failures without a mistake or a number that explains them.
func (in *inquiry) unnamed() []report.Result { return slices.DeleteFunc(in.failures(), isNamed) }

// isNamed reports whether a mistake or a number explains a failure.
func isNamed(r report.Result) bool {
	return len(r.Possible()) > 0 || len(r.Diagnosis.Numbers) > 0 || len(r.Joint) > 0
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
			for _, m := range match.Mistakes {
				if by := in.against(m, match, *r); by != "" {
					out = append(out, report.RuledOut{ID: match.ID(), By: by})
					break
				}
			}
		}
		if len(out) < len(r.Diagnosis.Matches) {
			r.RuledOut = out
		}
	}
}

// against names a case that contradicts a mistake in a match of a failure; "" if none does.
func (in *inquiry) against(m catalogue.Mistake, match replay.Match, failure report.Result) string {
	var rivals []catalogue.Mistake
	for _, other := range failure.Diagnosis.Matches {
		for _, rival := range other.Mistakes {
			if !contains(match.Mistakes, rival) {
				rivals = append(rivals, rival)
			}
		}
	}
	return in.first(in.ctx, m, rivals)
}

// ruleOutPairs marks pairs with a mistake that is contradicted, and that matches no failure alone.
// Two mistakes at once can give the output of another mistake by their mathematics.
func (in *inquiry) ruleOutPairs() {
	for i := range in.results {
		r := &in.results[i]
		r.RuledOut = slices.Clone(r.RuledOut)
		for _, match := range r.Diagnosis.Matches {
			if len(match.Mistakes) < 2 || r.RuledOutBy(match) != "" {
				continue
			}
			for _, m := range match.Mistakes {
				if in.alone(m) {
					continue
				}
				if by := in.passing(in.ctx, m); len(by) > in.within(m) {
					r.RuledOut = append(r.RuledOut, report.RuledOut{ID: match.ID(), By: by[0]})
					break
				}
			}
		}
		if len(r.Diagnosis.Matches) > 0 {
			in.unclearIfUnnamed(r)
		}
	}
}

// unclearIfUnnamed takes the class from a failure all of whose explanations are ruled out.
func (in *inquiry) unclearIfUnnamed(r *report.Result) {
	if !isNamed(*r) && !in.loadIsWrong(*r) {
		r.Diagnosis.Class, r.Diagnosis.Unexplained = diagnose.Unclear, true
	}
}

// alone reports whether a mistake, without another one, explains some failure.
func (in *inquiry) alone(m catalogue.Mistake) bool {
	return slices.ContainsFunc(in.results, func(r report.Result) bool {
		return slices.ContainsFunc(r.Diagnosis.Matches, func(match replay.Match) bool {
			return len(match.Mistakes) == 1 && contains(match.Mistakes, m)
		})
	})
}

// within counts the failures that a mistake explains, alone or together with another one.
func (in *inquiry) within(m catalogue.Mistake) int {
	n := 0
	for _, r := range in.results {
		has := func(match replay.Match) bool { return contains(match.Mistakes, m) }
		if slices.ContainsFunc(r.Diagnosis.Matches, has) {
			n++
		}
	}
	return n
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
