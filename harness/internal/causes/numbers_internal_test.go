package causes

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/replay"
	"github.com/difftest/difftest/harness/internal/report"
)

// scaleOf is the scale that an output shows, known exactly.
func scaleOf(t *testing.T, c *fixture.Case, change func(right float64) float64) observed {
	t.Helper()
	n := numberOf(t, "scale")
	right, ok := n.Get(oracle.FromCase(c))
	require.True(t, ok)
	v := change(right)
	return observed{replay.NumberMatch{Number: n, Right: right, Value: v, Least: v, Most: v}, c}
}

// The scale of one case is the square root of the right one, which one value or one factor gives as
// well. Another failure proves the relation, if the output there is the one that the relation
// gives, and a constant gives another. A dozen failures are asked.
func TestProvenRelations(t *testing.T) {
	const relation = "the square root of the right one"
	root := func(o *attention.SDPAOptions) { o.Scale = math.Sqrt(o.Scale) }
	first, a := computed(t, "sdpa/causal", root)
	same, b := computed(t, "sdpa/gqa", root)
	proof, c := computed(t, "sdpa/scale", root)
	other, _ := computed(t, "sdpa/scale", func(o *attention.SDPAOptions) { o.Scale *= 3 })
	w := wrongNumber{
		number: numberOf(t, "scale"), observed: []observed{scaleOf(t, a, math.Sqrt)}, failures: []string{first.Case},
	}
	w.rule = &constant(w.observed)[0]
	proven := func(w wrongNumber, failures ...report.Result) string {
		in := ofCases(t, failures, a, b, c)
		read := in.cases
		in.cases = func(name string) *fixture.Case {
			if read(name) == nil {
				return c // the many cases below
			}
			return read(name)
		}
		r := in.provenRelation(w)
		if r == nil {
			return ""
		}
		return r.text
	}
	require.Equal(t, relation, proven(w, first, proof))
	require.Empty(t, proven(w, first, other), "another output")
	require.Empty(t, proven(w, first, same), "the constant explains that one, too")
	require.Empty(t, proven(w, first))
	explained := w
	explained.failures = []string{first.Case, proof.Case}
	require.Empty(t, proven(explained, first, proof), "a failure that the number explains already")

	many := []report.Result{first}
	for i := range 11 {
		r := other
		r.Case = fmt.Sprint("other/", i)
		many = append(many, r)
	}
	require.Equal(t, relation, proven(w, append(many, proof)...), "the twelfth")
	unlike := other
	unlike.Case = "other/11"
	require.Empty(t, proven(w, append(many, unlike, proof)...), "the thirteenth")

	in := ofCases(t, []report.Result{first, proof}, a, c)
	require.Equal(t, relation, in.withRule(w.observed).rule.text)
	in = ofCases(t, []report.Result{first}, a)
	require.Contains(t, in.withRule(w.observed).rule.text, "where it should be")
}

// Of the rules that all values follow, the first is told, unless passes contradict another one
// less.
func TestTheRuleThatPassesContradictLeast(t *testing.T) {
	pass, c := computed(t, "sdpa/scale", func(*attention.SDPAOptions) {})
	_, a := computed(t, "sdpa/causal", func(*attention.SDPAOptions) {})
	in := ofCases(t, []report.Result{pass}, a, c)
	of := func(factor float64) wrongNumber {
		return in.withRule([]observed{scaleOf(t, a, func(right float64) float64 { return factor * right })})
	}
	w := of(1.5)
	require.Contains(t, w.rule.text, "where it should be")
	require.Equal(t, []string{pass.Case}, w.denying, "both rules")
	w = of(1 + 1e-9) // as good as right everywhere, but as a constant
	require.Equal(t, "1 times as large as it should be", w.rule.text)
	require.Empty(t, w.denying)
	require.Equal(t, []string{a.Name}, w.failures)
}

// Groups of equal size keep the order of their observations.
func TestGroupsOfEqualSize(t *testing.T) {
	all := []observed{
		seen("scale", 0.3, 0.9, 4, 10), seen("scale", 0.25, 0.5, 4, 16),
		seen("scale", 0.35, 0.7, 3, 8), seen("scale", 0.2, 0.6, 5, 25),
	}
	groups := byRule(all)
	require.Len(t, groups, 2)
	for i, want := range []float64{3, 2} {
		require.Len(t, groups[i], 2)
		for _, o := range groups[i] {
			require.InDelta(t, want, o.Value/o.Right, 1e-12)
		}
	}
	// A negative number has no factor, so that no rule is told of the two together.
	all = []observed{seen("scale", 0.5, 1, 3, 10), seen("scale", -0.5, -1, 3, 10)}
	require.Len(t, byRule(all), 2)
}

// One number is in the intervals of all: the shortest one, or the middle.
func TestCommonNumbers(t *testing.T) {
	of := func(intervals ...[2]float64) func() (float64, bool) {
		var all []observed
		for _, i := range intervals {
			all = append(all, observed{NumberMatch: replay.NumberMatch{Least: i[0], Most: i[1]}})
		}
		return func() (float64, bool) {
			return common(all, func(o observed) (least, most float64) { return o.Least, o.Most })
		}
	}
	for _, tc := range []struct {
		of   func() (float64, bool)
		want float64
	}{
		{of([2]float64{1.0 / 3, 1.0 / 3}), 1.0 / 3}, {of([2]float64{0, 0}), 0},
		{of([2]float64{0.31, 0.37}), 0.34}, {of([2]float64{0.29, 0.37}), 0.3},
		{of([2]float64{-270, -230}, [2]float64{-300, -240}), -260},
		{of([2]float64{123.4, 123.6}), 123.5}, {of([2]float64{1, 3}, [2]float64{3 + 1e-6, 4}), 3 + 5e-7},
		{of([2]float64{-1, 1}), 0},
		// Thirteen digits are too many.
		{of([2]float64{1.23456789012298, 1.2345678901238}), 1.23456789012339},
	} {
		v, ok := tc.of()
		require.True(t, ok)
		require.InDelta(t, tc.want, v, 1e-15)
	}
	_, ok := of([2]float64{1, 3}, [2]float64{3 + 4e-6, 4})()
	require.False(t, ok)
}

// Numbers of several failures are told by how many they explain, then by what denies them. A number
// beside a mistake is not found alone.
func TestNumbersOfFailures(t *testing.T) {
	scaled := func(name string, factor float64, with ...string) (report.Result, *fixture.Case) {
		r, c := computed(t, name, func(o *attention.SDPAOptions) { o.Scale *= factor })
		n := scaleOf(t, c, func(right float64) float64 { return factor * right }).NumberMatch
		n.With = mistakesOf(t, with...)
		r.Diagnosis.Numbers = []replay.NumberMatch{n}
		return r, c
	}
	unread := result("unread", false)
	unread.Diagnosis.Numbers = []replay.NumberMatch{scaleWith(t)}
	first, a := scaled("sdpa/causal", 1.5)
	second, b := scaled("sdpa/scale", 1.5)
	third, c := scaled("sdpa/window", 7)
	third.Diagnosis.Numbers = append(third.Diagnosis.Numbers,
		replay.NumberMatch{Number: numberOf(t, "window"), Right: 3, Value: 5, Least: 5, Most: 5})
	in := ofCases(t, []report.Result{unread, third, first, second}, a, b, c)
	found := in.numbers()
	require.Len(t, found, 2)
	require.Equal(t, []string{"sdpa/causal", "sdpa/scale"}, found[0].failures)
	require.Equal(t, "1.5 times as large as it should be", found[0].rule.text)
	require.Equal(t, []string{"sdpa/window"}, found[1].failures)
	require.Equal(t, []string{"window"}, found[1].alternatives)

	// Two passes deny what one failure shows alone: half of the failures is enough. A failure that
	// needs a mistake beside the number shows nothing alone.
	passed, d := computed(t, "sdpa/gqa", func(*attention.SDPAOptions) {})
	again, e := computed(t, "sdpa/unmasked", func(*attention.SDPAOptions) {})
	for _, with := range [][]string{nil, {"causal-missing"}} {
		r, _ := scaled("sdpa/causal", 1.5, with...)
		in := ofCases(t, []report.Result{passed, again, r}, a, d, e)
		require.Len(t, in.numbers(), 1-len(with))
	}
}

// Numbers that were found beside others are told in the order of their ids.
func TestNumbersBesideOthers(t *testing.T) {
	number := func(id string, right, v float64) []report.Joint {
		n := replay.NumberMatch{Number: numberOf(t, id), Right: right, Value: v, Least: v, Most: v}
		return []report.Joint{{Numbers: []replay.NumberMatch{n}}}
	}
	var modules []*fixture.Case
	for _, name := range []string{"a", "b", "c"} {
		modules = append(modules, &fixture.Case{Name: name, Op: fixture.Module})
	}
	in := ofCases(t, []report.Result{result("a", false), result("b", false), result("c", false)}, modules...)
	known := []wrongNumber{{number: numberOf(t, "softcap"), failures: []string{"b"}}}
	joint := [][]report.Joint{
		append(number("window", 3, 5), number("softcap", 2, 4)...), number("scale", 0.5, 0.25), number("softcap", 2, 4),
	}
	joint[1] = append(joint[1], number("softcap", 2, 4)...)
	found := in.jointNumbers(known, joint)
	var ids []string
	for _, w := range found {
		ids = append(ids, w.number.ID)
	}
	require.Equal(t, []string{"softcap", "scale", "window"}, ids)
	require.Equal(t, []string{"b", "a", "c"}, found[0].failures)
	require.Equal(t, []string{"b"}, found[1].failures)
	require.Equal(t, []string{"a"}, found[2].failures)
	require.Equal(t, []string{"b"}, known[0].failures, "the given numbers stay as they are")
}

// The value of the first case is told if it explains all; otherwise another that does.
func TestOneValueForAllCases(t *testing.T) {
	of := func(value, least, most float64) observed {
		return observed{NumberMatch: replay.NumberMatch{Number: numberOf(t, "scale"), Value: value, Least: least, Most: most, Right: 1}}
	}
	for _, tc := range []struct {
		all  []observed
		want float64
	}{
		{[]observed{of(0.5, 0.49, 0.51), of(0.501, 0.495, 0.53)}, 0.5},
		{[]observed{of(0.5, 0.49, 0.51), of(0.52, 0.508, 0.53)}, 0.51},
	} {
		require.InDelta(t, tc.want, constant(tc.all)[0].value(nil, 1), 1e-15)
	}
	require.Empty(t, constant([]observed{of(0.5, 0.49, 0.51), of(0.6, 0.59, 0.61)}))
}

// A number explains an output if the right computation is several times further away.
func TestHowMuchNearerANumberIs(t *testing.T) {
	in := inquire(t)
	r := result("a", false)
	near := result("b", true).Comparison
	near.Rel = 0x1p-40
	require.True(t, near.Explained())
	for times, want := range map[float64]bool{0.75: false, 1: true, 2: true} {
		r.Comparison.Rel = times * compare.MinMargin * near.Rel
		require.Equal(t, want, in.gives(near, r), times)
	}
	require.False(t, in.gives(r.Comparison, r), "outside the noise")
}
