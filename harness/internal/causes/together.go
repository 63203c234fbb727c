package causes

import (
	"fmt"
	"slices"
	"strings"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/diagnose"
	"github.com/difftest/difftest/harness/internal/judge"
	"github.com/difftest/difftest/harness/internal/replay"
	"github.com/difftest/difftest/harness/internal/report"
)

// fruitless is after how many failures the search for a mistake beside a wrong number gives up, if
// it finds none.
const fruitless = 12

// together tries several parts at once on the failures without an explanation: each wrong number
// with each mistake of the catalogue, the chosen ones first, or with another number. It adds the
// mistakes and the numbers that it finds to the given ones, if there is evidence, and notes in the
// results the parts that explain them.
func (in *inquiry) together(
	numbers []wrongNumber, chosen []catalogue.Mistake,
) ([]wrongNumber, []catalogue.Mistake) {
	joint := in.joint(numbers, chosen)
	numbers, chosen = in.jointNumbers(numbers, joint), in.jointMistakes(chosen, joint)
	for i, all := range joint {
		r := &in.results[i]
		if isNamed(*r) {
			continue // the diagnosis found both by itself
		}
		for _, j := range all {
			known := func(n replay.NumberMatch) bool {
				return slices.ContainsFunc(numbers, func(w wrongNumber) bool {
					return w.number.ID == n.Number.ID && slices.Contains(w.failures, r.Case)
				})
			}
			unknown := func(n replay.NumberMatch) bool { return !known(n) }
			other := func(m catalogue.Mistake) bool { return !contains(chosen, m) }
			if !slices.ContainsFunc(j.Numbers, unknown) && !slices.ContainsFunc(j.Mistakes, other) {
				r.Joint = append(slices.Clone(r.Joint), j)
			}
		}
		if len(r.Joint) > 0 {
			explain(r)
		}
	}
	return numbers, chosen
}

// joint returns for each result the explanations of several parts.
func (in *inquiry) joint(numbers []wrongNumber, chosen []catalogue.Mistake) [][]report.Joint {
	found, missed := make([][]report.Joint, len(in.results)), 0
	for i, r := range in.results {
		found[i] = jointOf(r)
		if in.ctx.Err() != nil || !r.Wrong() || isNamed(r) || in.loadIsWrong(r) {
			continue
		}
		found[i] = in.pairsOf(r, chosen)
		for _, w := range numbers {
			m, ok := in.valueOf(r, w)
			if !ok || found[i] != nil {
				continue
			}
			s, ok := judge.Suppose(in.cases(r.Case), in.declared, m)
			if !ok {
				continue
			}
			if found[i] = in.withChosen(s, r, m, chosen); found[i] != nil || missed == fruitless {
				continue
			}
			missed++
			if found[i] = in.besides(s, r, m); found[i] != nil {
				missed = 0
			}
		}
		for _, j := range found[i] {
			if len(found[i]) == 1 && len(j.Mistakes) == 1 && !contains(chosen, j.Mistakes[0]) {
				chosen = append(slices.Clone(chosen), j.Mistakes[0]) // tried first from now on
			}
		}
	}
	return found
}

// jointNumbers adds to wrong numbers the failures that they explain together with something else,
// and the numbers that were found there.
func (in *inquiry) jointNumbers(numbers []wrongNumber, joint [][]report.Joint) []wrongNumber {
	numbers = slices.Clone(numbers)
	others := map[string][]observed{}
	var ids []string
	for i, all := range joint {
		name := in.results[i].Case
		for _, j := range all {
			for _, n := range j.Numbers {
				at := slices.IndexFunc(numbers, func(w wrongNumber) bool { return w.number.ID == n.Number.ID })
				switch {
				case at < 0:
					ids = append(ids, n.Number.ID)
					others[n.Number.ID] = append(others[n.Number.ID], observed{n, in.cases(name)})
				case !slices.Contains(numbers[at].failures, name):
					numbers[at].failures = append(slices.Clone(numbers[at].failures), name)
				}
			}
		}
	}
	slices.Sort(ids)
	for _, id := range slices.Compact(ids) {
		for _, group := range byRule(others[id]) {
			w := in.withRule(group)
			e := evidence{failures: len(in.failures()), supporting: w.failures, denying: w.denying}
			if e.enough(in.cases) {
				numbers = append(numbers, w)
			}
		}
	}
	return numbers
}

// jointMistakes adds to the chosen mistakes the ones that explain failures together with a number,
// first the one that explains the most, as long as some failure needs one.
func (in *inquiry) jointMistakes(chosen []catalogue.Mistake, joint [][]report.Joint) []catalogue.Mistake {
	isOpen := func(all []report.Joint) bool {
		return !slices.ContainsFunc(all, func(j report.Joint) bool {
			return !slices.ContainsFunc(j.Mistakes, func(m catalogue.Mistake) bool { return !contains(chosen, m) })
		})
	}
	for tried := []catalogue.Mistake(nil); ; {
		counts := map[string][]string{}
		var best catalogue.Mistake
		for i, all := range joint {
			if !isOpen(all) {
				continue
			}
			for _, j := range all {
				for _, m := range j.Mistakes {
					if contains(tried, m) {
						continue
					}
					counts[m.ID] = append(counts[m.ID], in.results[i].Case)
					if len(counts[m.ID]) > len(counts[best.ID]) {
						best = m
					}
				}
			}
		}
		if len(counts) == 0 {
			return chosen
		}
		tried = append(tried, best)
		e := evidence{failures: len(in.failures()), supporting: counts[best.ID], denying: in.passing(in.ctx, best)}
		if e.enough(in.cases) {
			chosen = append(slices.Clone(chosen), best)
		}
	}
}

// jointOf returns the numbers of a diagnosis that have a mistake beside them.
func jointOf(r report.Result) []report.Joint {
	var found []report.Joint
	for _, n := range r.Diagnosis.Numbers {
		if len(n.With) > 0 {
			found = append(found, report.Joint{
				Numbers: []replay.NumberMatch{n}, Mistakes: n.With, Residual: n.Residual, MaxZ: n.MaxZ,
			})
		}
	}
	return found
}

// pairsOf returns the pairs of chosen mistakes that give the output of a failure. The diagnosis of
// a large case does not try pairs.
func (in *inquiry) pairsOf(r report.Result, chosen []catalogue.Mistake) []report.Joint {
	if r.Got == nil || !r.Comparison.SameShape() || in.referee(r.Case) == nil || len(chosen) < 2 {
		return nil
	}
	s, ok := judge.Suppose(in.cases(r.Case), in.declared)
	if !ok {
		return nil
	}
	var found []report.Joint
	for i, a := range chosen {
		for _, b := range chosen[i+1:] {
			c, ok := s.Alone(output(r), byStage([]catalogue.Mistake{a, b})...)
			if ok && in.gives(c, r) {
				found = append(found, report.Joint{Mistakes: []catalogue.Mistake{a, b}, Residual: c.Rel, MaxZ: c.MaxZ})
			}
		}
	}
	return found
}

// withChosen returns the chosen mistakes that give the output of a failure beside a wrong number.
func (in *inquiry) withChosen(
	s *judge.Supposed, r report.Result, m replay.NumberMatch, chosen []catalogue.Mistake,
) []report.Joint {
	alone, _ := s.Alone(output(r))
	var found []report.Joint
	for _, mistake := range chosen {
		if !mistake.Replayable() {
			continue
		}
		c, ok := s.Alone(output(r), mistake)
		if ok && in.gives(c, r) && alone.Rel >= compare.MinMargin*c.Rel {
			found = append(found, beside(m, mistake, c.Rel, c.MaxZ))
		}
	}
	return found
}

// besides returns the mistakes, or otherwise the numbers, that give the output of a failure beside
// a wrong number.
func (in *inquiry) besides(s *judge.Supposed, r report.Result, m replay.NumberMatch) []report.Joint {
	matches, numbers := s.Besides(in.ctx, output(r))
	var found []report.Joint
	for _, match := range matches {
		found = append(found, beside(m, match.Mistakes[0], match.Residual, match.MaxZ))
	}
	for _, n := range numbers {
		if n.Number.ID != m.Number.ID {
			found = append(found, report.Joint{
				Numbers: []replay.NumberMatch{m, n}, Residual: n.Residual, MaxZ: n.MaxZ,
			})
		}
	}
	return found
}

func beside(m replay.NumberMatch, mistake catalogue.Mistake, residual, maxZ float64) report.Joint {
	m.Residual, m.MaxZ = residual, maxZ
	return report.Joint{
		Numbers: []replay.NumberMatch{m}, Mistakes: []catalogue.Mistake{mistake}, Residual: residual, MaxZ: maxZ,
	}
}

// explain makes the joint explanations of a failure its reasons.
func explain(r *report.Result) {
	first := r.Joint[0]
	var titles []string
	for _, j := range r.Joint {
		titles = append(titles, j.Title())
	}
	d := &r.Diagnosis
	d.Class, d.Unexplained = diagnose.Unclear, false
	if len(first.Numbers) > 0 {
		d.Class = diagnose.WrongNumber
	}
	d.Reasons = []string{"the output is this case computed with " + strings.Join(titles, ", or with ")}
	if len(first.Numbers) > 0 {
		d.Reasons = append(d.Reasons, fmt.Sprintf("the %s was found on other cases", first.Numbers[0].Number.Title))
	}
	d.Reasons = append(d.Reasons, fmt.Sprintf("residual %.2g (max z %.2g)", first.Residual, first.MaxZ))
	if len(r.Joint) > 1 {
		d.Reasons = append(d.Reasons, "this case cannot tell these apart")
	}
}
