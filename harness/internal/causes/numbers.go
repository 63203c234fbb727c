package causes

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/diagnose"
	"github.com/difftest/difftest/harness/internal/judge"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/parallel"
	"github.com/difftest/difftest/harness/internal/replay"
	"github.com/difftest/difftest/harness/internal/report"
)

// wrongNumber is a number that is wrong in some failures.
type wrongNumber struct {
	number   catalogue.Number
	rule     *rule // that all wrong values follow; nil if none is known
	observed []observed
	failures []string // that it explains
	denying  []string // passing cases that would fail if the number followed the rule

	alternatives []string // ids of numbers that no case tells apart from it
}

// numbers returns the wrong numbers that explain failures, with enough evidence, first the one that
// explains the most. A number found on some cases is tried on all other failures. The results that
// it explains are changed.
func (in *inquiry) numbers() []wrongNumber {
	var ids []string
	all := map[string][]observed{}
	for _, r := range in.failures() {
		for _, n := range r.Diagnosis.Numbers {
			c := in.cases(r.Case)
			// Nothing about other cases follows from two numbers of a model.
			if c == nil || n.Beside != nil {
				continue
			}
			id := n.Number.ID
			if all[id] == nil {
				ids = append(ids, id)
			}
			all[id] = append(all[id], observed{n, c})
		}
	}
	var found []wrongNumber
	for _, id := range ids {
		for _, group := range byRule(all[id]) {
			w := in.withRule(group)
			if w.rule != nil {
				w.failures = append(w.failures, in.carried(w)...)
			}
			e := evidence{failures: len(in.failures()), supporting: w.failures, denying: w.denying}
			e.alone = len(w.failures) - len(slices.DeleteFunc(slices.Clone(group), observed.alone))
			if e.enough(in.cases) {
				found = append(found, w)
			}
		}
	}
	slices.SortStableFunc(found, func(a, b wrongNumber) int {
		more := cmp.Compare(len(b.failures), len(a.failures))
		return cmp.Or(more, cmp.Compare(len(a.denying), len(b.denying)))
	})
	return withoutTold(found)
}

// withoutTold leaves out the numbers all of whose failures an earlier one explains. One that
// explains the same failures, and that no more cases deny, is an alternative.
func withoutTold(all []wrongNumber) []wrongNumber {
	var kept []wrongNumber
	for _, w := range all {
		i := slices.IndexFunc(kept, func(k wrongNumber) bool {
			isNew := func(name string) bool { return !slices.Contains(k.failures, name) }
			return !slices.ContainsFunc(w.failures, isNew)
		})
		switch {
		case i < 0:
			kept = append(kept, w)
		case len(w.failures) == len(kept[i].failures) && len(w.denying) <= len(kept[i].denying):
			kept[i].alternatives = append(kept[i].alternatives, w.number.ID)
		}
	}
	return kept
}

// mostGroups is how many rules the values of one number may follow. With more there is no rule.
const mostGroups = 3

// byRule divides observations of one number into groups with one rule each. The first
// group is the largest. If many rules are needed, all are one group.
func byRule(all []observed) [][]observed {
	var groups [][]observed
	for rest := all; len(rest) > 0; {
		var best []observed
		for _, o := range rest {
			for _, r := range slices.Concat(rulesOf(rest), rulesOf([]observed{o})) {
				follows := slices.DeleteFunc(slices.Clone(rest), func(o observed) bool { return !o.follows(r) })
				if len(follows) > len(best) && len(rulesOf(follows)) > 0 {
					best = follows
				}
			}
			if len(best) == len(rest) {
				break
			}
		}
		if len(best) == 0 || len(groups) == mostGroups {
			return [][]observed{all}
		}
		groups = append(groups, best)
		isBest := func(o observed) bool {
			return slices.ContainsFunc(best, func(b observed) bool { return b.c == o.c })
		}
		rest = slices.DeleteFunc(slices.Clone(rest), isBest)
	}
	return groups
}

// withRule returns the wrong number that a group of observations shows. Among the rules that all
// follow it takes the one that the fewest passing cases contradict.
func (in *inquiry) withRule(group []observed) wrongNumber {
	w := wrongNumber{number: group[0].Number, observed: group}
	for _, o := range group {
		w.failures = append(w.failures, o.c.Name)
	}
	for i, r := range rulesOf(group) {
		if denying := in.passesAgainst(in.ctx, w.number, r); i == 0 || len(denying) < len(w.denying) {
			w.rule, w.denying = &r, denying
		}
		if len(w.denying) == 0 {
			break
		}
	}
	if r := in.provenRelation(w); r != nil {
		w.rule, w.denying = r, in.passesAgainst(in.ctx, w.number, *r)
	}
	return w
}

// provenRelation returns a power or a product that explains another failure by another value than
// the rule of a wrong number gives there; nil if there is none. It asks a few failures.
func (in *inquiry) provenRelation(w wrongNumber) *rule {
	const asked = 12
	for _, r := range relations(w.observed) {
		other, n := w, 0
		other.rule = &r
		for _, failure := range in.failures() {
			m, ok := in.valueOf(failure, other)
			if !ok || n == asked || slices.Contains(w.failures, failure.Case) {
				continue
			}
			n++
			if simple, _ := in.valueOf(failure, w); simple.Value == m.Value {
				continue
			}
			if in.byNumber(failure, other) != nil {
				return &r
			}
		}
	}
	return nil
}

// carried returns the failures beside the observed ones that a wrong number explains by its rule,
// and notes it in their results.
func (in *inquiry) carried(w wrongNumber) []string {
	explains := make([]*replay.NumberMatch, len(in.results))
	parallel.Each(len(in.results), func(i int) {
		if r := in.results[i]; in.ctx.Err() == nil && r.Wrong() && !slices.Contains(w.failures, r.Case) {
			explains[i] = in.byNumber(r, w)
		}
	})
	var names []string
	for i, m := range explains {
		if m == nil {
			continue
		}
		r := &in.results[i]
		names = append(names, r.Case)
		d := &r.Diagnosis
		d.Numbers = append(slices.Clone(d.Numbers), *m)
		if len(r.Possible()) == 0 && len(d.Numbers) == 1 {
			d.Class, d.Unexplained = diagnose.WrongNumber, false
			d.Reasons = []string{
				m.String() + fmt.Sprintf(", as in %d other failures", len(w.observed)),
				fmt.Sprintf("with it this case gives the output: residual %.2g (max z %.2g)", m.Residual, m.MaxZ),
			}
		}
	}
	return names
}

// byNumber returns a wrong number, with the value that its rule gives, if a failure's output is
// explained by it; nil otherwise.
func (w *witnesses) byNumber(r report.Result, n wrongNumber) *replay.NumberMatch {
	m, ok := w.valueOf(r, n)
	if !ok {
		return nil
	}
	s, ok := judge.Suppose(w.cases(r.Case), w.declared, m)
	if !ok {
		return nil
	}
	c, _ := s.Alone(output(r))
	if !w.gives(c, r) {
		return nil
	}
	m.Residual, m.MaxZ, m.Next = c.Rel, c.MaxZ, r.Comparison.Rel
	return &m
}

// gives reports whether a comparison with a supposed computation explains a failure, and the right
// computation is much further away.
func (w *witnesses) gives(c compare.Comparison, r report.Result) bool {
	return c.Explained() && r.Comparison.Rel >= compare.MinMargin*c.Rel
}

// valueOf returns the value that a wrong number's rule gives on the case of a failure.
func (w *witnesses) valueOf(r report.Result, n wrongNumber) (m replay.NumberMatch, ok bool) {
	if n.rule == nil || r.Got == nil || !r.Comparison.SameShape() || w.referee(r.Case) == nil {
		return m, false
	}
	c := w.cases(r.Case)
	right, ok := n.number.Get(oracle.FromCase(c))
	if !ok {
		return m, false
	}
	v := n.rule.value(c, right)
	if math.IsNaN(v) || math.IsInf(v, 0) || v == right {
		return m, false
	}
	return replay.NumberMatch{Number: n.number, Value: v, Right: right, Least: v, Most: v}, true
}

// output returns the output of a result.
func output(r report.Result) oracle.Array {
	return oracle.Array{Shape: r.Comparison.GotShape, Value: r.Got}
}

// passesAgainst names the passing cases that would fail if a number followed a rule.
func (w *witnesses) passesAgainst(ctx context.Context, n catalogue.Number, by rule) []string {
	return w.which(ctx, func(r report.Result) bool {
		referee := w.referee(r.Case)
		if !r.Right() || referee == nil {
			return false
		}
		out, ok := judge.WithNumber(w.cases(r.Case), w.declared, n, func(right float64) (float64, bool) {
			v := by.value(w.cases(r.Case), right)
			return v, !math.IsNaN(v) && !math.IsInf(v, 0)
		})
		return ok && !compare.Outputs(out.Shape, out.Value, referee.Expected()).OK()
	})
}

// numberCauses returns the cause that each wrong number is.
func (in *inquiry) numberCauses(all []wrongNumber) []report.Cause {
	var found []report.Cause
	for _, w := range all {
		found = append(found, report.Cause{
			ID: w.number.ID, Title: w.title(), Fix: w.number.Fix, Failures: in.inOrder(w.failures),
			Passes: in.passes(), Contradictions: w.denying, Alternatives: w.alternatives,
			Only: evidence{supporting: w.failures, denying: w.denying}.only(in.cases),
		})
	}
	return found
}

// ruleOutNumbers rules out wrong numbers that were found beside a mistake, if passing cases
// contradict one of the two and no other failure shows it.
func (in *inquiry) ruleOutNumbers(numbers []wrongNumber, chosen []catalogue.Mistake) {
	for i := range in.results {
		r := &in.results[i]
		kept := slices.DeleteFunc(slices.Clone(r.Diagnosis.Numbers), func(n replay.NumberMatch) bool {
			by := in.againstNumber(n, *r, numbers, chosen)
			if by != "" {
				out := report.RuledOut{ID: strings.Join(n.IDs(), "+"), By: by}
				r.RuledOut = append(slices.Clone(r.RuledOut), out)
			}
			return by != ""
		})
		if len(kept) < len(r.Diagnosis.Numbers) {
			r.Diagnosis.Numbers = kept
			in.unclearIfUnnamed(r)
		}
	}
}

// againstNumber names a passing case that contradicts a number with a mistake beside it; "" if
// none does.
func (in *inquiry) againstNumber(
	n replay.NumberMatch, r report.Result, numbers []wrongNumber, chosen []catalogue.Mistake,
) string {
	if len(n.With) == 0 || in.cases(r.Case) == nil {
		return ""
	}
	known := slices.ContainsFunc(numbers, func(w wrongNumber) bool {
		return w.number.ID == n.Number.ID && slices.Contains(w.failures, r.Case)
	})
	if !known {
		rule := constant([]observed{{n, in.cases(r.Case)}})[0]
		if by := in.passesAgainst(in.ctx, n.Number, rule); len(by) > 0 {
			return by[0]
		}
	}
	for _, m := range n.With {
		if by := in.passing(in.ctx, m); !contains(chosen, m) && len(by) > 0 {
			return by[0]
		}
	}
	return ""
}

// preferNumbers finds the failures that a wrong number explains as well as a mistake, where the
// number explains more failures than the mistake does. They need no mistake, and a mistake that
// passing cases contradict is ruled out there. Numbers that are no causes are left out of the
// results, if a number that is one explains them as well.
func (in *inquiry) preferNumbers(numbers []wrongNumber) {
	in.settled = map[string]bool{}
	for i := range in.results {
		r := &in.results[i]
		most := 0
		kept := slices.DeleteFunc(slices.Clone(r.Diagnosis.Numbers), func(n replay.NumberMatch) bool {
			at := slices.IndexFunc(numbers, func(w wrongNumber) bool {
				is := w.number.ID == n.Number.ID || slices.Contains(w.alternatives, n.Number.ID)
				return is && slices.Contains(w.failures, r.Case)
			})
			if at >= 0 {
				most = max(most, len(numbers[at].failures))
			}
			return at < 0
		})
		if len(kept) == 0 {
			continue
		}
		r.Diagnosis.Numbers = kept
		in.settled[r.Case] = true
		r.RuledOut = slices.Clone(r.RuledOut)
		for _, match := range r.Possible() {
			for _, m := range match.Mistakes {
				if in.within(m) >= most {
					in.settled[r.Case] = false
				} else if by := in.passing(in.ctx, m); len(by) > 0 {
					r.RuledOut = append(r.RuledOut, report.RuledOut{ID: match.ID(), By: by[0]})
					break
				}
			}
		}
	}
}

// title says which values the number has.
func (w wrongNumber) title() string {
	if w.rule != nil {
		return "the " + w.number.Title + " is " + w.rule.text
	}
	var values []string
	for _, o := range w.observed {
		if v := fmt.Sprintf("%.6g", o.Value); !slices.Contains(values, v) {
			values = append(values, v)
		}
	}
	return "the " + w.number.Title + " is another: " + strings.Join(values, ", ")
}

// inOrder returns names in the order of the results.
func (in *inquiry) inOrder(names []string) []string {
	var ordered []string
	for _, r := range in.results {
		if slices.Contains(names, r.Case) {
			ordered = append(ordered, r.Case)
		}
	}
	return ordered
}
