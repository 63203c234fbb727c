package harness

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/diagnose"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/report"
	"github.com/difftest/difftest/harness/internal/subject"
)

// causes looks for what explains all failures of a report together, by what the passing cases leave
// possible. It also marks, in the results, the matches that other cases rule out. What it has not found out
// when ctx ends is missing.
func causes(ctx context.Context, r *Report, cases map[string]*fixture.Case) []report.Cause {
	in := &inquiry{ctx: ctx, results: r.Results, witnesses: newWitnesses(r, cases)}
	in.settle()
	var found []report.Cause
	for _, kind := range kindsOfCauses {
		found = append(found, kind(in)...)
	}
	return found
}

// kindsOfCauses are in the order in which they are told: while weights are not loaded, no mistake can be
// seen; what a mistake explains needs no other word.
var kindsOfCauses = []func(*inquiry) []report.Cause{
	(*inquiry).load,
	(*inquiry).mistakes,
	(*inquiry).parameters,
	(*inquiry).caught,
}

// inquiry is the search for causes in the results of a run.
type inquiry struct {
	ctx     context.Context
	results []report.Result
	*witnesses
}

// failures are the results whose output is wrong.
func (in *inquiry) failures() []report.Result {
	return slices.DeleteFunc(slices.Clone(in.results), func(r report.Result) bool { return !r.Wrong() })
}

// settle rules out the matches of a failure that another case speaks against, where it has others that
// none does: the same subject makes the same mistakes on every case.
func (in *inquiry) settle() {
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
		if len(out) == len(r.Diagnosis.Matches) {
			continue
		}
		r.RuledOut = out
	}
}

// against names a case that speaks against a match of a failure; "" where none does.
func (in *inquiry) against(match diagnose.Match, failure report.Result) string {
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

// load are the causes of failures that are those of other weights than the case's. A layer that passes
// holds the right ones.
func (in *inquiry) load() []report.Cause {
	var found []report.Cause
	right := in.rightLayers()
	for _, c := range []report.Cause{
		{ID: subject.LoadNoEffect, Title: loadTitle, Live: true, Fix: "See that the load is called, not assigned, and its error is checked, and that it writes to the layer that computes, not to a copy."},
		{ID: "other-parameters", Title: otherTitle, Live: true, Fix: "See what becomes of the values between the state dict and the layer."},
	} {
		for _, r := range in.failures() {
			if slices.Contains(r.Proven, c.Title) {
				c.Failures = append(c.Failures, r.Case)
			}
		}
		if len(c.Failures) > 0 {
			c.Contradictions, c.Passes = right, len(right)
			found = append(found, c)
		}
	}
	return found
}

// mistakes are the fewest that explain, by their matches, all failures that have one.
func (in *inquiry) mistakes() []report.Cause {
	failures := slices.DeleteFunc(in.failures(), func(r report.Result) bool { return len(r.Diagnosis.Matches) == 0 })
	chosen := in.fewest(failures)
	in.prefer(chosen)
	var found []report.Cause
	for _, m := range chosen {
		c := report.Cause{ID: m.ID, Title: m.Title, Fix: m.Fix, Passes: in.passes(), Contradictions: in.passing(in.ctx, m)}
		for _, r := range failures {
			if slices.ContainsFunc(explanations(r, chosen), func(match diagnose.Match) bool { return contains(match.Mistakes, m) }) {
				c.Failures = append(c.Failures, r.Case)
			}
		}
		in.others(&c, m, chosen, failures)
		found = append(found, c)
	}
	slices.SortStableFunc(found, func(a, b report.Cause) int { return cmp.Compare(len(b.Failures), len(a.Failures)) })
	return found
}

// prefer puts those matches of a failure first that consist of the causes of all, and those last that
// another case rules out.
func (in *inquiry) prefer(chosen []catalogue.Mistake) {
	rank := func(r report.Result, m diagnose.Match) int {
		switch {
		case r.RuledOutBy(m) != "":
			return 2
		case slices.ContainsFunc(m.Mistakes, func(m catalogue.Mistake) bool { return !contains(chosen, m) }):
			return 1
		}
		return 0
	}
	for i := range in.results {
		r := &in.results[i]
		slices.SortStableFunc(r.Diagnosis.Matches, func(a, b diagnose.Match) int { return cmp.Compare(rank(*r, a), rank(*r, b)) })
	}
}

// fewest takes, again and again, the match that explains most of the failures that are left; of
// several the one that fewest passing cases contradict.
func (in *inquiry) fewest(failures []report.Result) []catalogue.Mistake {
	var chosen []catalogue.Mistake
	for {
		left := slices.DeleteFunc(slices.Clone(failures), func(r report.Result) bool { return len(explanations(r, chosen)) > 0 })
		var best []diagnose.Match
		most := 0
		for _, match := range candidates(left) {
			n := explained(left, slices.Concat(chosen, match.Mistakes))
			if n > most {
				best, most = nil, n
			}
			if n == most {
				best = append(best, match)
			}
		}
		if most == 0 {
			return chosen
		}
		for _, m := range in.leastContradicted(best).Mistakes {
			if !contains(chosen, m) {
				chosen = append(chosen, m)
			}
		}
	}
}

func (in *inquiry) leastContradicted(matches []diagnose.Match) diagnose.Match {
	if len(matches) == 1 {
		return matches[0]
	}
	return slices.MinFunc(matches, func(a, b diagnose.Match) int {
		return cmp.Compare(in.contradictions(a.Mistakes), in.contradictions(b.Mistakes))
	})
}

func (in *inquiry) contradictions(mistakes []catalogue.Mistake) int {
	n := 0
	for _, m := range mistakes {
		n += len(in.passing(in.ctx, m))
	}
	return n
}

// candidates are the matches of failures, each once, without those that are ruled out.
func candidates(failures []report.Result) []diagnose.Match {
	var all []diagnose.Match
	for _, r := range failures {
		for _, match := range r.Diagnosis.Matches {
			if r.RuledOutBy(match) == "" && !slices.ContainsFunc(all, func(m diagnose.Match) bool { return m.ID() == match.ID() }) {
				all = append(all, match)
			}
		}
	}
	return all
}

// explained counts the failures that the mistakes explain.
func explained(failures []report.Result, mistakes []catalogue.Mistake) int {
	n := 0
	for _, r := range failures {
		if len(explanations(r, mistakes)) > 0 {
			n++
		}
	}
	return n
}

// explanations are a failure's matches that consist of the given mistakes alone.
func explanations(r report.Result, mistakes []catalogue.Mistake) []diagnose.Match {
	return slices.DeleteFunc(slices.Clone(r.Diagnosis.Matches), func(match diagnose.Match) bool {
		return r.RuledOutBy(match) != "" ||
			slices.ContainsFunc(match.Mistakes, func(m catalogue.Mistake) bool { return !contains(mistakes, m) })
	})
}

// others are the mistakes that would do in the place of a cause: where no case tells them apart they
// stand beside it, and where one does it is named.
func (in *inquiry) others(c *report.Cause, m catalogue.Mistake, chosen []catalogue.Mistake, failures []report.Result) {
	rest := slices.DeleteFunc(slices.Clone(chosen), func(other catalogue.Mistake) bool { return other.ID == m.ID })
	all := explained(failures, chosen)
	for _, match := range candidates(failures) {
		for _, other := range match.Mistakes {
			if contains(chosen, other) || slices.Contains(c.Alternatives, other.ID) || explained(failures, append(rest[:len(rest):len(rest)], other)) < all {
				continue
			}
			against := in.passing(in.ctx, other)
			if len(against) <= len(c.Contradictions) {
				c.Alternatives = append(c.Alternatives, other.ID)
			}
		}
	}
	for _, r := range failures {
		for _, out := range r.RuledOut {
			if slices.Contains(c.Failures, r.Case) && !slices.ContainsFunc(c.RuledOut, func(o report.RuledOut) bool { return o.ID == out.ID }) {
				c.RuledOut = append(c.RuledOut, out)
			}
		}
	}
}

// parameters are the maps of layers of which others than the case's explain several failures that have no
// other explanation: those first that explain most, and none whose failures another one explains as well.
func (in *inquiry) parameters() []report.Cause {
	var found []report.Cause
	for _, r := range in.failures() {
		for _, fit := range r.Diagnosis.Fits {
			if len(r.Diagnosis.Matches) > 0 || len(r.Proven) > 0 || !fit.Explains() || !fit.Narrowest {
				continue
			}
			id := "other-" + strings.Join(fit.Projections(), "-and-") + "-parameters"
			i := slices.IndexFunc(found, func(c report.Cause) bool { return c.ID == id })
			if i < 0 {
				i = len(found)
				what := strings.Join(fit.Projections(), " and ")
				found = append(found, report.Cause{
					ID: id, Title: "other parameters of the " + what + " projection than the case's",
					Fix: "See how the " + what + " projection is loaded: under which name, which rows of it, and in which layout.",
				})
			}
			if c := &found[i]; !slices.Contains(c.Failures, r.Case) {
				c.Failures = append(c.Failures, r.Case)
			}
		}
	}
	slices.SortStableFunc(found, func(a, b report.Cause) int { return cmp.Compare(len(b.Failures), len(a.Failures)) })
	return in.onlyNew(found)
}

// onlyNew leaves out causes of fewer than two failures, and those all of whose failures an earlier one has.
func (in *inquiry) onlyNew(causes []report.Cause) []report.Cause {
	told, right := map[string]bool{}, in.rightLayers()
	var kept []report.Cause
	for _, c := range causes {
		if len(c.Failures) < 2 || !slices.ContainsFunc(c.Failures, func(name string) bool { return !told[name] }) {
			continue
		}
		for _, name := range c.Failures {
			told[name] = true
		}
		c.Contradictions, c.Passes = right, len(right)
		kept = append(kept, c)
	}
	return kept
}

// rightLayers are the cases that pass and have parameters: by them, they are loaded.
func (in *inquiry) rightLayers() []string {
	var right []string
	for _, r := range in.results {
		if r.Right() && in.hasParameters(r.Case) {
			right = append(right, r.Case)
		}
	}
	return right
}

// caught are findings about a live subject that hold in several failures that nothing else explains.
func (in *inquiry) caught() []report.Cause {
	var found []report.Cause
	for _, r := range in.failures() {
		for _, p := range r.Probes {
			if p.ID == subject.LoadNoEffect || len(r.Diagnosis.Matches) > 0 {
				continue
			}
			i := slices.IndexFunc(found, func(c report.Cause) bool { return c.ID == p.ID })
			if i < 0 {
				i = len(found)
				found = append(found, report.Cause{ID: p.ID, Title: p.Title, Live: true})
			}
			found[i].Failures = append(found[i].Failures, r.Case)
		}
	}
	found = slices.DeleteFunc(found, func(c report.Cause) bool { return len(c.Failures) < 2 })
	for i := range found {
		found[i].Passes, found[i].Contradictions = in.unscreened(in.ctx, found[i].ID)
	}
	slices.SortStableFunc(found, func(a, b report.Cause) int { return cmp.Compare(len(b.Failures), len(a.Failures)) })
	return found
}

func contains(list []catalogue.Mistake, m catalogue.Mistake) bool {
	return slices.ContainsFunc(list, func(other catalogue.Mistake) bool { return other.ID == m.ID })
}
