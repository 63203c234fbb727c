package replay

import (
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/campaign"
	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/oracletest"
)

// A wrong number and a mistake that are made together are both named, with the number's value.
func TestFindNumbersWithMistakes(t *testing.T) {
	campaign.SkipShort(t)
	for _, tc := range []struct {
		name, id, mistake string
		value             float64
	}{
		{"sdpa/window", "window", "causal-next-seen", 6},
		{"decoder/window", "window", "scale-missing", 2},
		{"sdpa/softcap", "softcap", "scale-twice", 3},
		{"mha/causal-left-padding", "scale", "padding-ignored", 0.5},
		{"mha/causal-left-padding", "causal-offset", "padding-inverted", 2},
		{"decoder/rope-half", "rope-base", "causal-missing", 1e5},
		{"decoder/rope-half", "rope-factor", "scale-missing", 4},
	} {
		c := caseOf(oracletest.Committed(t, tc.name))
		m, _ := catalogue.ByID(tc.mistake)
		n, _ := catalogue.NumberByID(tc.id)
		wrong, ok := catalogue.Make(c.Problem, nil, m)
		require.True(t, ok, tc.name)
		n.Set(wrong, tc.value)
		got := wrong.Run().Value
		for i, v := range got {
			got[i] = float64(float32(v))
		}
		matches, cut := FindNumbersWithMistakes(t.Context(), against(t, c, got))
		require.Empty(t, cut)
		own := false
		for _, match := range matches {
			p, _ := catalogue.Make(c.Problem, nil, match.With...)
			match.Number.Set(p, match.Value)
			f := p.Run()
			require.True(t, compare.Outputs(f.Shape, got, f.Expected()).OK(), "%s: %s", tc.name, match)
			own = own || match.Number.ID == tc.id && match.With[0].ID == tc.mistake && match.Allows(tc.value)
		}
		require.True(t, own, "%s: %v", tc.name, matches)
		require.Contains(t, matches[0].Label(), "+")
		require.Contains(t, matches[0].Title(), " instead of ")
		require.Len(t, matches[0].Fixes(), 2)

		matches, cut = FindNumbersWithMistakes(ended(t), against(t, c, got))
		require.Empty(t, matches)
		require.NotEmpty(t, cut)
	}
}

// A mistake that gives the output alone is not named with a number: not beside a value within a
// hair of the right one, and not beside a number that changes nothing.
func TestNoNumberBesideAMistakeThatIsEnough(t *testing.T) {
	campaign.SkipShort(t)
	for name, id := range map[string]string{
		"sdpa/window": "causal-next-seen", "sdpa/softcap": "scale-twice", "decoder/rope-half": "causal-missing",
		"mha/causal-left-padding": "padding-ignored", "sdpa/causal": "tail-keys-of-zero",
	} {
		p := oracletest.Committed(t, name)
		c := caseOf(p)
		got := oracletest.InFloat32(planted(t, p, id).Run())
		matches, cut := FindNumbersWithMistakes(t.Context(), against(t, c, got))
		require.Empty(t, cut)
		require.Empty(t, matches, "%s: %s", name, id)
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

	// Four are named, and five are too many. The distance of each mistake alone is missed, of the
	// number alone, and of every mistake with other numbers.
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

// A piece has the noise of its batch element, or of all elements.
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

// The values that are tried beside a mistake lie near the right one.
func TestValuesNearTheRightOne(t *testing.T) {
	const wrong = 0.8
	q := ofScale(t, 0.3, wrong, catalogue.Number{})
	found := q.nearRight()
	require.Len(t, found, 1)
	require.InEpsilon(t, wrong, found[0], 1e-5)
	require.InDeltaSlice(t, []float64{0.3 / 16, 0.3 * 16}, []float64{q.least, q.most}, 1e-12)

	// Its neighbour before comes about as near in the part, and the one behind does not.
	found = ofScale(t, 0.3, 0.64, catalogue.Number{}).nearRight()
	require.Len(t, found, 1)
	require.InEpsilon(t, 0.64, found[0], 1e-5)

	q = ofScale(t, 0.3, wrong, catalogue.Number{})
	q.least, q.most = 0.1, 1
	q.nearRight()
	require.Equal(t, []float64{0.1, 1}, []float64{q.least, q.most})

	q = ofScale(t, 0.3, wrong, catalogue.Number{})
	q.part.got = []float64{2} // no scale comes near
	require.Nil(t, q.nearRight())

	q = ofScale(t, 20, 25, catalogue.Number{Step: 1})
	q.least, q.most = 1, 64
	q.part.got[0] = 1 / (1 + math.Exp(-2*1.0)) // as with a scale of 1, which is too far away
	found = q.nearRight()
	require.Equal(t, []float64{12, 28}, []float64{q.least, q.most})
	require.Equal(t, []float64{12, 13, 14}, found)
	q = ofScale(t, 20, 25, catalogue.Number{}) // from 20 on all outputs are equal
	q.least = 20
	require.Len(t, q.nearRight(), 1, "as near as its neighbours, at no distance")
	q = ofScale(t, 32, 5, catalogue.Number{Step: 2})
	q.least, q.most = 2, 64
	q.nearRight()
	require.Equal(t, []float64{16, 48}, []float64{q.least, q.most})

	q = ofScale(t, 0.3, wrong, catalogue.Number{Periodic: true, Usual: []float64{5, 0.7, 0.2, 1.5}})
	require.Equal(t, []float64{0.7, 1.5, 5}, q.nearRight(), "the usual values alone, the nearest first")

	match, ok := ofScale(t, 0.3, wrong, catalogue.Number{}).findNear(newSearch())
	require.True(t, ok)
	require.InEpsilon(t, wrong, match.Value, 1e-5)
	s := newSearch()
	q = ofScale(t, 0.3, wrong, catalogue.Number{Periodic: true, Usual: []float64{0.7, 0.2}})
	_, ok = q.findNear(s)
	require.False(t, ok)
	require.InDelta(t, q.residual(0.7*math.Exp(1e-4)), s.next, 1e-6, "the nearest is missed")
}
