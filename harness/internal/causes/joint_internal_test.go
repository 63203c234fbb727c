package causes

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/diagnose"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/replay"
	"github.com/difftest/difftest/harness/internal/report"
)

// result returns the result of a case that passes or fails.
func result(name string, right bool) report.Result {
	truth := compare.Expected{Shape: []int{1}, Value: []float64{1}, Sigma: []float64{1e-3}}
	got := []float64{1}
	if !right {
		got[0] = 2
	}
	return report.Result{Case: name, Got: got, Comparison: compare.Outputs(truth.Shape, got, truth)}
}

// inquire returns an inquiry into results of cases that nobody reads.
func inquire(t *testing.T, results ...report.Result) *inquiry {
	t.Helper()
	return &inquiry{ctx: t.Context(), results: results, witnesses: newWitnesses(results, Of(nil), "")}
}

func mistakesOf(t *testing.T, ids ...string) []catalogue.Mistake {
	t.Helper()
	var all []catalogue.Mistake
	for _, id := range ids {
		m, ok := catalogue.ByID(id)
		require.True(t, ok, id)
		all = append(all, m)
	}
	return all
}

// scaleWith is a wrong scale beside mistakes.
func scaleWith(t *testing.T, ids ...string) replay.NumberMatch {
	t.Helper()
	n, ok := catalogue.NumberByID("scale")
	require.True(t, ok)
	return replay.NumberMatch{Number: n, Right: 0.5, Value: 0.25, Residual: 1e-7, MaxZ: 3, With: mistakesOf(t, ids...)}
}

// A number that a diagnosis found beside a mistake is a joint explanation, whichever failures stand
// before it.
func TestJointOfADiagnosis(t *testing.T) {
	both := result("c", false)
	both.Diagnosis.Numbers = []replay.NumberMatch{scaleWith(t), scaleWith(t, "causal-missing")}
	joint := inquire(t, result("a", true), result("b", false), both).joint(nil, nil)
	require.Len(t, joint, 3)
	require.Empty(t, joint[0])
	require.Empty(t, joint[1])
	require.Len(t, joint[2], 1)
	require.Equal(t, "scale+causal-missing", joint[2][0].ID())
	require.Equal(t, []float64{1e-7, 3}, []float64{joint[2][0].Residual, joint[2][0].MaxZ})
}

// A mistake beside a number has the distance of both together.
func TestBeside(t *testing.T) {
	j := beside(scaleWith(t), mistakesOf(t, "causal-missing")[0], 2e-7, 1.5)
	require.Equal(t, "scale+causal-missing", j.ID())
	require.Equal(t, []float64{2e-7, 1.5}, []float64{j.Residual, j.MaxZ})
	require.Equal(t, []float64{2e-7, 1.5}, []float64{j.Numbers[0].Residual, j.Numbers[0].MaxZ})
}

// Mistakes beside numbers are chosen as long as a failure needs one, first the most common one.
func TestJointMistakes(t *testing.T) {
	in := inquire(t, result("a", false), result("b", false), result("c", false), result("d", true))
	with := func(ids ...string) report.Joint {
		return report.Joint{Numbers: []replay.NumberMatch{scaleWith(t)}, Mistakes: mistakesOf(t, ids...)}
	}
	chosen := in.jointMistakes(nil, [][]report.Joint{
		{with("padding-ignored"), with("causal-missing")}, {with("causal-missing")}, {with("window-missing")}, nil,
	})
	require.Equal(t, []string{"causal-missing", "window-missing"}, catalogue.IDs(chosen))

	chosen = in.jointMistakes(nil, [][]report.Joint{{with("padding-ignored", "causal-missing")}, nil, nil, nil})
	require.Equal(t, []string{"padding-ignored", "causal-missing"}, catalogue.IDs(chosen), "the failure needs both")

	known := mistakesOf(t, "padding-ignored")
	chosen = in.jointMistakes(known, [][]report.Joint{{with("padding-ignored"), with("causal-missing")}, nil, nil, nil})
	require.Equal(t, []string{"padding-ignored"}, catalogue.IDs(chosen), "it explains the failure already")
}

// A joint explanation is told with its numbers, if it has any.
func TestExplain(t *testing.T) {
	pair := report.Joint{Mistakes: mistakesOf(t, "causal-missing", "padding-ignored"), Residual: 2e-7, MaxZ: 1.5}
	r := result("a", false)
	r.Diagnosis.Unexplained, r.Joint = true, []report.Joint{pair}
	explain(&r)
	require.Equal(t, diagnose.Unclear, r.Diagnosis.Class)
	require.False(t, r.Diagnosis.Unexplained)
	require.Equal(t, []string{
		"the output is this case computed with " + pair.Title(), "residual 2e-07 (max z 1.5)",
	}, r.Diagnosis.Reasons)

	number := beside(scaleWith(t), mistakesOf(t, "causal-missing")[0], 1e-7, 1)
	r.Joint = []report.Joint{number, pair}
	explain(&r)
	require.Equal(t, diagnose.WrongNumber, r.Diagnosis.Class)
	require.Equal(t, []string{
		"the output is this case computed with " + number.Title() + ", or with " + pair.Title(),
		"the scale of the scores was found on other cases",
		"residual 1e-07 (max z 1)", "this case cannot tell these apart",
	}, r.Diagnosis.Reasons)
}

// A failure all of whose matches are ruled out is unclear. One that a number explains keeps its
// class.
func TestUnclearIfUnnamed(t *testing.T) {
	in := inquire(t)
	r := result("a", false)
	r.Diagnosis.Class = diagnose.WrongNumber
	r.Diagnosis.Numbers = []replay.NumberMatch{scaleWith(t)}
	in.unclearIfUnnamed(&r)
	require.Equal(t, diagnose.WrongNumber, r.Diagnosis.Class)
	require.False(t, r.Diagnosis.Unexplained)
	r.Diagnosis.Numbers = nil
	loaded := r
	loaded.Proven = []report.Proof{report.LoadNoEffect}
	in.unclearIfUnnamed(&loaded)
	require.Equal(t, diagnose.WrongNumber, loaded.Diagnosis.Class, "the load explains it")
	in.unclearIfUnnamed(&r)
	require.Equal(t, diagnose.Unclear, r.Diagnosis.Class)
	require.True(t, r.Diagnosis.Unexplained)
}

// Matches that are ruled out on the failures of a cause are listed once each.
func TestRuledOutOfACause(t *testing.T) {
	out := func(id, by string) report.RuledOut { return report.RuledOut{ID: id, By: by} }
	a, b, c := result("a", false), result("b", false), result("c", false)
	a.RuledOut = []report.RuledOut{out("x", "p"), out("y", "p")}
	b.RuledOut = []report.RuledOut{out("x", "q"), out("z", "q")}
	c.RuledOut = []report.RuledOut{out("w", "q")}
	require.Equal(t, []report.RuledOut{out("x", "p"), out("y", "p"), out("z", "q")},
		ruledOut(report.Cause{Failures: []string{"a", "b"}}, []report.Result{a, b, c}))
}

// After a dozen failures without a mistake beside a number, none is looked for in the catalogue.
func TestTheSearchBesideANumberGivesUp(t *testing.T) {
	r, c := computed(t, "sdpa/causal", func(o *attention.SDPAOptions) { o.Scale *= 1.5; o.Causality = attention.NotCausal })
	junk := r
	junk.Got = slices.Clone(r.Got)
	junk.Got[0]++
	var results []report.Result
	var cases []*fixture.Case
	add := func(r report.Result) {
		own := *c
		own.Name = fmt.Sprint("case/", len(results))
		r.Case = own.Name
		results, cases = append(results, r), append(cases, &own)
	}
	for range fruitless {
		add(junk)
	}
	add(r)
	numbers := []wrongNumber{{number: numberOf(t, "scale"), rule: timesRule(1.5)}}
	require.Empty(t, ofCases(t, results, cases...).joint(numbers, nil)[fruitless], "the thirteenth")
	again := slices.Concat(results[fruitless:], results[:fruitless])
	add(r)
	again = append(again, results[fruitless+1])
	joint := ofCases(t, again, cases...).joint(numbers, nil)
	require.Len(t, joint[0], 1)
	require.Len(t, joint[fruitless+1], 1, "what was found before is tried without a search")
}
