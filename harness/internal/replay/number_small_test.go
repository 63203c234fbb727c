package replay

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/oracletest"
)

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

// A mistake and another scale are found together, where the mistake alone and the scale alone leave
// much.
func TestFindAScaleBesideAMistake(t *testing.T) {
	p := smallFunction(2, 6)
	wrong := planted(t, p, "causal-missing")
	wrong.Scale = 0.8
	got := oracletest.InFloat32(wrong.Run())
	o := against(t, caseOf(p), got)
	matches, cut := FindNumbersWithMistakes(t.Context(), o)
	require.Empty(t, cut)
	require.Equal(t, []string{"scale"}, numbered(matches))
	require.Equal(t, "causal-missing", matches[0].With[0].ID)
	require.True(t, matches[0].Allows(0.8))
	alone, _ := newNumberSearch(t.Context(), newNumberPart(o), matches[0].Number, 0.5).find(newSearch())
	require.Zero(t, alone)

	_, cut = FindNumbersWithMistakes(ended(t), o)
	require.Equal(t, Cut("a wrong number beside a mistake was not searched everywhere"), cut)
	for name, change := range map[string]func(o *Output){
		"no row is wrong":              func(o *Output) { o.Comparison.Z = make([]float64, len(o.Comparison.Z)) },
		"two wrong elements":           func(o *Output) { o.Comparison.Outside = 2 },
		"elements that are no numbers": func(o *Output) { o.Comparison.NonFinite = 1 },
		"a large case":                 func(o *Output) { o.Sampled.Rows = []int{0} },
	} {
		o := against(t, caseOf(p), got)
		change(&o)
		matches, cut = FindNumbersWithMistakes(t.Context(), o)
		require.Empty(t, matches, name)
		require.Empty(t, cut, name)
	}
	o.Comparison.Outside = 3
	matches, _ = FindNumbersWithMistakes(t.Context(), o)
	require.Len(t, matches, 1)

	// Four are named, and five are too many. What is missed is each mistake's, each number's, and that
	// of every mistake with other numbers.
	missed := newSearch()
	missed.missSimpler(t.Context(), o, matches)
	for _, r := range o.Candidates {
		if slices.Contains(besideNumbers, r.Mistake.Family) {
			newPiece(o, 0).numbersWith(t.Context(), missed, r.Mistake)
		}
	}
	require.False(t, math.IsInf(missed.next, 1))
	require.Equal(t, missed.next, matches[0].Next)
	i := slices.IndexFunc(o.Candidates, func(r Replay) bool { return r.Mistake.ID == "causal-missing" })
	one := o.Candidates[i]
	o.Candidates = slices.Repeat([]Replay{one}, 4)
	matches, cut = FindNumbersWithMistakes(t.Context(), o)
	require.Empty(t, cut)
	require.Len(t, matches, 4)
	missed = newSearch()
	missed.missSimpler(t.Context(), o, matches)
	require.False(t, math.IsInf(missed.next, 1))
	require.Equal(t, missed.next, matches[3].Next)
	o.Candidates = slices.Repeat([]Replay{one}, 5)
	matches, _ = FindNumbersWithMistakes(t.Context(), o)
	require.Empty(t, matches)

	// One mistake or one number alone is simpler.
	for _, simple := range []*oracle.Problem{planted(t, p, "causal-missing"), scaledTo(p, 0.8)} {
		matches, cut = FindNumbersWithMistakes(t.Context(), against(t, caseOf(p), oracletest.InFloat32(simple.Run())))
		require.Empty(t, cut)
		require.Empty(t, matches)
	}
}

func scaledTo(p *oracle.Problem, scale float64) *oracle.Problem {
	q := p.Fork()
	q.Scale = scale
	return q
}

// A number's distances alone are no explanation beside a match. Each number is searched once.
func TestMissSimpler(t *testing.T) {
	p := smallFunction(2, 5)
	o := against(t, caseOf(p), oracletest.InFloat32(scaledTo(p, 0.8).Run()))
	n, _ := catalogue.NumberByID("scale")
	s := newSearch()
	s.missSimpler(t.Context(), o, []NumberMatch{{Number: n, Right: 0.5}, {Number: n, Right: 0.5}})
	require.Less(t, s.next, 1e-6, "the scale alone gives the output")

	// A number is searched once, whatever comes before.
	count := func(ids ...string) map[string]int {
		tried := map[string]int{}
		var matches []NumberMatch
		for _, id := range ids {
			number, _ := catalogue.NumberByID(id)
			set := number.Set
			number.Set = func(p *oracle.Problem, v float64) {
				tried[id]++
				set(p, v)
			}
			matches = append(matches, NumberMatch{Number: number})
		}
		newSearch().missSimpler(t.Context(), o, matches)
		return tried
	}
	once := count("scale")["scale"]
	require.Positive(t, once)
	again := count("scale", "scale", "causal-offset")
	require.Equal(t, once, again["scale"])
	require.Positive(t, again["causal-offset"])

	singles := newSearch()
	singles.missSingles(o)
	s = newSearch()
	s.missSimpler(t.Context(), o, nil)
	require.Equal(t, singles.next, s.next)
}

// The noise of a piece is that of its batch element, or of all.
func TestNoiseOfAPiece(t *testing.T) {
	p := smallFunction(3, 5)
	o := against(t, caseOf(p), oracletest.InFloat32(scaledTo(p, 0.8).Run()))
	all := o.Case.Truth.Sigma
	require.Equal(t, all[2*20:3*20], newPiece(o, 2).sigma())
	require.Equal(t, all[20:2*20], newPiece(o, 1).sigma())
	require.Equal(t, all, newPiece(o, allElements).sigma())
}

// A number is searched beside a mistake of any family, unless it changes queries and keys. Beside a
// mistake that mixes batch elements, or that does not apply, none is.
func TestNumbersWithAMistake(t *testing.T) {
	p := smallFunction(2, 4)
	c := caseOf(p)
	plain := against(t, c, oracletest.InFloat32(scaledTo(p, 0.8).Run()))
	softmax := false
	for _, m := range catalogue.Mistakes {
		if !m.Replayable() {
			continue
		}
		wrong, ok := catalogue.Make(p, nil, m)
		independent := ok && wrong.Independent()
		if independent && (softmax || m.Family != catalogue.Softmax) {
			continue
		}
		o := plain
		if independent {
			o = against(t, c, oracletest.InFloat32(scaledTo(wrong, 0.8).Run()))
		}
		matches := newPiece(o, 0).numbersWith(t.Context(), newSearch(), m)
		if !independent {
			require.Empty(t, matches, m.ID)
		}
		softmax = softmax || slices.Contains(numbered(matches), "scale")
	}
	require.True(t, softmax)
}

// Numbers of the rotation change queries and keys. They are searched, but not on a large case.
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

// A number of the rotation is searched beside a mistake of masks or scales, and beside no other. A
// number that a mistake changes itself is not searched beside the mistake.
func TestNumbersOfTheRotationWithAMistake(t *testing.T) {
	p := oracletest.First(oracletest.Tall(2), 2)
	p.Causal = oracletest.Causal
	p.Layer.QueryRotary, p.Layer.KeyRotary = &oracle.Rotary{Dim: 6, Base: 100, Factor: 1}, &oracle.Rotary{Dim: 6, Base: 100, Factor: 1}
	c := caseOf(p)
	with := func(id, number string, value float64) []string {
		wrong := planted(t, p, id)
		n, ok := catalogue.NumberByID(number)
		require.True(t, ok)
		n.Set(wrong, value)
		m, _ := catalogue.ByID(id)
		o := against(t, c, oracletest.InFloat32(wrong.Run()))
		return numbered(newPiece(o, 0).numbersWith(t.Context(), newSearch(), m))
	}
	require.Contains(t, with("causal-missing", "rope-base", 300), "rope-base")
	require.Contains(t, with("causal-missing", "scale", 0.8), "scale")
	require.NotContains(t, with("softmax-over-queries", "rope-base", 300), "rope-base")
	require.NotContains(t, with("scale-missing", "scale", 0.8), "scale")
}

// The piece is the batch element of the first wrong row.
func TestTheElementOfTheFirstWrongRow(t *testing.T) {
	p := smallFunction(2, 6)
	wrong := planted(t, p, "causal-missing")
	wrong.Scale = 0.8
	o := against(t, caseOf(p), oracletest.InFloat32(wrong.Run()))
	z := o.Comparison.Z
	for _, row := range []int{1, 8} { // the latter is of the second element
		o.Comparison.Z = make([]float64, len(z))
		copy(o.Comparison.Z[4*row:][:4], z[4*row:])
		matches, cut := FindNumbersWithMistakes(t.Context(), o)
		require.Empty(t, cut)
		require.Equal(t, []string{"scale"}, numbered(matches), "row %d", row)
	}
	both := slices.Clone(o.Comparison.Z)
	copy(both[4:][:4], z[4:])
	o.Comparison.Z = both
	matches, _ := FindNumbersWithMistakes(t.Context(), o)
	require.Equal(t, []string{"scale"}, numbered(matches), "both")
}
