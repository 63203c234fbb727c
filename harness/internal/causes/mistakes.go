package causes

import (
	"cmp"
	"slices"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/replay"
	"github.com/difftest/difftest/harness/internal/report"
)

// mistakes returns a cause for each chosen mistake.
func (in *inquiry) mistakes(chosen []catalogue.Mistake) []report.Cause {
	failures := in.explained()
	inJoint := func(r report.Result, m catalogue.Mistake) bool {
		has := func(j report.Joint) bool { return j.Has(m.ID) }
		return slices.ContainsFunc(slices.Concat(r.Joint, jointOf(r)), has)
	}
	var found []report.Cause
	for _, m := range chosen {
		c := report.Cause{
			ID: m.ID, Title: m.Title, Fix: m.Fix,
			Passes: in.passes(), Contradictions: in.passing(in.ctx, m),
		}
		for _, r := range in.failures() {
			has := func(match replay.Match) bool { return contains(match.Mistakes, m) }
			if slices.ContainsFunc(explanations(r, chosen), has) || inJoint(r, m) {
				c.Failures = append(c.Failures, r.Case)
			}
		}
		c.Alternatives = in.alternatives(c, m, chosen, failures)
		c.RuledOut = ruledOut(c, failures)
		c.Only = evidence{supporting: c.Failures, denying: c.Contradictions}.only(in.cases)
		found = append(found, c)
	}
	return found
}

// byFailures sorts causes: first the one that explains the most failures.
func byFailures(causes []report.Cause) []report.Cause {
	slices.SortStableFunc(causes, func(a, b report.Cause) int { return cmp.Compare(len(b.Failures), len(a.Failures)) })
	return causes
}

// fewest returns few mistakes that explain, by their matches, the failures that have a match. It
// takes, again and again, the match that explains most of the failures that are left; among equals,
// the match that the fewest passing cases contradict. A mistake without enough evidence is left
// out, and the search begins again without it.
func (in *inquiry) fewest(failures []report.Result) []catalogue.Mistake {
	var doubtful []catalogue.Mistake
	for {
		chosen := in.cover(failures, doubtful)
		i := slices.IndexFunc(chosen, func(m catalogue.Mistake) bool { return !in.hasEvidence(m, chosen, failures) })
		if i < 0 {
			return chosen
		}
		doubtful = append(doubtful, chosen[i])
	}
}

// hasEvidence reports whether the run supports a mistake that is one of the chosen.
func (in *inquiry) hasEvidence(m catalogue.Mistake, chosen []catalogue.Mistake, failures []report.Result) bool {
	e := evidence{failures: len(in.failures()), denying: in.passing(in.ctx, m)}
	for _, r := range failures {
		own := slices.DeleteFunc(explanations(r, chosen), func(match replay.Match) bool {
			return !contains(match.Mistakes, m)
		})
		if len(own) == 0 {
			continue
		}
		e.supporting = append(e.supporting, r.Case)
		if slices.ContainsFunc(own, func(match replay.Match) bool { return len(match.Mistakes) == 1 }) {
			e.alone++
		}
	}
	e.otherwise = in.which(in.ctx, func(r report.Result) bool {
		return r.Wrong() && !isNamed(r) && !in.loadIsWrong(r) && in.failsOtherwise(r, m)
	})
	return e.enough(in.cases)
}

// failsOtherwise reports whether a failure that nothing explains would show a mistake. A function
// with a part that nobody wrote speaks against mistakes in parameters, because it has none.
func (in *inquiry) failsOtherwise(r report.Result, m catalogue.Mistake) bool {
	if r.Diagnosis.Unwritten != nil && m.Kind == catalogue.Parameters && !in.hasParameters(r.Case) {
		return true
	}
	return in.sees(r.Case, m)
}

// cover returns few mistakes that explain the failures that have a match without a doubtful
// mistake.
func (in *inquiry) cover(failures []report.Result, doubtful []catalogue.Mistake) []catalogue.Mistake {
	var chosen []catalogue.Mistake
	for {
		left := slices.DeleteFunc(slices.Clone(failures), func(r report.Result) bool {
			return len(explanations(r, chosen)) > 0
		})
		best := mostExplaining(left, chosen, doubtful)
		if len(best) == 0 {
			return chosen
		}
		for _, m := range in.leastContradicted(best).Mistakes {
			if !contains(chosen, m) {
				chosen = append(chosen, m)
			}
		}
	}
}

// mostExplaining returns the matches that explain the most failures together with chosen mistakes,
// and have no doubtful mistake; none if no match explains any.
func mostExplaining(failures []report.Result, chosen, doubtful []catalogue.Mistake) []replay.Match {
	var best []replay.Match
	most := 0
	for _, match := range candidates(failures) {
		if slices.ContainsFunc(match.Mistakes, func(m catalogue.Mistake) bool { return contains(doubtful, m) }) {
			continue
		}
		n := countExplained(failures, slices.Concat(chosen, match.Mistakes))
		if n > most {
			best, most = nil, n
		}
		if n == most && n > 0 {
			best = append(best, match)
		}
	}
	return best
}

func (in *inquiry) leastContradicted(matches []replay.Match) replay.Match {
	if len(matches) == 1 {
		return matches[0]
	}
	return slices.MinFunc(matches, func(a, b replay.Match) int {
		return cmp.Compare(in.contradictions(a.Mistakes), in.contradictions(b.Mistakes))
	})
}

// contradictions counts the passing cases that would fail with the mistakes, once for each mistake.
func (in *inquiry) contradictions(mistakes []catalogue.Mistake) int {
	n := 0
	for _, m := range mistakes {
		n += len(in.passing(in.ctx, m))
	}
	return n
}

// prefer sorts the matches of each failure. Matches that consist of chosen mistakes come first, and
// matches that another case rules out come last.
func (in *inquiry) prefer(chosen []catalogue.Mistake) {
	rank := func(r report.Result, m replay.Match) int {
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
		r.Diagnosis.Matches = slices.Clone(r.Diagnosis.Matches)
		slices.SortStableFunc(r.Diagnosis.Matches, func(a, b replay.Match) int {
			return cmp.Compare(rank(*r, a), rank(*r, b))
		})
	}
}

// candidates returns the matches of all failures that are not ruled out, each once.
func candidates(failures []report.Result) []replay.Match {
	var all []replay.Match
	for _, r := range failures {
		for _, match := range r.Diagnosis.Matches {
			same := func(m replay.Match) bool { return m.ID() == match.ID() }
			if r.RuledOutBy(match) == "" && !slices.ContainsFunc(all, same) {
				all = append(all, match)
			}
		}
	}
	return all
}

// countExplained counts the failures that the mistakes explain.
func countExplained(failures []report.Result, mistakes []catalogue.Mistake) int {
	n := 0
	for _, r := range failures {
		if len(explanations(r, mistakes)) > 0 {
			n++
		}
	}
	return n
}

// explanations returns a failure's matches that consist of the given mistakes alone.
func explanations(r report.Result, mistakes []catalogue.Mistake) []replay.Match {
	return slices.DeleteFunc(slices.Clone(r.Diagnosis.Matches), func(match replay.Match) bool {
		other := func(m catalogue.Mistake) bool { return !contains(mistakes, m) }
		return r.RuledOutBy(match) != "" || slices.ContainsFunc(match.Mistakes, other)
	})
}

// alternatives returns the mistakes that could replace a cause: with them as many failures are
// explained, and no more passing cases contradict them.
func (in *inquiry) alternatives(
	c report.Cause, m catalogue.Mistake, chosen []catalogue.Mistake, failures []report.Result,
) []string {
	rest := slices.DeleteFunc(slices.Clone(chosen), func(other catalogue.Mistake) bool { return other.ID == m.ID })
	all := countExplained(failures, chosen)
	var ids []string
	for _, match := range candidates(failures) {
		for _, other := range match.Mistakes {
			if contains(chosen, other) || slices.Contains(ids, other.ID) ||
				countExplained(failures, slices.Concat(rest, []catalogue.Mistake{other})) < all {
				continue
			}
			if len(in.passing(in.ctx, other)) <= len(c.Contradictions) {
				ids = append(ids, other.ID)
			}
		}
	}
	return ids
}

// ruledOut returns the matches that other cases rule out on the failures of a cause, each once.
func ruledOut(c report.Cause, failures []report.Result) []report.RuledOut {
	var all []report.RuledOut
	for _, r := range failures {
		for _, out := range r.RuledOut {
			same := func(o report.RuledOut) bool { return o.ID == out.ID }
			if slices.Contains(c.Failures, r.Case) && !slices.ContainsFunc(all, same) {
				all = append(all, out)
			}
		}
	}
	return all
}
