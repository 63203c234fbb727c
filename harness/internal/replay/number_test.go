package replay

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/campaign"
	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/oracletest"
	"github.com/difftest/difftest/harness/internal/variant"
)

// numberCases are cases that have a number.
var numberCases = []struct{ id, name string }{
	{"scale", "sdpa/causal"}, {"scale", "sdpa/softcap"}, {"scale", "mha/causal-left-padding"},
	{"scale", "decoder/gemma"},
	{"temperature", "sdpa/softcap"}, {"temperature", "sdpa/sinks"}, {"temperature", "decoder/alibi"},
	{"softcap", "sdpa/softcap"}, {"softcap", "decoder/softcap"},
	{"score-offset", "sdpa/softcap"}, {"score-offset", "mha/bias-kv"},
	{"sink-offset", "sdpa/sinks"}, {"sink-offset", "decoder/sinks"},
	{"alibi-bias-max", "sdpa/alibi"}, {"alibi-bias-max", "decoder/alibi"},
	{"zero-keys", "sdpa/causal"}, {"zero-keys", "mha/padding"},
	{"rope-base", "decoder/rope-half"}, {"rope-base", "decoder/rope-interleaved"}, {"rope-base", "decoder/cache"},
	{"rope-factor", "decoder/rope-factor"}, {"rope-factor", "decoder/rope-half"},
	{"rope-dim", "decoder/rope-partial"},
	{"rope-query-position", "decoder/rope-half"}, {"rope-query-position", "decoder/cache"},
	{"rope-first-position", "decoder/cache"},
	{"qk-norm-epsilon", "decoder/qk-norm"},
	{"window", "sdpa/window"}, {"window", "decoder/window-cache"},
	{"causal-offset", "sdpa/causal"}, {"causal-offset", "decoder/cache"},
	{"first-position", "decoder/cache"}, {"first-position", "sdpa/alibi-lower-right"},
	{"relative-clip", "decoder/relative-bias"},
	{"cache-key-factor", "decoder/cache"}, {"cache-value-factor", "decoder/cache"},
}

// A wrong number is found to within its interval, and no other number is named, whatever float32
// implementation gave the output. A plain run tries each number on one case.
func TestFindNumbers(t *testing.T) {
	campaign.SkipShort(t)
	draws := 1
	if campaign.Full() {
		draws = 10
	}
	tried, seen, found := 0, 0, 0
	for i, tc := range numberCases {
		if !campaign.Full() && i > 0 && numberCases[i-1].id == tc.id {
			continue
		}
		n, ok := catalogue.NumberByID(tc.id)
		require.True(t, ok)
		p := oracletest.Committed(t, tc.name)
		right, ok := n.Get(p)
		require.True(t, ok, tc.name)
		c := caseOf(p)
		for draw := range draws {
			tried++
			r := rand.New(rand.NewPCG(uint64(i), uint64(draw)))
			value, ok := n.Draw(r, p)
			require.True(t, ok, tc.name)
			wrong := c.Problem.Fork()
			n.Set(wrong, value)
			got := inFloat32(r, wrong)
			if compare.Outputs(c.Truth.Shape, got, c.Truth).MaxZ <= compare.MaxZ {
				continue // no element is wrong by itself, so there is nothing to search in
			}
			o := against(t, c, got)
			if single, _ := FindSingle(t.Context(), o); len(single) > 0 {
				continue // a mistake of the catalogue gives the same output
			}
			seen++
			matches, cut := FindNumbers(t.Context(), o)
			require.Empty(t, cut)
			before := found
			for _, m := range matches {
				if !requireTheOutput(t, c, m, got) {
					continue
				}
				if m.Number.ID == tc.id && m.Allows(value) {
					found++
				}
			}
			if found == before {
				t.Logf("%s: %s %.6g in place of %.6g is not found: %v", tc.name, tc.id, value, right, matches)
			}
		}
	}
	require.GreaterOrEqual(t, seen, tried/2)
	require.GreaterOrEqual(t, float64(found), 0.99*float64(seen), "%d of %d", found, seen)
}

// inFloat32 computes a problem in float32, by a correct implementation where one can, and otherwise
// by the oracle.
func inFloat32(r *rand.Rand, p *oracle.Problem) []float64 {
	if variant.Expresses(p) {
		return variant.Correct[r.IntN(len(variant.Correct))].Run(p)
	}
	out := p.Run().Value
	for i, v := range out {
		out[i] = float64(float32(v))
	}
	return out
}

// requireTheOutput demands that a number, with the value that was found, gives the output.
func requireTheOutput(t *testing.T, c *Case, m NumberMatch, got []float64) bool {
	t.Helper()
	p := c.Problem.Fork()
	m.Number.Set(p, m.Value)
	f := p.Run()
	return compare.Outputs(f.Shape, got, f.Expected()).OK()
}

// No number explains an output with another fault: noise in one element, or a mistake.
func TestFindNumbersFindsNoneElsewhere(t *testing.T) {
	campaign.SkipShort(t)
	for _, name := range []string{"decoder/rope-half", "sdpa/softcap", "sdpa/window", "decoder/qk-norm"} {
		c := caseOf(oracletest.Committed(t, name))
		r := rand.New(rand.NewPCG(5, 5))
		got := append([]float64{}, c.Truth.Value...)
		width := len(got) / c.Truth.Shape[0]
		for i := range width {
			got[i] *= 1 + 0.05*r.NormFloat64()
		}
		matches, _ := FindNumbers(t.Context(), against(t, c, got))
		require.Empty(t, matches, name)
	}
	c := caseOf(oracletest.Committed(t, "decoder/rope-half"))
	wrong := planted(t, c.Problem, "rope-missing")
	matches, _ := FindNumbers(t.Context(), against(t, c, wrong.Run().Value))
	require.Empty(t, matches, "no base is as good as no rotation")
}

// No number stands for a feature that is missing: no value of it is the limit.
func TestNoNumberForAMissingFeature(t *testing.T) {
	campaign.SkipShort(t)
	for _, tc := range []struct{ name, missing string }{
		{"sdpa/window", "window-missing"}, {"sdpa/softcap", "softcap-missing"}, {"decoder/alibi", "alibi-missing"},
		{"decoder/relative-bias", "relative-missing"}, {"decoder/qk-norm", "qk-norm-missing"},
		{"sdpa/sinks", "sinks-missing"}, {"sdpa/causal", "causal-missing"}, {"sdpa/causal", "weights-uniform"},
		{"decoder/rope-factor", "rope-missing"},
	} {
		c := caseOf(oracletest.Committed(t, tc.name))
		wrong := planted(t, c.Problem, tc.missing)
		matches, _ := FindNumbers(t.Context(), against(t, c, wrong.Run().Value))
		require.Empty(t, matches, tc.missing)
	}
}

// Numbers that change the scores alone are found on a large case, too: on some rows first.
func TestFindNumbersOfALargeCase(t *testing.T) {
	campaign.SkipShort(t)
	c := caseOf(oracletest.Wide())
	require.True(t, c.sample.Partial())
	for id, value := range map[string]float64{"scale": 1.3 * c.Problem.Scale, "causal-offset": 301, "zero-keys": 3} {
		n, _ := catalogue.NumberByID(id)
		wrong := c.Problem.Fork()
		n.Set(wrong, value)
		matches, cut := FindNumbers(t.Context(), against(t, c, oracletest.InFloat32(wrong.Run())))
		require.Empty(t, cut)
		require.Len(t, matches, 1, id)
		require.Equal(t, id, matches[0].Number.ID)
		require.True(t, matches[0].Allows(value), "%s: %v", id, matches)
	}
}

func TestFindNumbersIsCutOff(t *testing.T) {
	c := caseOf(oracletest.Committed(t, "sdpa/softcap"))
	n, _ := catalogue.NumberByID("softcap")
	wrong := c.Problem.Fork()
	n.Set(wrong, 3)
	o := against(t, c, wrong.Run().Value)
	matches, cut := FindNumbers(ended(t), o)
	require.Empty(t, matches)
	require.NotEmpty(t, cut)
}

// A whole number at the end of its range is found, and nothing outside the range is computed: a
// rotation wider than the head has no features.
func TestFindNumbersAtTheEndOfTheRange(t *testing.T) {
	campaign.SkipShort(t)
	for _, tc := range []struct{ id, name string }{
		{"rope-dim", "decoder/rope-partial"}, {"window", "sdpa/window"}, {"window", "decoder/window-cache"},
		{"relative-clip", "decoder/relative-bias"},
	} {
		n, _ := catalogue.NumberByID(tc.id)
		c := caseOf(oracletest.Committed(t, tc.name))
		right, _ := n.Get(c.Problem)
		least, most := n.Range(c.Problem)
		for _, value := range []float64{least, most} {
			if value == right {
				continue
			}
			wrong := c.Problem.Fork()
			n.Set(wrong, value)
			f := wrong.Run()
			if compare.Outputs(f.Shape, f.Value, c.Truth).MaxZ <= compare.MaxZ {
				continue
			}
			matches, cut := FindNumbers(t.Context(), against(t, c, oracletest.InFloat32(f)))
			require.Empty(t, cut)
			for _, m := range matches {
				least, most := m.Number.Range(c.Problem)
				require.True(t, least <= m.Least && m.Most <= most, "%s: %s", tc.name, m)
			}
			own := func(m NumberMatch) bool { return m.Number.ID == tc.id && m.Allows(value) }
			require.True(t, slices.ContainsFunc(matches, own), "%s %g: %v", tc.name, value, matches)
		}
	}
}

// A softcap bends scores of both signs alike. Where the scores are small, an offset and its
// negative come near, and the right one of them is found.
func TestFindOffsetsOfBothSigns(t *testing.T) {
	campaign.SkipShort(t)
	n, _ := catalogue.NumberByID("score-offset")
	for _, name := range []string{"sdpa/softcap", "decoder/softcap"} {
		p := oracletest.Committed(t, name)
		p.Scale *= 0.1
		c := caseOf(p)
		for _, value := range []float64{-2.1, -1.3, -0.7, 0.7, 1.3, 2.1} {
			wrong := c.Problem.Fork()
			n.Set(wrong, value)
			matches, cut := FindNumbers(t.Context(), against(t, c, oracletest.InFloat32(wrong.Run())))
			require.Empty(t, cut)
			own := func(m NumberMatch) bool { return m.Number.ID == n.ID && m.Allows(value) }
			require.True(t, slices.ContainsFunc(matches, own), "%s %g: %v", name, value, matches)
		}
	}
}

// A number beside another one stands in all texts.
func TestTextsOfANumberBesideAnother(t *testing.T) {
	m := NumberMatch{Value: 1e4, Right: 5e5, Beside: &NumberMatch{Value: 1e-6, Right: 1e-5}}
	m.Number = catalogue.Number{ID: "base", Title: "RoPE base", Fix: "Read rope_theta."}
	m.Beside.Number = catalogue.Number{ID: "eps", Title: "epsilon", Fix: "Read rms_norm_eps."}
	require.Equal(t, "the RoPE base is 10000, the case says 500000, and the epsilon is 1e-06, the case says 1e-05", m.String())
	require.Equal(t, "the RoPE base 10000 instead of 500000, and the epsilon 1e-06 instead of 1e-05", m.Title())
	require.Equal(t, []string{"base", "eps"}, m.IDs())
	require.Equal(t, "base 10000+eps 1e-06", m.Label())
	require.Equal(t, []string{"Read rope_theta.", "Read rms_norm_eps."}, m.Fixes())
	require.Equal(t, map[string]float64{"base": 1e4, "eps": 1e-6}, m.Values())
}
