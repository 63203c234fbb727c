package causes

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/report"
)

// suite returns cases, each with a change of its own.
func suite(n int, change func(i int, c *fixture.Case)) []*fixture.Case {
	var all []*fixture.Case
	for i := range n {
		c := &fixture.Case{Name: "a/x", Op: fixture.SDPA, Precision: fixture.Float32}
		q := attention.NewTensor(3, 4, 9, 16)
		c.Inputs = attention.Inputs{Query: q, Key: q, Value: q}
		change(i, c)
		all = append(all, c)
	}
	return all
}

func withKeys(c *fixture.Case, n int) {
	c.Inputs.Key = attention.NewTensor(3, 4, n, 16)
	c.Inputs.Value = c.Inputs.Key
}

// Sentences about what failures share, each with its counts.
func TestSharedSentences(t *testing.T) {
	plain := func(int, *fixture.Case) {}
	window := func(_ int, c *fixture.Case) { c.Options.Window = 3 }
	for _, tc := range []struct {
		name             string
		failures, passes []*fixture.Case
		want             string // "" for nothing
	}{
		{"a feature", suite(4, window), suite(30, plain), "all 4 failures have a window; none of the 30 passes does"},
		{"one failure", suite(1, window), suite(150, plain), ""},
		{"few cases", suite(2, window), suite(2, plain), ""},
		{"no passes", suite(9, window), nil, ""},
		{"no failures", nil, suite(9, window), ""},
		{"nothing", suite(9, plain), suite(9, plain), ""},
		{
			"a feature that they lack", suite(5, plain), suite(30, window),
			"none of the 5 failures has a window; all 30 passes do",
		},
		{
			"a size",
			suite(6, func(i int, c *fixture.Case) { withKeys(c, 33+i) }),
			suite(30, func(i int, c *fixture.Case) { withKeys(c, 3+i) }),
			"all 6 failures have at least 33 keys; all 30 passes have at most 32 keys",
		},
		{
			"a small size",
			suite(6, func(i int, c *fixture.Case) { withKeys(c, 1) }),
			suite(30, func(i int, c *fixture.Case) { withKeys(c, 2+i) }),
			"all 6 failures have at most 1 key; all 30 passes have at least 2 keys",
		},
		{
			"a blind pass", suite(8, window), append(suite(30, plain), suite(2, window)...),
			"all 8 failures have a window; so do 2 of the 32 passes",
		},
		{"many blind passes", suite(8, window), append(suite(30, plain), suite(3, window)...), ""},
		{
			"two features together",
			suite(8, func(_ int, c *fixture.Case) { c.Options.Window, c.Options.Softcap = 3, 2 }),
			suite(40, func(i int, c *fixture.Case) {
				if i%2 == 0 {
					c.Options.Window = 3
				} else {
					c.Options.Softcap = 2
				}
			}),
			"all 8 failures have a window, and a softcap; none of the 40 passes does",
		},
		{
			"a group of names",
			suite(5, func(_ int, c *fixture.Case) { c.Name = "b/x" }), suite(40, plain),
			"all 5 failures have a name that begins with b/; none of the 40 passes does",
		},
		{
			"a type",
			suite(5, func(_ int, c *fixture.Case) { c.Precision = fixture.BFloat16 }), suite(40, plain),
			"all 5 failures have inputs in bfloat16; none of the 40 passes does",
		},
	} {
		s := shared(report.AllFailures, tc.failures, tc.passes)
		if tc.want == "" {
			require.Nil(t, s, tc.name)
			continue
		}
		require.NotNil(t, s, tc.name)
		require.Equal(t, tc.want, strings.Join(s.Sentences(), "\n"), tc.name)
	}
}

// At most three features are listed, and the others counted.
func TestSharedRivals(t *testing.T) {
	s := shared(report.AllFailures, suite(5, func(_ int, c *fixture.Case) {
		c.Options.Window, c.Options.Softcap, c.Options.ALiBi, c.Options.Causality = 3, 1, true, attention.TopLeft
	}), suite(40, func(int, *fixture.Case) {}))
	require.Len(t, s.Features, 3)
	require.Equal(t, 1, s.More)
	require.Equal(t, "1 more feature tells the same cases apart", s.Sentences()[3])
}

// A run with few cases makes no statement, because chance could make one.
func TestSharedByChance(t *testing.T) {
	require.True(t, telling(1, 2, 5, 0))   // 1 of 21 pairs
	require.False(t, telling(3, 2, 5, 0))  // 3 of 21
	require.False(t, telling(1, 1, 99, 0)) // 1 of 100, but one failure
	require.False(t, telling(1, 2, 5, 1))  // 3 of 21
	require.True(t, telling(60, 3, 30, 0)) // 60 of 5456
}

// Of several features that few passes have, the one with the fewest counts.
func TestSharedByTheFewestPasses(t *testing.T) {
	both := func(_ int, c *fixture.Case) { c.Options.Window, c.Options.Softcap = 3, 2 }
	passes := suite(60, func(i int, c *fixture.Case) {
		if i < 2 {
			c.Options.Window = 3
		}
		if i < 1 {
			c.Options.Softcap = 2
		}
	})
	s := shared(report.AllFailures, suite(9, both), passes)
	require.NotNil(t, s)
	require.Equal(t, []string{"all 9 failures have a softcap; so does 1 of the 60 passes"}, s.Sentences())
}

// Failures without a cause are asked alone if some cause is sure. All failures are asked if passes
// contradict every cause. Cases without an output are asked apart.
func TestSharedAmong(t *testing.T) {
	cases, names := map[string]*fixture.Case{}, []string{}
	var results []report.Result
	add := func(right bool, change func(o *attention.SDPAOptions)) {
		name := fmt.Sprintf("a/%d", len(names))
		cases[name] = suite(1, func(_ int, c *fixture.Case) { c.Name = name; change(&c.Options) })[0]
		names, results = append(names, name), append(results, result(name, right))
	}
	for range 5 {
		add(false, func(o *attention.SDPAOptions) { o.Window = 3 })
	}
	for range 3 {
		add(false, func(o *attention.SDPAOptions) { o.Window, o.Softcap = 3, 2 })
	}
	for range 40 {
		add(true, func(*attention.SDPAOptions) {})
	}
	in := &inquiry{ctx: t.Context(), results: results, witnesses: newWitnesses(results, Of(cases), "")}
	sure := report.Cause{ID: "x", Failures: names[:5]}
	contradicted, symptom, only := sure, sure, sure
	contradicted.Contradictions = []string{names[20]}
	symptom.Symptom = true
	only.Contradictions, only.Only = contradicted.Contradictions, "a window"
	for _, tc := range []struct {
		cause report.Cause
		among report.Among
		cases []string
	}{
		{sure, report.Unexplained, names[5:8]}, {only, report.Unexplained, names[5:8]},
		{contradicted, report.AllFailures, names[:8]}, {symptom, report.AllFailures, names[:8]},
	} {
		found := in.shared([]report.Cause{tc.cause})
		require.Len(t, found, 1)
		require.Equal(t, tc.among, found[0].Among)
		require.Equal(t, tc.cases, found[0].Cases)
		require.Equal(t, 40, found[0].Passes)
	}

	for i := range 3 {
		r := &results[5+i]
		r.Comparison, r.Verdict = compare.Comparison{}, report.Error
	}
	found := in.shared([]report.Cause{sure})
	require.Len(t, found, 1)
	require.Equal(t, report.Errors, found[0].Among)
	require.Equal(t, names[5:8], found[0].Cases)
	require.Equal(t, 45, found[0].Passes)
}

// Only features that tell some cases apart count.
func TestSplitsTellCasesApart(t *testing.T) {
	plain := func(int, *fixture.Case) {}
	failures := suite(2, func(_ int, c *fixture.Case) { c.Options.Window = 3 })
	passes := suite(3, func(i int, c *fixture.Case) {
		if i == 1 {
			c.Options.Softcap = 2
		}
	})
	all := splits(failures, passes)
	require.Len(t, all, 2)
	require.Equal(t, []string{"window", "softcap"}, []string{all[0].id, all[1].id})
	require.Equal(t, []string{"xx...", "...x."}, []string{all[0].key, all[1].key})
	require.Equal(t, []int{2, 0, 0, 1}, []int{all[0].failures, all[0].passes, all[1].failures, all[1].passes})
	require.Empty(t, splits(suite(2, plain), suite(3, plain)))
}

// splitOf is a feature that the cases marked with x have: first those of two failures.
func splitOf(id, key string) split {
	s := split{feature: feature{id: id, what: "a " + id}, key: key}
	s.failures, s.passes = strings.Count(key[:2], "x"), strings.Count(key[2:], "x")
	return s
}

// Pairs of features are told if chance gives none of them, and there are few. Two failures of 26
// cases allow 32 pairs: C(26, 2) = 325.
func TestPairsOfFeatures(t *testing.T) {
	const passes = 24
	key := func(failures string, places ...int) string {
		k := []byte(failures + strings.Repeat(".", passes))
		for _, i := range places {
			k[2+i] = 'x'
		}
		return string(k)
	}
	ids := func(all []split) (ids []string) {
		for _, s := range exactPairs(all, make([]*fixture.Case, 2), make([]*fixture.Case, passes)) {
			ids = append(ids, s.id)
			require.Equal(t, 2, s.failures)
			require.Zero(t, s.passes)
		}
		return ids
	}
	all := []split{splitOf("a", key("xx", 0, 1)), splitOf("b", key("xx", 2)), splitOf("c", key("xx", 1, 2))}
	for i := 3; len(all) < 8; i++ {
		all = append(all, splitOf("lone", key("x.", i)), splitOf("twin", key("x.", i)))
	}
	all = append(all, splitOf("d", key(".x", 20)), splitOf("e", key(".x", 21)))
	require.Equal(t, 8, distinct(all))
	require.Equal(t, []string{"a+b"}, ids(all))
	require.Equal(t, "a a, and a b", exactPairs(all, make([]*fixture.Case, 2), make([]*fixture.Case, passes))[0].what)
	require.Empty(t, ids(append(all, splitOf("f", key(".x", 22)))), "36 pairs")

	apart := []split{splitOf("a", key("xx", 0)), splitOf("b", key("xx", 1)), splitOf("c", key("xx", 2))}
	require.Equal(t, []string{"a+b", "a+c", "b+c"}, ids(apart))
	star := []split{splitOf("a", key("xx", 0))}
	for i := 1; i < 5; i++ {
		star = append(star, splitOf(string(rune('a'+i)), key("xx", 5+i, 20)))
	}
	require.Empty(t, ids(star), "four pairs")
}

// Of features that as many passes have, the first is told.
func TestTheFirstNearlyExactFeature(t *testing.T) {
	passes := make([]*fixture.Case, 60)
	of := func(id string, places ...int) split {
		k := []byte(strings.Repeat("x", 8) + strings.Repeat(".", len(passes)))
		for _, i := range places {
			k[8+i] = 'x'
		}
		return split{feature: feature{id: id}, failures: 8, passes: len(places), key: string(k)}
	}
	few := of("few", 1)
	few.failures = 7
	found := nearlyExact([]split{few, of("more", 1, 2), of("first", 3), of("second", 4)}, make([]*fixture.Case, 8), passes)
	require.Len(t, found, 1)
	require.Equal(t, "first", found[0].id)
	require.Len(t, nearlyExact([]split{of("two", 1, 2)}, make([]*fixture.Case, 8), passes), 1)
	require.Empty(t, nearlyExact([]split{of("three", 1, 2, 3)}, make([]*fixture.Case, 8), passes))
}
