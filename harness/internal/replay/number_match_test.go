package replay

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/oracle"
)

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

// The words of a wrong number, alone, in some modules, and with a mistake.
func TestWordsOfANumber(t *testing.T) {
	m := NumberMatch{
		Number: catalogue.Number{ID: "base", Title: "RoPE base", Fix: "Read it."}, Value: 1e6, Right: 10000,
	}
	require.Equal(t, "the RoPE base is 1e+06, the case says 10000", m.String())
	require.Equal(t, "the RoPE base 1e+06 instead of 10000", m.Title())
	require.Equal(t, []string{"Read it."}, m.Fixes())
	require.Equal(t, []string{"base"}, m.IDs())
	require.Equal(t, "base 1e+06", m.Label())
	m.Where = "layers.*"
	m.With = []catalogue.Mistake{{ID: "late", Title: "keys too late", Fix: "Be early."}}
	require.Equal(t, "the RoPE base is 1e+06, the case says 10000, in layers.* alone; "+
		"besides, the output is computed with keys too late", m.String())
	require.Equal(t, "the RoPE base 1e+06 instead of 10000 in layers.* alone, and keys too late", m.Title())
	require.Equal(t, []string{"Read it.", "Be early."}, m.Fixes())
	require.Equal(t, []string{"base", "late"}, m.IDs())
	require.Equal(t, "base 1e+06+late", m.Label())
	require.Equal(t, map[string]float64{"base": 1e6}, m.Values())
}

// A value explains the output if it is within the bounds, or outside of them by less than a
// millionth.
func TestAllows(t *testing.T) {
	for _, tc := range []struct {
		least, most, value float64
		want               bool
	}{
		{2, 4, 2 * (1 - 9e-7), true}, {2, 4, 2 * (1 - 11e-7), false}, {2, 4, 3, true},
		{2, 4, 4 * (1 + 9e-7), true}, {2, 4, 4 * (1 + 11e-7), false},
		{-4, -2, -4 * (1 + 9e-7), true}, {-4, -2, -4 * (1 + 11e-7), false}, {-4, -2, -2 * (1 - 9e-7), true},
		{0, 0, 0, true},
	} {
		require.Equal(t, tc.want, NumberMatch{Least: tc.least, Most: tc.most}.Allows(tc.value), "%+v", tc)
	}
}

// Numbers are named only if they all come much nearer than anything else.
func TestMarginOfNumbers(t *testing.T) {
	of := func(residuals ...float64) (list []NumberMatch) {
		for _, r := range residuals {
			list = append(list, NumberMatch{Residual: r})
		}
		return list
	}
	kept := withMargin(of(0.5, 1), compare.MinMargin)
	require.Equal(t, []NumberMatch{{Residual: 0.5, Next: compare.MinMargin}, {Residual: 1, Next: compare.MinMargin}}, kept)
	require.Nil(t, withMargin(of(0.5, 1.01), compare.MinMargin))
}

// A usual value is named if it explains the output, or else the value that was found. Of whole
// numbers the one that comes nearest in the noise is named.
func TestChosenValue(t *testing.T) {
	const wrong = 0.8
	q := ofScale(t, 0.3, wrong, catalogue.Number{Usual: []float64{0.75, wrong}})
	found := compare.Comparison{Rel: 5}
	value, c := q.chosen(NumberMatch{Value: 0.8 + 1e-9, Least: 0.79, Most: 0.81}, found)
	require.InDelta(t, wrong, value, 0)
	require.Less(t, c.Rel, 1e-12)
	value, c = q.chosen(NumberMatch{Value: 0.8 + 1e-9, Least: 0.74, Most: 0.81}, found)
	require.InDelta(t, 0.8+1e-9, value, 0, "the usual value 0.75 does not explain the output")
	require.Equal(t, found, c)

	q = ofScale(t, 1, 3, catalogue.Number{Step: 1})
	_, far := func() (float64, compare.Comparison) { c, _ := q.explains(5); return 5, c }()
	value, c = q.chosen(NumberMatch{Value: 5, Least: 2, Most: 5}, far)
	require.InDelta(t, 3, value, 0)
	require.Less(t, c.RMSZ, far.RMSZ)
	value, c = q.chosen(NumberMatch{Value: 5, Least: 4, Most: 6}, far)
	require.InDelta(t, 4, value, 0, "the nearest of those that are allowed")
	require.Less(t, c.RMSZ, far.RMSZ)
	value, _ = q.chosen(NumberMatch{Value: 2, Least: 1, Most: 3}, far)
	require.InDelta(t, 3, value, 0, "the greatest of those that are allowed")
	q = ofScale(t, 30, 40, catalogue.Number{Step: 1})
	same, _ := q.explains(40)
	value, _ = q.chosen(NumberMatch{Value: 40, Least: 38, Most: 42}, same)
	require.InDelta(t, 40, value, 0, "of equals the one that was found")
	q = ofScale(t, 1, 3, catalogue.Number{Step: 1})
	value, c = q.chosen(NumberMatch{Value: 5, Least: 5, Most: 6}, far)
	require.InDelta(t, 5, value, 0)
	require.Equal(t, far, c)
}

// A value near the right side is made better before it is confirmed. One that is far is missed, and
// so is a whole number that does not explain the output.
func TestConfirmANumber(t *testing.T) {
	const wrong = 0.8
	q := ofScale(t, 0.3, wrong, catalogue.Number{})
	s := newSearch()
	m, ok := q.confirm(s, wrong*(1+2e-5))
	require.True(t, ok)
	require.InEpsilon(t, wrong, m.Value, 1e-6)
	require.InDelta(t, 0.3, m.Right, 0)
	require.True(t, m.Least < wrong && wrong < m.Most, "%g to %g", m.Least, m.Most)
	require.InEpsilon(t, wrong, m.Least, 1e-4)
	require.InEpsilon(t, wrong, m.Most, 1e-4)
	require.Less(t, m.Residual, 1e-6)
	require.Less(t, m.MaxZ, 16.)
	require.Empty(t, m.Alike)
	require.True(t, math.IsInf(s.next, 1))

	_, ok = q.confirm(s, 1.2)
	require.False(t, ok)
	require.InDelta(t, q.residual(1.2), s.next, 1e-9, "too far to be made better")
	_, ok = q.confirm(s, 0.9)
	require.False(t, ok)
	require.InDelta(t, q.residual(0.9*math.Exp(-1e-4)), s.next, 1e-6, "made as much better as a search may")

	s = newSearch()
	q = ofScale(t, 1, 3, catalogue.Number{Step: 1})
	_, ok = q.confirm(s, 4)
	require.False(t, ok)
	require.InDelta(t, q.residual(4), s.next, 1e-9)
	m, ok = q.confirm(s, 3)
	require.True(t, ok)
	require.Equal(t, []float64{3, 3, 3}, []float64{m.Value, m.Least, m.Most})

	// Whole numbers have bounds in single steps, and a usual value or the least error decides.
	q = ofScale(t, 30, 40, catalogue.Number{Step: 1})
	q.least, q.most = 37, 43
	m, ok = q.confirm(newSearch(), 40)
	require.True(t, ok)
	require.Equal(t, []float64{37, 40, 43}, []float64{m.Least, m.Value, m.Most})
	q = ofScale(t, 0.3, wrong, catalogue.Number{Usual: []float64{wrong}})
	q.number.Alike = func(*oracle.Problem) string { return "A sentence." }
	m, ok = q.confirm(newSearch(), wrong*(1+2e-5))
	require.True(t, ok)
	require.InDelta(t, wrong, m.Value, 0)
	require.Equal(t, "A sentence.", m.Alike)

	// Nothing bounds the value: every scale above 20 gives the same output.
	q = ofScale(t, 0.3, 40, catalogue.Number{})
	_, ok = q.confirm(newSearch(), 40)
	require.False(t, ok)
	q = ofScale(t, 0.3, 1e-12, catalogue.Number{})
	q.least = 1e-13
	_, ok = q.confirm(newSearch(), 1e-12)
	require.False(t, ok)
	q.number.Vanishes = true
	m, ok = q.confirm(newSearch(), 1e-12)
	require.True(t, ok)
	require.Zero(t, m.Least)
}

// A number without a bound is open at the end of its range. One that vanishes has 0 for a bound
// downwards, and none upwards.
func TestBoundsOfVanishingNumbers(t *testing.T) {
	q := ofScale(t, 0.3, 1e-12, catalogue.Number{})
	q.least = 1e-13
	last, ok := q.bound(1e-12, -1)
	require.False(t, ok)
	require.InDelta(t, 1e-13, last, 0)
	last, ok = q.bound(1e-12, 1)
	require.True(t, ok)
	require.True(t, last > 1e-12 && last < 1e-3, last)
	q.number.Vanishes = true
	last, ok = q.bound(1e-12, -1)
	require.True(t, ok)
	require.Zero(t, last)

	q = ofScale(t, 0.3, 40, catalogue.Number{Vanishes: true})
	last, ok = q.bound(40, 1)
	require.False(t, ok)
	require.InDelta(t, 64, last, 0)
	last, ok = q.bound(40, -1)
	require.True(t, ok)
	require.True(t, last > 5 && last < 20, last)

	// The right value is the end, if there is one on the way.
	q = ofScale(t, 0.3, 0.8, catalogue.Number{})
	last, ok = q.bound(0.8, -1)
	require.True(t, ok)
	require.InDelta(t, q.boundary(0.8, 0.3), last, 0)
	last, ok = q.bound(0.8, 1)
	require.True(t, ok)
	require.InDelta(t, q.boundary(0.8, 64), last, 0)
	q.right = 0.8
	last, ok = q.bound(0.8, 1)
	require.True(t, ok)
	require.InDelta(t, q.boundary(0.8, 64), last, 0)
	q = ofScale(t, 50, 40, catalogue.Number{})
	last, ok = q.bound(40, 1)
	require.True(t, ok)
	require.True(t, last > 40 && last <= 50, last)
}

// A number that is found leaves no other distance behind. One that is not found leaves the nearest.
func TestFindANumber(t *testing.T) {
	const wrong = 0.8
	s := newSearch()
	m, ok := ofScale(t, 0.3, wrong, catalogue.Number{}).find(s)
	require.True(t, ok)
	require.InEpsilon(t, wrong, m.Value, 1e-5)
	require.True(t, math.IsInf(s.next, 1))
	q := ofScale(t, 0.3, wrong, catalogue.Number{})
	q.most = 0.7
	_, ok = q.find(s)
	require.False(t, ok)
	require.InDelta(t, q.residual(0.7*math.Exp(1e-4)), s.next, 1e-6)
	s = newSearch()
	q = ofScale(t, 1, 3, catalogue.Number{Step: 1})
	q.least = 1
	m, ok = q.find(s)
	require.True(t, ok)
	require.InDelta(t, 3, m.Value, 0)
}

// ofOutputs searches for a whole number whose values 1, 2, ... give some outputs between 0 and 1.
func ofOutputs(t *testing.T, got float64, outputs ...float64) *numberSearch {
	t.Helper()
	q := ofScale(t, 0.3, math.Log(got/(1-got))/2, catalogue.Number{Step: 1})
	q.number.Set = func(p *oracle.Problem, v float64) {
		output := outputs[int(v)-1]
		p.Scale = math.Log(output/(1-output)) / 2
	}
	q.right, q.least, q.most = float64(len(outputs)+1), 1, float64(len(outputs))
	return q
}

// The value that comes nearest in units of the noise may have a greater residual than the next one:
// one is too far by the limit of 0.05, and the other is not. A search goes on to the next value. A
// search beside a mistake ends there.
func TestTheNextValueMayBeNear(t *testing.T) {
	const got = 0.8
	q := ofOutputs(t, got, 0.951*got, 1.05*got, 0.1)
	s := newSearch()
	_, ok := q.find(s)
	require.False(t, ok)
	require.InDelta(t, 0.05/1.05, s.next, 1e-9)
	s = newSearch()
	_, ok = q.findNear(s)
	require.False(t, ok)
	require.InDelta(t, 0.049/0.951, s.next, 1e-9)
}
