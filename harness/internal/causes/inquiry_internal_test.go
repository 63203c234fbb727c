package causes

import (
	"context"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/diagnose"
	"github.com/difftest/difftest/harness/internal/fit"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/judge"
	"github.com/difftest/difftest/harness/internal/replay"
	"github.com/difftest/difftest/harness/internal/report"
)

// matched returns a failure that matches explain, each of some mistakes.
func matched(t *testing.T, name string, matches ...[]string) report.Result {
	t.Helper()
	r := result(name, false)
	for _, ids := range matches {
		r.Diagnosis.Matches = append(r.Diagnosis.Matches, replay.Match{Mistakes: mistakesOf(t, ids...)})
	}
	return r
}

// contradicted notes which passes contradict a mistake, and which cases show it.
func (in *inquiry) contradicted(id string, by ...string) {
	in.lists.get(id, func() []string { return by })
	for _, name := range by {
		in.seen.get(name+" "+id, func() bool { return true })
	}
}

// computed returns the result of a function's case with other options.
func computed(t *testing.T, name string, change func(o *attention.SDPAOptions)) (report.Result, *fixture.Case) {
	t.Helper()
	c, err := fixture.Read(fixtures.FS, name)
	require.NoError(t, err)
	o := c.Options
	if o.Scale == 0 {
		o.Scale = 1 / math.Sqrt(float64(headSize(c)))
	}
	change(&o)
	out, err := attention.SDPA(c.Inputs.Query, c.Inputs.Key, c.Inputs.Value, o)
	require.NoError(t, err)
	r := report.Result{Case: name}
	for _, v := range out.Data {
		r.Got = append(r.Got, float64(v))
	}
	referee, err := judge.New(t.Context(), c, judge.Arithmetic(""))
	require.NoError(t, err)
	r.Comparison = compare.Outputs(out.Shape, r.Got, referee.Expected())
	return r, c
}

// ofCases returns an inquiry into results whose cases are known.
func ofCases(t *testing.T, results []report.Result, cases ...*fixture.Case) *inquiry {
	t.Helper()
	read := map[string]*fixture.Case{}
	for _, c := range cases {
		read[c.Name] = c
	}
	return &inquiry{ctx: t.Context(), results: results, witnesses: newWitnesses(results, Of(read), "")}
}

func numberOf(t *testing.T, id string) catalogue.Number {
	t.Helper()
	n, ok := catalogue.NumberByID(id)
	require.True(t, ok, id)
	return n
}

func timesRule(factor float64) *rule {
	return &rule{"another", func(_ *fixture.Case, right float64) float64 { return factor * right }}
}

// A wrong number that one case has not, or gives nothing for, leaves the others to be tried. The
// mistake beside it is found in the catalogue, and tried first on the next case.
func TestJointOfSeveralNumbers(t *testing.T) {
	both := func(o *attention.SDPAOptions) { o.Scale *= 1.5; o.Causality = attention.NotCausal }
	r, c := computed(t, "sdpa/causal", both)
	passed, passes := computed(t, "sdpa/gqa", func(*attention.SDPAOptions) {})
	in := ofCases(t, []report.Result{passed, r}, c, passes)
	numbers := []wrongNumber{
		{number: numberOf(t, "rope-base"), rule: timesRule(2)}, {number: numberOf(t, "scale"), rule: timesRule(3)},
		{number: numberOf(t, "scale"), rule: timesRule(1.5)}, {number: numberOf(t, "scale")},
	}
	for _, chosen := range [][]catalogue.Mistake{nil, mistakesOf(t, "causal-missing"), mistakesOf(t, "scale-missing")} {
		joint := in.joint(numbers, chosen)
		require.Empty(t, joint[0])
		require.Len(t, joint[1], 1)
		require.Equal(t, "scale+causal-missing", joint[1][0].ID())
		require.InDelta(t, 1.5*joint[1][0].Numbers[0].Right, joint[1][0].Numbers[0].Value, 1e-12)
	}
	joint := in.joint(nil, mistakesOf(t, "causal-missing", "scale-missing"))
	require.Empty(t, joint[1])

	missing, _ := computed(t, "sdpa/causal", func(o *attention.SDPAOptions) { o.Scale = 1; o.Causality = attention.NotCausal })
	in = ofCases(t, []report.Result{missing}, c)
	require.Empty(t, in.pairsOf(missing, mistakesOf(t, "causal-missing")))
	found := in.joint(nil, mistakesOf(t, "softmax-over-queries", "scale-missing", "causal-missing"))[0]
	require.Len(t, found, 1)
	require.Equal(t, "scale-missing+causal-missing", found[0].ID())

	// The chosen mistakes come before the catalogue's, and a mistake by another name is as good.
	// The load explains what it is proved to explain. After the end nothing is tried.
	mine := mistakesOf(t, "causal-missing")
	mine[0].ID = "mine"
	found = ofCases(t, []report.Result{r}, c).joint(numbers[2:3], mine)[0]
	require.Len(t, found, 1)
	require.Equal(t, "scale+mine", found[0].ID())
	var same []report.Result
	var copies []*fixture.Case
	for _, name := range []string{"first", "second", "third"} {
		again, other := r, *c
		again.Case, other.Name = name, name
		same, copies = append(same, again), append(copies, &other)
	}
	for _, all := range ofCases(t, same, copies...).joint(numbers[2:3], nil) {
		require.Len(t, all, 1, "a mistake is chosen once")
	}
	unread := inquire(t, result("unread", false))
	require.Empty(t, unread.pairsOf(unread.results[0], mistakesOf(t, "scale-missing", "causal-missing")))
	unloaded := r
	unloaded.Proven = []report.Proof{report.LoadNoEffect}
	require.Empty(t, ofCases(t, []report.Result{unloaded}, c).joint(numbers, nil)[0])
	ended, end := context.WithCancel(t.Context())
	end()
	late := ofCases(t, []report.Result{r}, c)
	late.ctx = ended
	require.Empty(t, late.joint(numbers, mine)[0])

	numbers, chosen := ofCases(t, []report.Result{r}, c).together(numbers[:3], nil)
	require.Equal(t, []string{"causal-missing"}, catalogue.IDs(chosen))
	require.Len(t, numbers, 3)
	require.Equal(t, []string{"sdpa/causal"}, numbers[1].failures)
}

// Parts that explain a failure together are told in its result, if each of them is a cause.
func TestTogetherIsTold(t *testing.T) {
	r, c := computed(t, "sdpa/causal", func(o *attention.SDPAOptions) { o.Scale *= 1.5; o.Causality = attention.NotCausal })
	in := ofCases(t, []report.Result{r}, c)
	r.Diagnosis.Unexplained = true
	scale := wrongNumber{number: numberOf(t, "scale"), rule: timesRule(1.5)}
	numbers, chosen := in.together([]wrongNumber{scale}, nil)
	require.Equal(t, []string{"causal-missing"}, catalogue.IDs(chosen))
	require.Equal(t, []string{"sdpa/causal"}, numbers[0].failures)
	told := in.results[0]
	require.Len(t, told.Joint, 1)
	require.Equal(t, diagnose.WrongNumber, told.Diagnosis.Class)
	require.False(t, told.Diagnosis.Unexplained)
	require.Contains(t, told.Diagnosis.Reasons[0], "the output is this case computed with the scale of the scores")
	require.Empty(t, r.Joint, "the given result stays as it is")
}

// A wrong number explains other failures by its rule. It becomes the class of a failure that
// nothing else explains.
func TestCarriedNumbers(t *testing.T) {
	times := func(factor float64) func(o *attention.SDPAOptions) {
		return func(o *attention.SDPAOptions) { o.Scale *= factor }
	}
	first, a := computed(t, "sdpa/causal", times(1.5))
	same, b := computed(t, "sdpa/gqa", times(1.5))
	other, c := computed(t, "sdpa/unmasked", times(1.4))
	right, d := computed(t, "sdpa/softcap", times(1))
	named := same
	named.Diagnosis.Matches = []replay.Match{{Mistakes: mistakesOf(t, "scale-missing")}}
	same.Diagnosis.Class, same.Diagnosis.Unexplained = diagnose.Unclear, true
	w := wrongNumber{
		number: numberOf(t, "scale"), rule: timesRule(1.5), failures: []string{first.Case}, observed: make([]observed, 3),
	}
	in := ofCases(t, []report.Result{right, first, other, same}, a, b, c, d)
	require.Equal(t, []string{"sdpa/gqa"}, in.carried(w))
	got := in.results[3].Diagnosis
	require.Equal(t, diagnose.WrongNumber, got.Class)
	require.False(t, got.Unexplained)
	require.Len(t, got.Numbers, 1)
	m := got.Numbers[0]
	require.InDelta(t, 1.5*m.Right, m.Value, 1e-12)
	require.Equal(t, []float64{m.Value, m.Value, in.results[3].Comparison.Rel}, []float64{m.Least, m.Most, m.Next})
	require.Less(t, m.Residual, 1e-5)
	require.Positive(t, m.MaxZ)
	require.Equal(t, m.String()+", as in 3 other failures", got.Reasons[0])
	require.Contains(t, got.Reasons[1], "with it this case gives the output: residual ")
	require.Empty(t, in.results[2].Diagnosis.Numbers)
	require.Empty(t, in.results[0].Diagnosis.Numbers)

	in = ofCases(t, []report.Result{named}, b)
	require.Equal(t, []string{"sdpa/gqa"}, in.carried(w))
	require.Empty(t, in.results[0].Diagnosis.Reasons, "a mistake explains it, too")
	require.Len(t, in.results[0].Diagnosis.Numbers, 1)
	same.Diagnosis.Numbers = []replay.NumberMatch{{Number: numberOf(t, "softcap")}}
	in = ofCases(t, []report.Result{same}, b)
	in.carried(w)
	require.Len(t, in.results[0].Diagnosis.Numbers, 2)
	require.Empty(t, in.results[0].Diagnosis.Reasons, "another number explains it, too")

}

// Passes that would fail with the number contradict it, unless the rule gives no value there.
func TestPassesAgainstANumber(t *testing.T) {
	right, c := computed(t, "sdpa/causal", func(*attention.SDPAOptions) {})
	wrong, d := computed(t, "sdpa/gqa", func(o *attention.SDPAOptions) { o.Scale *= 2 })
	in := ofCases(t, []report.Result{right, wrong, result("unread", true)}, c, d)
	against := func(id string, r rule) []string { return in.passesAgainst(t.Context(), numberOf(t, id), r) }
	require.Equal(t, []string{"sdpa/causal"}, against("scale", *timesRule(1.5)))
	require.Empty(t, against("scale", *timesRule(1)))
	require.Empty(t, against("scale", *timesRule(1 + 1e-9)), "within the noise")
	require.Empty(t, against("scale", *timesRule(math.NaN())))
	require.Empty(t, against("scale", *timesRule(math.Inf(1))))
	require.Empty(t, against("scale", *timesRule(math.Inf(-1))))
	require.Empty(t, against("rope-base", *timesRule(2)), "a function has none")

	// A number beside a mistake is ruled out by a pass that contradicts either.
	n := scaleWith(t, "causal-missing")
	n.Value, n.Least, n.Most = 0.5, 0.5, 0.5
	of := func(numbers []wrongNumber, chosen ...string) string {
		return in.againstNumber(n, wrong, numbers, mistakesOf(t, chosen...))
	}
	known := []wrongNumber{{number: n.Number, failures: []string{wrong.Case}}}
	require.Equal(t, "sdpa/causal", of(nil, "causal-missing"), "the number")
	require.Equal(t, "sdpa/causal", of(known), "the mistake")
	require.Empty(t, of(known, "causal-missing"))
	require.Equal(t, "sdpa/causal", of([]wrongNumber{{number: n.Number}}, "causal-missing"), "known elsewhere")
	require.Equal(t, "sdpa/causal", of([]wrongNumber{{number: numberOf(t, "softcap"), failures: known[0].failures}}, "causal-missing"))
	n.With = mistakesOf(t, "window-missing", "causal-missing")
	require.Equal(t, "sdpa/causal", of(known), "the second mistake")
	n.With = nil
	require.Empty(t, of(nil), "a number alone")
	require.Empty(t, in.againstNumber(scaleWith(t, "causal-missing"), result("unread", false), nil, nil))

	r := wrong
	r.Diagnosis.Numbers = []replay.NumberMatch{scaleWith(t), scaleWith(t, "causal-missing")}
	in.results = []report.Result{right, r}
	in.ruleOutNumbers(known, nil)
	require.Len(t, in.results[1].Diagnosis.Numbers, 1)
	require.Empty(t, in.results[1].Diagnosis.Numbers[0].With)
	require.Equal(t, []report.RuledOut{{ID: "scale+causal-missing", By: "sdpa/causal"}}, in.results[1].RuledOut)
	require.False(t, in.results[1].Diagnosis.Unexplained)
	in.results[1].Diagnosis.Numbers = []replay.NumberMatch{scaleWith(t, "causal-missing")}
	in.ruleOutNumbers(known, nil)
	require.True(t, in.results[1].Diagnosis.Unexplained)
	require.Equal(t, diagnose.Unclear, in.results[1].Diagnosis.Class)
}

// A number that explains no new failure is an alternative of one that explains the same, if no more
// passes deny it.
func TestAlternativesOfNumbers(t *testing.T) {
	of := func(id string, failures, denying int) wrongNumber {
		names := []string{"a", "b", "c", "d"}
		return wrongNumber{number: numberOf(t, id), failures: names[:failures], denying: names[:denying]}
	}
	kept := withoutTold([]wrongNumber{of("scale", 3, 1), of("softcap", 3, 1), of("window", 3, 2), of("rope-base", 2, 0)})
	require.Len(t, kept, 1)
	require.Equal(t, []string{"softcap"}, kept[0].alternatives)
	later := of("softcap", 4, 0)
	later.failures = later.failures[2:]
	kept = withoutTold([]wrongNumber{of("scale", 3, 1), later})
	require.Len(t, kept, 2)
	require.Empty(t, kept[0].alternatives)

	w := of("scale", 1, 0)
	w.observed = []observed{seen("scale", 1, 0.25, 4, 8), seen("scale", 1, 0.125, 4, 8), seen("scale", 2, 0.25, 4, 8)}
	require.Equal(t, "the "+w.number.Title+" is another: 0.25, 0.125", w.title())
	w.rule = timesRule(2)
	require.Equal(t, "the "+w.number.Title+" is another", w.title())
}

// Up to three rules are told. Values that need a fourth follow none.
func TestGroupsOfRules(t *testing.T) {
	var all []observed
	for i, factor := range []float64{3, 5, 7, 11} {
		for j := range 3 {
			right := 0.2 + 0.11*float64(j) + 0.013*float64(i)
			all = append(all, seen("scale", right, right*factor, 4, 10))
		}
		groups := byRule(all)
		want := i + 1
		if want > mostGroups {
			want = 1
		}
		require.Len(t, groups, want)
	}
}

// A number needs no mistake beside it where it explains more failures. A mistake that passes
// contradict is ruled out there.
func TestNumbersOverMistakes(t *testing.T) {
	number := func(r report.Result, ids ...string) report.Result {
		for _, id := range ids {
			r.Diagnosis.Numbers = append(r.Diagnosis.Numbers, replay.NumberMatch{Number: numberOf(t, id)})
		}
		return r
	}
	in := inquire(t,
		number(matched(t, "a", []string{"scale-missing"}), "scale", "softcap"),
		number(matched(t, "b", []string{"causal-missing"}, []string{"window-missing"}), "window"),
		number(matched(t, "c"), "scale"), number(matched(t, "d"), "rope-base"),
		matched(t, "e", []string{"causal-missing"}))
	in.contradicted("scale-missing", "x", "y")
	in.contradicted("window-missing", "z")
	in.contradicted("softcap-missing")
	in.results[0].Diagnosis.Matches = append(in.results[0].Diagnosis.Matches,
		replay.Match{Mistakes: mistakesOf(t, "softcap-missing")})
	in.preferNumbers([]wrongNumber{
		{number: numberOf(t, "scale"), failures: []string{"a", "c"}, alternatives: []string{"window"}},
		{number: numberOf(t, "rope-base"), failures: []string{"c"}},
	})
	require.Len(t, in.results[0].Diagnosis.Numbers, 1, "softcap is no cause")
	require.Equal(t, []report.RuledOut{{ID: "scale-missing", By: "x"}}, in.results[0].RuledOut)
	require.Equal(t, map[string]bool{"a": true, "c": true}, in.settled)
	require.Len(t, in.results[1].Diagnosis.Numbers, 1, "no cause explains this one")
	require.Empty(t, in.results[1].RuledOut)
	require.Len(t, in.results[3].Diagnosis.Numbers, 1)

	in.preferNumbers([]wrongNumber{
		{number: numberOf(t, "scale"), failures: []string{"b", "c"}, alternatives: []string{"window"}},
	})
	// causal-missing explains as many failures as the number does
	require.Equal(t, map[string]bool{"b": false, "c": true}, in.settled)
	require.Equal(t, []report.RuledOut{{ID: "window-missing", By: "z"}}, in.results[1].RuledOut)
	require.Equal(t, []string{"a", "b", "e"}, namesOf(in.explained()))

	pair := number(matched(t, "a", []string{"scale-missing", "window-missing"}), "scale")
	in = inquire(t, pair)
	in.contradicted("scale-missing", "x")
	in.contradicted("window-missing", "z")
	in.preferNumbers([]wrongNumber{{number: numberOf(t, "scale"), failures: []string{"a", "b"}}})
	require.Equal(t, []report.RuledOut{{ID: "scale-missing+window-missing", By: "x"}}, in.results[0].RuledOut, "once")
}

func namesOf(results []report.Result) []string {
	var names []string
	for _, r := range results {
		names = append(names, r.Case)
	}
	return names
}

// A match is ruled out by a case that contradicts one of its mistakes, unless all are.
func TestMatchesThatAreRuledOut(t *testing.T) {
	both := [][]string{{"causal-missing"}, {"padding-ignored", "scale-missing"}, {"window-missing"}}
	in := inquire(t, matched(t, "b", both[0]), matched(t, "a", both...), result("c", true), result("d", true))
	in.contradicted("scale-missing", "d")
	in.contradicted("window-missing", "c")
	for _, name := range []string{"c", "d"} {
		in.seen.get(name+" padding-ignored", func() bool { return true })
	}
	in.ruleOut()
	require.Equal(t, []report.RuledOut{
		{ID: "padding-ignored+scale-missing", By: "c"}, {ID: "window-missing", By: "c"},
	}, in.results[1].RuledOut, "once for each match")
	require.Empty(t, in.results[0].RuledOut, "the only match")
	require.Equal(t, []string{"b", "a"}, namesOf(in.explained()))

	in.contradicted("causal-missing", "a")
	require.False(t, in.excludes(in.results[1], mistakesOf(t, "causal-missing")[0], mistakesOf(t, "window-missing")),
		"a failure does not exclude a mistake of its own matches")

	in = inquire(t, matched(t, "a", both...), result("c", true), result("d", true))
	for _, id := range []string{"scale-missing", "window-missing", "causal-missing"} {
		in.contradicted(id, "d")
	}
	in.ruleOut()
	require.Empty(t, in.results[0].RuledOut, "all are contradicted")
}

// A pair is ruled out if more passes contradict one of its mistakes than failures have it, unless
// the mistake explains a failure alone.
func TestPairsThatAreRuledOut(t *testing.T) {
	pair := []string{"causal-missing", "padding-ignored"}
	in := inquire(t, matched(t, "a", pair), matched(t, "b", pair), matched(t, "c", []string{"causal-missing"}))
	in.contradicted("causal-missing", "x", "y", "z", "w")
	in.contradicted("padding-ignored", "x", "y")
	in.ruleOutPairs()
	require.Empty(t, in.results[0].RuledOut, "as many passes as failures")
	require.Equal(t, []int{3, 2}, []int{in.within(mistakesOf(t, pair[0])[0]), in.within(mistakesOf(t, pair[1])[0])})
	in = inquire(t, in.results...)
	in.contradicted("causal-missing", "x", "y", "z", "w")
	in.contradicted("padding-ignored", "x", "y", "z")
	in.ruleOutPairs()
	for _, r := range in.results[:2] {
		require.Equal(t, []report.RuledOut{{ID: "causal-missing+padding-ignored", By: "x"}}, r.RuledOut)
		require.True(t, r.Diagnosis.Unexplained)
		require.Equal(t, diagnose.Unclear, r.Diagnosis.Class)
	}
	require.Empty(t, in.results[2].RuledOut)
	require.False(t, in.results[2].Diagnosis.Unexplained)
	in = inquire(t, matched(t, "a", pair))
	in.contradicted("causal-missing", "x", "y")
	in.contradicted("padding-ignored", "x", "y")
	in.ruleOutPairs()
	require.Len(t, in.results[0].RuledOut, 1, "once for both mistakes")
}

// The match that explains most is chosen first; among equals, the one that fewest passes
// contradict. Another that explains as much, and is contradicted as little, is an alternative.
func TestFewestMistakes(t *testing.T) {
	in := inquire(t,
		matched(t, "a", []string{"causal-missing"}, []string{"padding-ignored"}),
		matched(t, "b", []string{"causal-missing"}, []string{"padding-ignored"}),
		matched(t, "c", []string{"window-missing"}, []string{"scale-missing", "softcap-missing"}), result("d", true))
	for _, id := range []string{"padding-ignored", "window-missing", "scale-missing", "softcap-missing"} {
		in.contradicted(id)
	}
	in.contradicted("causal-missing", "d")
	failures := in.failures()
	chosen := in.fewest(failures)
	require.Equal(t, []string{"padding-ignored", "window-missing"}, catalogue.IDs(chosen))
	found := in.mistakes(chosen)
	require.Len(t, found, 2)
	require.Equal(t, []string{"a", "b"}, found[0].Failures)
	require.Empty(t, found[0].Alternatives, "a pass contradicts the other")
	require.Equal(t, []string{"c"}, found[1].Failures)
	require.Empty(t, found[1].Alternatives, "half of a pair explains nothing")
	best := mostExplaining(failures, nil, mistakesOf(t, "padding-ignored"))
	require.Len(t, best, 1)
	require.Equal(t, "causal-missing", best[0].ID())
	best = mostExplaining(failures, nil, mistakesOf(t, "causal-missing"))
	require.Len(t, best, 1)
	require.Equal(t, "padding-ignored", best[0].ID())
	require.Len(t, mostExplaining(failures, nil, nil), 2)
	require.Empty(t, mostExplaining(nil, nil, nil))
	require.Len(t, candidates(failures), 4)

	in = inquire(t, in.results[:3]...)
	for _, id := range []string{"causal-missing", "padding-ignored"} {
		in.contradicted(id)
	}
	found = in.mistakes(mistakesOf(t, "causal-missing", "window-missing"))
	require.Equal(t, []string{"padding-ignored"}, found[0].Alternatives)

	in.results[0].RuledOut = []report.RuledOut{{ID: "padding-ignored", By: "d"}, {ID: "x", By: "d"}}
	in.results[1].RuledOut = in.results[0].RuledOut[:1]
	in.prefer(mistakesOf(t, "window-missing"))
	require.Equal(t, "causal-missing", in.results[0].Diagnosis.Matches[0].ID())
	in.prefer(mistakesOf(t, "scale-missing", "softcap-missing", "padding-ignored"))
	require.Equal(t, "scale-missing+softcap-missing", in.results[2].Diagnosis.Matches[0].ID())
	require.Equal(t, "padding-ignored", in.results[1].Diagnosis.Matches[1].ID(), "ruled out")
	require.Equal(t, in.results[0].RuledOut, ruledOut(report.Cause{Failures: []string{"a", "b"}}, in.results))
	require.Empty(t, ruledOut(report.Cause{Failures: []string{"c"}}, in.results))
	require.Len(t, candidates(in.results), 3)
}

// Parts that nobody writes are a cause if several failures lack them, and more than passes have
// them.
func TestUnwrittenParts(t *testing.T) {
	lacking := func(name, title string) report.Result {
		r := result(name, false)
		r.Diagnosis.Unwritten = &diagnose.Unwritten{ID: "heads-not-written", Title: title, Fix: "a fix"}
		return r
	}
	q := attention.NewTensor(1, 2, 3, 4)
	two := func(name string) *fixture.Case {
		return &fixture.Case{Name: name, Op: fixture.SDPA, Inputs: attention.Inputs{Query: q, Key: q, Value: q}}
	}
	module := two("m")
	module.Op = fixture.Module
	named := lacking("n", "x")
	named.Diagnosis.Matches = matched(t, "n", []string{"causal-missing"}).Diagnosis.Matches
	unloaded := lacking("u", "x")
	unloaded.Proven = []report.Proof{report.LoadNoEffect}
	results := []report.Result{
		lacking("a", "head 1"), lacking("b", "head 1"), lacking("c", "head 2"), named, unloaded,
		result("p", true), result("q", true), result("m", true), result("unread", true),
	}
	found := ofCases(t, results, two("p"), two("q"), module).unwritten()
	require.Len(t, found, 1)
	require.Equal(t, []string{"a", "b", "c"}, found[0].Failures)
	require.Equal(t, []string{"p", "q"}, found[0].Contradictions)
	require.Equal(t, []string{"heads-not-written", "head 1; head 2", "a fix"}, []string{found[0].ID, found[0].Title, found[0].Fix})
	require.Equal(t, 2, found[0].Passes)
	others := append([]report.Result{result("z", false), named}, results...)
	require.Len(t, ofCases(t, others, two("p"), two("q"), module).unwritten()[0].Failures, 3, "behind others")
	require.Empty(t, ofCases(t, results[1:], two("p"), two("q")).unwritten(), "as many passes have several heads")
	require.Empty(t, ofCases(t, results[2:5]).unwritten(), "one failure")
}

// The load comes first: its proofs are causes, which right layers contradict.
func TestCausesInTheLoad(t *testing.T) {
	proved := func(name string, p report.Proof) report.Result {
		r := result(name, false)
		r.Proven = []report.Proof{p}
		return r
	}
	layer := &fixture.Case{Name: "l", Op: fixture.MultiHead, State: attention.StateDict{"w": attention.NewTensor(1)}}
	results := []report.Result{
		proved("a", report.OtherParameters), proved("b", report.LoadNoEffect), proved("c", report.LoadNoEffect),
		result("l", true), result("f", true),
	}
	in := ofCases(t, results, layer, &fixture.Case{Name: "f", Op: fixture.SDPA})
	found := in.load()
	require.Len(t, found, 2)
	require.Equal(t, []string{"b", "c"}, found[0].Failures)
	require.Equal(t, []string{report.LoadNoEffect.ID, report.LoadNoEffect.Title}, []string{found[0].ID, found[0].Title})
	require.Equal(t, []string{"a"}, found[1].Failures)
	require.True(t, found[0].Live)
	require.Equal(t, []string{"l"}, found[0].Contradictions)
	require.Equal(t, 1, found[0].Passes)
	require.NotEqual(t, found[0].Fix, found[1].Fix)
	require.Empty(t, ofCases(t, results[3:]).load())
	require.True(t, in.loadIsWrong(results[0]))
	require.True(t, in.loadIsWrong(results[1]))
	require.False(t, in.loadIsWrong(results[3]))
}

// Other parameters are named by their projections, and a bias alone apart.
func TestNamesOfOtherParameters(t *testing.T) {
	weight := freed{projections: []string{"value", "output"}}.cause()
	require.Equal(t, "other-value-and-output-parameters", weight.ID)
	require.Equal(t, "other parameters of the value and output projection than the case's", weight.Title)
	require.Contains(t, weight.Fix, "under which name, which rows of it")
	bias := freed{projections: []string{"key"}, bias: true}.cause()
	require.Equal(t, "other-key-bias", bias.ID)
	require.Equal(t, "another bias of the key projection than the case's", bias.Title)
	require.Contains(t, bias.Fix, "which part of it")
	require.True(t, bias.Symptom)
	for names, want := range map[[2]string]bool{
		{"a.bias", "b.bias"}: true, {"a.bias", "a.weight"}: false, {"a.weight", "b.weight"}: false,
	} {
		require.Equal(t, want, freedBy(fit.Fit{Parameters: names[:]}).bias)
	}
	require.False(t, freedBy(fit.Fit{}).bias)

	in := inquire(t)
	told := []report.Cause{
		{ID: "x", Failures: []string{"a", "b"}}, {ID: "y", Failures: []string{"a", "b"}}, {ID: "z", Failures: []string{"b", "c"}},
	}
	kept := in.onlySupported(told, nil, nil)
	require.Len(t, kept, 2)
	require.Equal(t, []string{"y"}, kept[0].Alternatives)
	require.Empty(t, kept[1].Alternatives)
}

// Least squares refutes other parameters if each question about them was asked, and none has an
// answer. A bias alone is another question.
func TestRefutedParameters(t *testing.T) {
	weight, bias := fit.Fit{Parameters: []string{"w.weight"}}, fit.Fit{Parameters: []string{"w.bias"}}
	refused, holds := weight, weight
	refused.Refused = "the case is small"
	holds.Holds = true
	for _, tc := range []struct {
		fits []fit.Fit
		bias bool
		want bool
	}{
		{nil, false, false}, {[]fit.Fit{weight}, false, true}, {[]fit.Fit{weight, weight}, false, true},
		{[]fit.Fit{weight, refused}, false, false}, {[]fit.Fit{holds, weight}, false, false},
		{[]fit.Fit{bias}, false, false}, {[]fit.Fit{bias}, true, true}, {[]fit.Fit{bias, weight}, true, true},
		{[]fit.Fit{bias, weight}, false, true}, {[]fit.Fit{bias, weight, refused}, false, false},
	} {
		require.Equal(t, tc.want, refuted(tc.fits, freed{bias: tc.bias}), tc)
	}
	require.False(t, refuted([]fit.Fit{weight}, freed{projections: []string{"value"}}), "other projections")
}

// A probe that found something on several failures without a name is a cause.
func TestCaughtByProbes(t *testing.T) {
	probed := func(name string, ids ...string) report.Result {
		r := result(name, false)
		for _, id := range ids {
			r.Probes = append(r.Probes, report.Probe{ID: id, Title: "title of " + id})
		}
		return r
	}
	named := probed("n", "leak")
	named.Diagnosis.Numbers = []replay.NumberMatch{scaleWith(t)}
	in := inquire(t, probed("a", "leak", report.LoadNoEffect.ID), probed("b", "leak", "state"),
		probed("c", report.LoadNoEffect.ID), named, result("p", true))
	found := in.caught()
	require.Len(t, found, 1)
	require.Equal(t, []string{"a", "b"}, found[0].Failures)
	require.Equal(t, []string{"leak", "title of leak"}, []string{found[0].ID, found[0].Title})
	require.True(t, found[0].Live)
	require.True(t, found[0].Symptom)
	require.Empty(t, found[0].Contradictions)
}

// Answers are computed once.
func TestAnswersAreKept(t *testing.T) {
	var c cache[string, int]
	asked := 0
	work := func() int { asked++; return asked }
	require.Equal(t, []int{1, 1, 2}, []int{c.get("a", work), c.get("a", work), c.get("b", work)})
	require.Equal(t, 7, c.get("x", func() int { c.get("x", func() int { return 7 }); return 8 }), "the first answer counts")
}

// A mistake, a number or several parts at once name a failure.
func TestNamedFailures(t *testing.T) {
	r := result("a", false)
	require.False(t, isNamed(r))
	r.Joint = make([]report.Joint, 1)
	require.True(t, isNamed(r))
	r.Joint, r.Diagnosis.Numbers = nil, []replay.NumberMatch{scaleWith(t)}
	require.True(t, isNamed(r))
	r = matched(t, "a", []string{"causal-missing"})
	require.True(t, isNamed(r))
	r.RuledOut = []report.RuledOut{{ID: "causal-missing", By: "b"}}
	require.False(t, isNamed(r))
}

// A mistake needs as many failures as it leaves without an explanation. Failures that have another
// explanation are not left.
func TestEvidenceOfAMistake(t *testing.T) {
	named, unloaded := result("named", false), result("unloaded", false)
	named.Diagnosis.Numbers = []replay.NumberMatch{scaleWith(t)}
	unloaded.Proven = []report.Proof{report.LoadNoEffect}
	pair := []string{"causal-missing", "padding-ignored"}
	shows := []string{"left", "left too", "named", "unloaded", "right"}
	of := func(chosen []string, matches [][]string, others ...report.Result) bool {
		failure := matched(t, "a", matches...)
		in := inquire(t, append([]report.Result{failure}, others...)...)
		for _, name := range shows {
			in.seen.get(name+" causal-missing", func() bool { return true })
		}
		in.lists.get("causal-missing", func() []string { return []string{"p", "q"}[:len(matches)-1] })
		return in.hasEvidence(mistakesOf(t, "causal-missing")[0], mistakesOf(t, chosen...), []report.Result{failure})
	}
	one := [][]string{{"causal-missing"}}
	left := result("left", false)
	require.True(t, of(pair[:1], one, left))
	require.False(t, of(pair[:1], one, left, result("left too", false)))
	require.True(t, of(pair[:1], one, left, named, unloaded, result("right", true), result("blind", false)))
	require.False(t, of(pair[1:], one), "it is not chosen")
	// One failure against a pass: as many, so the pair is enough.
	require.True(t, of(pair, [][]string{pair, {"scale-missing"}}))
	// Two passes: only a mistake that explains a failure alone is enough.
	require.False(t, of(pair, [][]string{pair, {"scale-missing"}, {"window-missing"}}))
	require.True(t, of(pair, [][]string{pair, {"causal-missing"}, {"window-missing"}}))
}

// A function with a part that nobody wrote speaks against mistakes in parameters, and against no
// other mistake that it does not show.
func TestFailuresThatShowAMistake(t *testing.T) {
	kind := func(k catalogue.Kind) catalogue.Mistake {
		all := catalogue.Mistakes
		return all[slices.IndexFunc(all, func(m catalogue.Mistake) bool { return m.Kind == k })]
	}
	parameters, causal := kind(catalogue.Parameters), mistakesOf(t, "causal-missing")[0]
	require.NotEqual(t, parameters.Kind, causal.Kind)
	layer := &fixture.Case{Name: "layer", Op: fixture.Module, State: attention.StateDict{"w": attention.NewTensor(1)}}
	in := ofCases(t, nil, layer)
	function, read := result("function", false), result("layer", false)
	require.False(t, in.failsOtherwise(function, parameters))
	function.Diagnosis.Unwritten, read.Diagnosis.Unwritten = &diagnose.Unwritten{}, &diagnose.Unwritten{}
	require.True(t, in.failsOtherwise(function, parameters))
	require.False(t, in.failsOtherwise(function, causal))
	require.False(t, in.failsOtherwise(read, parameters))
	in = ofCases(t, nil, layer)
	in.contradicted(causal.ID, "function")
	require.True(t, in.failsOtherwise(function, causal))
}

// Other parameters change the output of a layer that has them. A bias of the keys changes no
// softmax.
func TestProjectionsThatTakePart(t *testing.T) {
	_, function := computed(t, "sdpa/causal", func(*attention.SDPAOptions) {})
	layer, err := fixture.Read(fixtures.FS, "mha/causal")
	require.NoError(t, err)
	in := ofCases(t, nil, function, layer)
	of := func(name, projection string, bias bool) bool {
		return in.takesPart(name, freed{projections: []string{projection}, bias: bias})
	}
	require.True(t, of(layer.Name, "value", false))
	require.True(t, of(layer.Name, "value", true))
	require.True(t, of(layer.Name, "key", false))
	require.False(t, of(layer.Name, "key", true))
	require.False(t, of(layer.Name, "none", false))
	require.False(t, of(function.Name, "value", false))
	require.False(t, of("unread", "value", false))
}

// Every pair of a failure is looked at, whatever stands before it. A failure without matches keeps
// its class.
func TestPairsBehindOtherMatches(t *testing.T) {
	pair := []string{"causal-missing", "padding-ignored"}
	other := result("b", false)
	other.Diagnosis.Class = diagnose.WrongNumber
	in := inquire(t, matched(t, "a", []string{"window-missing"}, []string{"window-missing", "causal-missing"}, pair), other)
	in.results[0].RuledOut = []report.RuledOut{{ID: "window-missing+causal-missing", By: "q"}}
	in.contradicted("causal-missing")
	in.contradicted("padding-ignored", "p", "q")
	in.ruleOutPairs()
	require.Equal(t, []report.RuledOut{
		{ID: "window-missing+causal-missing", By: "q"}, {ID: "causal-missing+padding-ignored", By: "p"},
	}, in.results[0].RuledOut)
	require.False(t, in.results[0].Diagnosis.Unexplained)
	require.Equal(t, diagnose.WrongNumber, in.results[1].Diagnosis.Class)
}

// Two failures that lack a part are enough against many passes, if the two share what no pass has.
func TestUnwrittenPartsWithAFeature(t *testing.T) {
	for windows, want := range []int{0, 0, 1} {
		names, cases := plainCases(windows, 40)
		var results []report.Result
		for i, name := range names {
			r := result(name, i >= 2)
			if i < windows {
				r.Diagnosis.Unwritten = &diagnose.Unwritten{ID: "heads-not-written", Title: "head 1"}
			}
			results = append(results, r)
		}
		in := &inquiry{ctx: t.Context(), results: results, witnesses: newWitnesses(results, cases, "")}
		found := in.unwritten()
		require.Len(t, found, want)
		if want > 0 {
			require.Equal(t, names[:2], found[0].Failures)
			require.Equal(t, "a window", found[0].Only)
			require.Equal(t, names[2:], found[0].Contradictions)
		}
	}
}

// Other parameters are a cause if they explain several failures that nothing else explains: none
// that is proved to be the load's, or told before.
func TestOtherParametersOfSeveralFailures(t *testing.T) {
	fitted := func(name, projection string, change func(f *fit.Fit)) report.Result {
		f, ok := fit.Fit{Parameters: []string{projection + ".weight"}, Holds: true, Narrowest: true}.WithProjections([]string{projection})
		require.True(t, ok)
		change(&f)
		r := result(name, false)
		r.Diagnosis.Fits = []fit.Fit{f}
		return r
	}
	named := func(*fit.Fit) {}
	proved := fitted("proved", "value", named)
	proved.Proven = []report.Proof{report.LoadNoEffect}
	in := inquire(t,
		proved, fitted("told", "value", named), fitted("a", "value", named), fitted("b", "key", named),
		fitted("wide", "value", func(f *fit.Fit) { f.Narrowest = false }), fitted("c", "value", named), fitted("d", "key", named),
		fitted("e", "key", named))
	for i := range in.results { // other sinks are no projection's
		sinks := fit.Fit{Parameters: []string{"sinks"}, Holds: true, Narrowest: true}
		in.results[i].Diagnosis.Fits = append(in.results[i].Diagnosis.Fits, sinks)
	}
	found := in.parameters([]report.Cause{{ID: "x", Failures: []string{"told"}}})
	require.Len(t, found, 2)
	require.Equal(t, []string{"other-key-parameters", "other-value-parameters"}, []string{found[0].ID, found[1].ID})
	require.Equal(t, []string{"b", "d", "e"}, found[0].Failures)
	require.Equal(t, []string{"a", "c"}, found[1].Failures)
}

// A probe of a mask asks the passes that have one. Passes that would fail without it contradict the
// cause.
func TestPassesWithoutAMask(t *testing.T) {
	same := func(*attention.SDPAOptions) {}
	var results []report.Result
	var cases []*fixture.Case
	for _, name := range []string{"sdpa/unmasked", "sdpa/causal", "sdpa/decode", "sdpa/causal-rectangular"} {
		r, c := computed(t, name, same)
		results, cases = append(results, r), append(cases, c)
	}
	wrong, window := computed(t, "sdpa/window", func(o *attention.SDPAOptions) { o.Scale *= 2 })
	module := &fixture.Case{Name: "module", Op: fixture.Module}
	results = append(results, wrong, result("module", true), result("unread", true))
	in := ofCases(t, results, append(cases, window, module)...)
	asked, against := in.withoutMask(t.Context(), "future-token")
	require.Equal(t, 3, asked)
	require.Equal(t, []string{"sdpa/causal", "sdpa/causal-rectangular"}, against, "one query at the end sees all keys")
	asked, against = in.withoutMask(t.Context(), "batch")
	require.Zero(t, asked)
	require.Empty(t, against)
}
