package causes

import (
	"slices"

	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/report"
)

// The limits of what [shared] says.
const (
	// unlikely is the greatest chance that as many failures, drawn at random, would share something
	// as well. The chance of one statement counts once for each statement that could be made.
	unlikely = 0.1
	// mostShared is how many features are listed.
	mostShared = 3
	// fewExceptions is how many failures there must be for each pass that has what they share.
	fewExceptions = 4
)

// split tells for each case of a run whether it has a feature, the failures first.
type split struct {
	feature
	failures, passes int    // that have the feature
	lacking          bool   // no failure has the feature, and every pass
	key              string // a letter for each case
}

// shared returns what all failures of a run share, and none or few of its passes. It returns nil if
// the run has too few cases to tell, or if nothing is shared.
func shared(among report.Among, failures, passes []*fixture.Case) *report.Shared {
	if len(failures) == 0 || len(passes) == 0 {
		return nil
	}
	all := splits(failures, passes)
	found := exact(all, failures, passes)
	if len(found) == 0 {
		found = exactPairs(all, failures, passes)
	}
	if len(found) == 0 {
		found = nearlyExact(all, failures, passes)
	}
	if len(found) == 0 {
		return nil
	}
	s := &report.Shared{Among: among, Passes: len(passes), More: max(0, len(found)-mostShared)}
	for _, c := range failures {
		s.Cases = append(s.Cases, c.Name)
	}
	for _, f := range found[:min(mostShared, len(found))] {
		shown := report.Feature{ID: f.id, Title: f.what, Lacking: f.lacking, Passes: f.passes}
		if f.instead != nil && f.passes == 0 && !slices.ContainsFunc(passes, isModule) {
			shown.Instead = f.instead(passes)
		}
		s.Features = append(s.Features, shown)
	}
	return s
}

// splits asks every feature of every case. Features that all cases have, or none, are left out.
func splits(failures, passes []*fixture.Case) []split {
	both := slices.Concat(failures, passes)
	var all []split
	for _, f := range slices.Concat(features, limits(failures), groups(failures)) {
		s := split{feature: f}
		key := make([]byte, len(both))
		for i, c := range both {
			switch {
			case !f.has(c):
				key[i] = '.'
				continue
			case i < len(failures):
				s.failures++
			default:
				s.passes++
			}
			key[i] = 'x'
		}
		s.key = string(key)
		if n := s.failures + s.passes; n > 0 && n < len(both) {
			all = append(all, s)
		}
	}
	return all
}

// limits returns the features of being at least, and at most, as each size of the failures.
func limits(failures []*fixture.Case) []feature {
	var all []feature
	for _, s := range sizes {
		least, most, ok := s.span(failures)
		if ok {
			all = append(all, s.atLeast(least), s.atMost(most))
		}
	}
	return all
}

// groups returns the features of lying in each folder of the suite.
func groups(cases []*fixture.Case) []feature {
	var all []feature
	for _, c := range cases {
		f := groupFeature(c.Name)
		if !slices.ContainsFunc(all, func(other feature) bool { return other.id == f.id }) {
			all = append(all, f)
		}
	}
	return all
}

// exact returns the features that all failures have and no pass. If there are none, it returns the
// features that no failure has and every pass.
func exact(all []split, failures, passes []*fixture.Case) []split {
	if !telling(distinct(all), len(failures), len(passes), 0) {
		return nil
	}
	var have, lack []split
	for _, s := range all {
		switch {
		case s.failures == len(failures) && s.passes == 0:
			have = append(have, s)
		case s.failures == 0 && s.passes == len(passes) && s.instead == nil:
			s.lacking, s.passes = true, 0
			lack = append(lack, s)
		}
	}
	if len(have) > 0 {
		return have
	}
	return lack
}

// exactPairs returns pairs of features that all failures have, and that no pass has together. It
// returns nil where many pairs would do.
func exactPairs(all []split, failures, passes []*fixture.Case) []split {
	n := distinct(all)
	if !telling(n*(n-1)/2, len(failures), len(passes), 0) {
		return nil
	}
	common := slices.DeleteFunc(slices.Clone(all), func(s split) bool { return s.failures < len(failures) })
	var found []split
	for i, a := range common {
		for _, b := range common[i+1:] {
			if !overlap(a.key[len(failures):], b.key[len(failures):]) {
				both := feature{id: a.id + "+" + b.id, what: a.what + ", and " + b.what}
				found = append(found, split{feature: both, failures: len(failures)})
			}
		}
	}
	if len(found) > mostShared {
		return nil
	}
	return found
}

// overlap reports whether a case has both features.
func overlap(a, b string) bool {
	for i := range a {
		if a[i] == 'x' && b[i] == 'x' {
			return true
		}
	}
	return false
}

// nearlyExact returns the feature that all failures have and the fewest passes.
func nearlyExact(all []split, failures, passes []*fixture.Case) []split {
	var best []split
	n := distinct(all)
	for _, s := range all {
		few := s.passes*fewExceptions <= len(failures) && telling(n, len(failures), len(passes), s.passes)
		if s.failures == len(failures) && few && (len(best) == 0 || s.passes < best[0].passes) {
			best = []split{s}
		}
	}
	return best
}

// distinct counts the features that some case of the run tells apart.
func distinct(all []split) int {
	keys := map[string]bool{}
	for _, s := range all {
		keys[s.key] = true
	}
	return len(keys)
}

// telling reports whether it is unlikely that as many failures, drawn at random from the cases, all
// have one of the given number of features, if some passes have it as well. One failure never tells
// anything: every case has something of its own.
func telling(features, failures, passes, having int) bool {
	if failures < severalFailures {
		return false
	}
	chance := float64(features)
	for i := range failures {
		chance *= float64(failures+having-i) / float64(failures+passes-i)
	}
	return chance < unlikely
}

// shared returns what the failures without a cause share, and what the cases that gave no output
// share. All failures are asked if no mistake or number is a cause, or if passes contradict each
// that is one.
func (in *inquiry) shared(causes []report.Cause) []report.Shared {
	among, explained := report.Unexplained, explainedBy(causes)
	sure := func(c report.Cause) bool { return !c.Symptom && (len(c.Contradictions) == 0 || c.Only != "") }
	if !slices.ContainsFunc(causes, sure) {
		among, explained = report.AllFailures, nil
	}
	failures := in.casesOf(func(r report.Result) bool { return r.Wrong() && !explained[r.Case] })
	errors := in.casesOf(func(r report.Result) bool { return r.Verdict == report.Error })
	ran := func(r report.Result) bool { return r.Right() || r.Wrong() }
	var found []report.Shared
	add := func(among report.Among, failures []*fixture.Case, others func(report.Result) bool) {
		if len(failures) == 0 {
			return // and read no other case
		}
		if s := shared(among, failures, in.casesOf(others)); s != nil {
			found = append(found, *s)
		}
	}
	add(among, failures, report.Result.Right)
	add(report.Errors, errors, ran)
	return found
}

// casesOf returns the cases of some results, in their order.
func (in *inquiry) casesOf(which func(report.Result) bool) []*fixture.Case {
	var found []*fixture.Case
	for _, r := range in.results {
		if !which(r) {
			continue
		}
		if c := in.cases(r.Case); c != nil {
			found = append(found, c)
		}
	}
	return found
}
