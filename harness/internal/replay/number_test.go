package replay

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
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

// smallFunction is causal attention of one head over some positions, in some batch elements.
func smallFunction(batch, length int) *oracle.Problem {
	r := rand.New(rand.NewPCG(3, 3))
	random := func() oracle.Array { return oracletest.Normal(r, batch, 1, length, 4) }
	return &oracle.Problem{
		Query: random(), Key: random(), Value: random(), Causal: oracletest.Causal, Scale: 0.5,
		EmptyRow: attention.EmptyZero,
	}
}

// numbered returns the ids of numbers.
func numbered(matches []NumberMatch) (ids []string) {
	for _, m := range matches {
		ids = append(ids, m.Number.ID)
	}
	return ids
}

// Another scale is found in a small output, with its value. Without anything else in the scores, a
// temperature gives the same.
func TestFindAScale(t *testing.T) {
	p := smallFunction(2, 5)
	wrong := p.Fork()
	wrong.Scale = 0.8
	o := against(t, caseOf(p), oracletest.InFloat32(wrong.Run()))
	matches, cut := FindNumbers(t.Context(), o)
	require.Empty(t, cut)
	require.Equal(t, []string{"scale"}, numbered(matches))
	require.True(t, matches[0].Allows(0.8), "%v", matches)
	require.False(t, matches[0].Allows(0.81))
	require.InDelta(t, 0.5, matches[0].Right, 0)
	require.Greater(t, matches[0].Next, compare.MinMargin*matches[0].Residual)
	require.False(t, math.IsInf(matches[0].Next, 1), "other numbers come less near")
	own := scaledTo(p, matches[0].Value).Run()
	c := compare.Outputs(own.Shape, o.Got, own.Expected())
	require.Equal(t, []float64{c.Rel, c.MaxZ}, []float64{matches[0].Residual, matches[0].MaxZ})
	require.Positive(t, c.MaxZ)

	o.Comparison.Outside = 1
	matches, _ = FindNumbers(t.Context(), o)
	require.Empty(t, matches, "one wrong element")
	o.Comparison.Outside = 2
	matches, _ = FindNumbers(t.Context(), o)
	require.Len(t, matches, 1)
	o.Comparison.NonFinite = 1
	matches, _ = FindNumbers(t.Context(), o)
	require.Empty(t, matches, "only numbers that hide keys")
	_, cut = FindNumbers(ended(t), o)
	require.Equal(t, Cut("not every number of the configuration was searched, and no two mistakes at once"), cut)
}

// A whole number is found from one wrong element, and beside elements that are no numbers.
func TestFindAWindow(t *testing.T) {
	p := smallFunction(2, 8)
	p.Window = 5
	wrong := p.Fork()
	wrong.Window = 3
	o := against(t, caseOf(p), oracletest.InFloat32(wrong.Run()))
	o.Comparison.Outside, o.Comparison.NonFinite = 1, 1
	matches, cut := FindNumbers(t.Context(), o)
	require.Empty(t, cut)
	require.Equal(t, []string{"window"}, numbered(matches))
	require.Equal(t, []float64{3, 3, 3}, []float64{matches[0].Least, matches[0].Value, matches[0].Most})
}

// Of a large case, numbers are searched in some rows, and confirmed in all.
func TestFindAScaleInASample(t *testing.T) {
	p := smallFunction(2, 16)
	wrong := p.Fork()
	wrong.Scale = 0.8
	got := oracletest.InFloat32(wrong.Run())
	c := sampled(caseOf(p), 3, 9, 15, 31)
	o := against(t, c, got)
	matches, _ := FindNumbers(t.Context(), o)
	require.Equal(t, []string{"scale"}, numbered(matches))
	part := newNumberPart(o).rows
	for row := range 32 {
		if !slices.Contains(part, row) {
			other := slices.Clone(got)
			other[4*row] += 1e-4
			o := against(t, c, other)
			// The same rows are searched.
			o.Comparison.Z = slices.Clone(against(t, c, got).Comparison.Z)
			matches, _ = FindNumbers(t.Context(), o)
			require.Empty(t, matches, "row %d", row)
			break
		}
	}
}

func scaledTo(p *oracle.Problem, scale float64) *oracle.Problem {
	q := p.Fork()
	q.Scale = scale
	return q
}

// Numbers of the rotation change queries and keys. A search tries them, but not on a large case.
func TestFindARotaryBase(t *testing.T) {
	p := oracletest.First(oracletest.Tall(2), 2)
	rotary := oracle.Rotary{Dim: 6, Base: 100, Factor: 1}
	p.Layer.QueryRotary, p.Layer.KeyRotary = &rotary, &rotary
	other := rotary
	other.Base = 300
	wrong := p.Clone()
	wrong.Layer.QueryRotary, wrong.Layer.KeyRotary = &other, &other
	got := oracletest.InFloat32(wrong.Run())
	matches, cut := FindNumbers(t.Context(), against(t, caseOf(p), got))
	require.Empty(t, cut)
	require.Equal(t, []string{"rope-base"}, numbered(matches))
	require.True(t, matches[0].Allows(300), "%v", matches)
	matches, cut = FindNumbers(t.Context(), against(t, sampled(caseOf(p), 1, 5, 7), got))
	require.Empty(t, cut)
	require.Empty(t, matches)
}
