package causes

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/replay"
	"github.com/difftest/difftest/harness/internal/report"
)

// seen is a number in the output of a case with some heads of some size, with the interval that
// noise leaves.
func seen(id string, right, wrong float64, heads, size int) observed {
	const noise = 1e-5
	n, ok := catalogue.NumberByID(id)
	if !ok {
		panic(id)
	}
	m := replay.NumberMatch{Number: n, Right: right, Value: wrong, Least: wrong, Most: wrong}
	if n.Step == 0 {
		m.Least, m.Most = wrong-noise*math.Abs(wrong), wrong+noise*math.Abs(wrong)
	}
	q := attention.NewTensor(2, heads, 7, size)
	return observed{m, &fixture.Case{Op: fixture.SDPA, Inputs: attention.Inputs{Query: q, Key: q, Value: q}}}
}

// The values of a number in several cases follow one rule, which is told by its name.
func TestRulesOfNumbers(t *testing.T) {
	scale := func(size int) float64 { return 1 / math.Sqrt(float64(size)) }
	of := func(change func(right float64, heads, size int) float64) []observed {
		var all []observed
		for _, c := range [][2]int{{4, 10}, {6, 16}, {3, 8}} {
			all = append(all, seen("scale", scale(c[1]), change(scale(c[1]), c[0], c[1]), c[0], c[1]))
		}
		return all
	}
	for want, all := range map[string][]observed{
		"1.5 times as large as it should be": of(func(s float64, _, _ int) float64 { return 1.5 * s }),
		"the square root of the right one":   of(func(s float64, _, _ int) float64 { return math.Sqrt(s) }),
		"the square of the right one":        of(func(s float64, _, _ int) float64 { return s * s }),
		"the inverse of the right one":       of(func(s float64, _, _ int) float64 { return 1 / s }),
		"the right one times the number of heads": of(func(s float64, heads, _ int) float64 {
			return s * float64(heads)
		}),
		"the right one divided by the square root of the number of heads": of(func(s float64, heads, _ int) float64 {
			return s / math.Sqrt(float64(heads))
		}),
		"0.2 in every case": of(func(float64, int, int) float64 { return 0.2 }),
		"500000 where it should be 10000, 50 times as large": {
			seen("rope-base", 1e4, 5e5, 4, 8), seen("rope-base", 1e4, 5e5, 2, 8),
		},
		"2 more than it should be": {seen("window", 3, 5, 4, 8), seen("window", 6, 8, 2, 8)},
		"1 less than it should be": {seen("window", 3, 2, 4, 8), seen("window", 6, 5, 2, 8)},
		"3 where it should be 4":   {seen("window", 4, 3, 4, 8)},
		"-0.25 where it should be 0": {
			seen("score-offset", 0, -0.25, 4, 8), seen("score-offset", 0, -0.25, 4, 8),
		},
		"the right one times the number of keys": {
			seen("rope-factor", 2, 14, 4, 8), seenWithKeys("rope-factor", 3, 15, 5),
		},
		"0.33333 times as large as it should be": {
			seen("rope-factor", 2, 2.0/3, 4, 8), seen("rope-factor", 4, 4.0/3, 4, 8),
		},
	} {
		rules := rulesOf(all)
		require.NotEmpty(t, rules, want)
		require.Equal(t, want, rules[0].text)
		require.Len(t, byRule(all), 1, want)
	}
}

func seenWithKeys(id string, right, wrong float64, keys int) observed {
	o := seen(id, right, wrong, 4, 8)
	q := attention.NewTensor(2, 4, keys, 8)
	o.c.Inputs = attention.Inputs{Query: q, Key: q, Value: q}
	return o
}

// Values that follow no rule have none, and a value that does not belong is a group of its own.
func TestValuesWithoutARule(t *testing.T) {
	random := []observed{
		seen("scale", 0.3, 0.123, 4, 10), seen("scale", 0.25, 0.77, 5, 16), seen("scale", 0.35, 0.5, 3, 8),
		seen("scale", 0.2, 0.61, 2, 25), seen("scale", 0.28, 0.911, 2, 12),
	}
	require.Empty(t, rulesOf(random))
	require.Len(t, byRule(random), 1, "too many rules are none")

	mixed := []observed{
		seen("scale", 0.3, 0.45, 4, 10), seen("scale", 0.25, 0.9, 4, 16), seen("scale", 0.35, 0.525, 3, 8),
	}
	groups := byRule(mixed)
	require.Len(t, groups, 2)
	require.Len(t, groups[0], 2)
	require.Equal(t, "1.5 times as large as it should be", rulesOf(groups[0])[0].text)
	require.InDelta(t, 0.9, groups[1][0].Value, 0)
}

// Whole numbers, and values that the noise leaves open, have relations by chance.
func TestNoRuleByChance(t *testing.T) {
	// times the heads
	windows := []observed{seen("window", 3, 12, 4, 8), seen("window", 4, 8, 2, 8)}
	require.Empty(t, rulesOf(windows))

	alike := []observed{seen("cache-value-factor", 1, 0.5, 4, 8), seen("cache-value-factor", 1, 0.5, 4, 16)}
	for _, r := range rulesOf(alike) { // over the square root of the heads
		require.NotContains(t, r.text, "heads")
	}

	wide := []observed{seen("scale", 0.25, 0.5, 4, 10), seen("scale", 0.36, 0.6, 4, 16)}
	require.Equal(t, "the square root of the right one", rulesOf(wide)[0].text)
	for i := range wide {
		wide[i].Least, wide[i].Most = 0.99*wide[i].Value, 1.01*wide[i].Value
	}
	require.Empty(t, rulesOf(wide))
}

// A rule must hold within the interval of every case.
func TestRulesKeepToTheNoise(t *testing.T) {
	near := []observed{seen("rope-base", 1e4, 3e4, 4, 8), seen("rope-base", 2e4, 6.001e4, 4, 8)}
	for _, r := range rulesOf(near) {
		require.NotContains(t, r.text, "times as large")
	}
	near[1] = seen("rope-base", 2e4, 6.00002e4, 4, 8)
	require.Equal(t, "3 times as large as it should be", rulesOf(near)[0].text)
}

// A rule gives a value to try if it is finite and another than the right one.
func TestValueOfARule(t *testing.T) {
	c, err := fixture.Read(fixtures.FS, "sdpa/causal")
	require.NoError(t, err)
	r := result(c.Name, false)
	scale, ok := catalogue.NumberByID("scale")
	require.True(t, ok)
	cases := map[string]*fixture.Case{c.Name: c}
	w := newWitnesses([]report.Result{r}, Of(cases), "")
	of := func(value float64) (replay.NumberMatch, bool) {
		gives := func(_ *fixture.Case, right float64) float64 { return right + value }
		return w.valueOf(r, wrongNumber{number: scale, rule: &rule{value: gives}})
	}
	m, ok := of(0.25)
	require.True(t, ok)
	require.InDelta(t, m.Right+0.25, m.Value, 1e-15)
	for _, value := range []float64{0, math.NaN(), math.Inf(1), math.Inf(-1)} {
		_, ok = of(value)
		require.False(t, ok, value)
	}
	_, ok = w.valueOf(r, wrongNumber{number: scale})
	require.False(t, ok, "no rule")
	by := wrongNumber{number: scale, rule: timesRule(2)}
	_, ok = w.valueOf(r, by)
	require.True(t, ok)
	for name, change := range map[string]func(r *report.Result){
		"no output":         func(r *report.Result) { r.Got = nil },
		"another shape":     func(r *report.Result) { r.Comparison.GotShape = []int{2} },
		"a case of no name": func(r *report.Result) { r.Case = "unread" },
	} {
		other := r
		change(&other)
		_, ok = w.valueOf(other, by)
		require.False(t, ok, name)
	}
	require.False(t, w.hasParameters(c.Name))
	cases["layer"] = &fixture.Case{State: attention.StateDict{"out_proj.weight": c.Output}}
	require.True(t, w.hasParameters("layer"))
	require.False(t, w.hasParameters("unread"))
}

// Numbers of a configuration that another number may be multiplied by.
func TestSourcesOfProducts(t *testing.T) {
	c := &fixture.Case{Op: fixture.MultiHead}
	c.Layer = attention.Config{EmbedDim: 40, NumHeads: 4, NumKVHeads: 2, HeadDim: 8}
	c.Inputs = attention.Inputs{Query: attention.NewTensor(1, 3, 40), Key: attention.NewTensor(1, 7, 40)}
	for i, want := range []float64{4, 2, 8, 7, 3, 40} {
		require.InDelta(t, want, sources[i].of(c), 0, sources[i].name)
		rules := productRules()[4*i:][:4]
		for n, value := range []float64{5 * want, 5 / want, 5 * math.Sqrt(want), 5 / math.Sqrt(want)} {
			require.InDelta(t, value, rules[n].value(c, 5), 1e-12, rules[n].text)
		}
	}
}
