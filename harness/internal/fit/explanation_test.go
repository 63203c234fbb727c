package fit

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/oracle"
)

// tried is an attempt with a name, a residual and the reason of a refusal.
func tried(free freeSet, freed string, holds bool, residual float64, refused string) attempt {
	return attempt{Fit: Fit{free: free, Freed: freed, Holds: holds, Residual: residual, MaxZ: 2 * residual, Refused: refused}}
}

// An explanation says what it is left with, what comes next, and what could not be asked.
func TestReasons(t *testing.T) {
	require.Nil(t, localisation{}.reasons())

	value := tried(all(ValueProjection), "the value weight", true, 0.25, "")
	value.Detail = "larger"
	one := localisation{holding: []attempt{value}, apart: math.Inf(1)}
	const begin = "the output is as with the value weight other than it should be and all else right: " +
		"with what least squares finds it is explained to 0.25 (max z 0.5)"
	require.Equal(t, []string{begin, "larger"}, one.reasons())
	one.apart = 0.75
	require.Equal(t, begin+"; freeing any other leaves 0.75 or more", one.reasons()[0])
	one.holding[0].Detail = ""
	require.Len(t, one.reasons(), 1)

	output := tried(all(OutputProjection), "the output weight", true, 0.125, "")
	output.Detail = "smaller"
	two := localisation{holding: []attempt{output, value}, apart: math.Inf(1)}
	require.Equal(t, []string{
		"the output is as with the output weight, or with the value weight other than it should be and all else right: " +
			"with what least squares finds it is explained to 0.25 (max z 0.5)",
		"this case cannot tell these apart",
	}, two.reasons())

	one.confusable = []Projection{QueryProjection, KeyProjection}
	one.tried = []attempt{
		tried(biasOf(QueryProjection), "", false, 1, "a bias"),
		tried(all(QueryProjection), "", false, 1, ""),
		tried(all(QueryProjection), "", false, 1, "few rows"),
		tried(all(ValueProjection), "", false, 1, "another"),
	}
	one.untested = []attempt{
		tried(all(KeyProjection), "the key weight", false, 0.5, "few keys"),
		tried(all(OutputProjection), "the output weight", false, 0.5, ""),
	}
	require.Equal(t, []string{
		"the query weight or bias could not be asked (few rows), and might give such an output on this case",
		"the key weight or bias could not be asked (it comes too near), and might give such an output on this case",
		"the key weight: could not be asked (few keys); drawn anew, it would not be taken for this",
		"the output weight: could not be asked (it leaves 0.5); drawn anew, it would not be taken for this",
	}, one.reasons()[1:])
}

// The description of a found weight compares the free part with the right one: its size, and the
// cosine between them. Projections that the case cannot tell apart are marked, and no part of them.
func TestDescribe(t *testing.T) {
	layer := func(value, output []float64) *oracle.Layer {
		return &oracle.Layer{
			Heads: 2, KVHeads: 2, Value: oracle.Linear{In: 2, Out: 2, Weight: value, Bias: []float64{7, 7}},
			Output: oracle.Linear{In: 2, Out: 2, Weight: output},
		}
	}
	right := layer([]float64{3, 4, 1, 0}, []float64{3, 1, 4, 0})
	found := &oracle.Problem{Layer: layer([]float64{8, -6, 5, 5}, []float64{6, 9, 8, 9})}
	describe := func(free freeSet) (localisation, Fit) {
		x := tried(free, "this", true, 0, "")
		x.problem = found
		at := localisation{tried: []attempt{tried(free, "that", true, 0, ""), x}, holding: []attempt{x}}
		at.describe(right)
		require.False(t, at.tried[0].Narrowest)
		require.Empty(t, at.tried[0].Detail)
		require.True(t, at.tried[1].Narrowest)
		require.Equal(t, at.tried[1].Detail, at.holding[0].Detail)
		return at, at.tried[1].Fit
	}
	_, fit := describe(ofHead(ValueProjection, 0))
	require.Equal(t, "the weight found is 2 times as large as the right one, and has a cosine of 0.000 with it", fit.Detail)
	_, fit = describe(ofHead(OutputProjection, 0))
	require.Equal(t, "the weight found is 2 times as large as the right one, and has a cosine of 1.000 with it", fit.Detail)
	_, fit = describe(all(ValueProjection)) // sizes of the roots of 150 and 26, and a product of 5
	require.Equal(t, "the weight found is 2.4 times as large as the right one, and has a cosine of 0.080 with it", fit.Detail)
	for _, free := range []freeSet{
		biasOf(ValueProjection), all(QueryProjection), all(KeyProjection), all(ValueProjection, OutputProjection),
	} {
		_, fit = describe(free)
		require.Empty(t, fit.Detail)
	}

	at := localisation{confusable: []Projection{KeyProjection}}
	for _, free := range []freeSet{all(QueryProjection), all(KeyProjection), biasOf(KeyProjection), ofHead(KeyProjection, 0)} {
		at.tried = append(at.tried, tried(free, "", false, 0, ""))
	}
	at.describe(right)
	for i, x := range at.tried {
		require.Equal(t, i == 1, x.Confusable)
	}
}

// A fit is named if it is the narrowest explanation, or if the case cannot tell it apart. A stored
// fit has its projections by name.
func TestNamed(t *testing.T) {
	for _, tc := range []struct {
		fit  Fit
		want bool
	}{
		{Fit{Holds: true, Narrowest: true}, true},
		{Fit{Holds: true}, false},
		{Fit{Narrowest: true}, false},
		{Fit{Holds: true, Narrowest: true, Refused: "few rows"}, false},
		{Fit{Confusable: true}, true},
		{Fit{}, false},
	} {
		require.Equal(t, tc.want, tc.fit.Named(), "%+v", tc.fit)
	}
	stored, ok := Fit{free: all(QueryProjection)}.WithProjections([]string{"query", "output"})
	require.True(t, ok)
	require.Equal(t, []string{"query", "output"}, stored.Projections())
	require.Equal(t, all(QueryProjection, OutputProjection), stored.free)
	_, ok = Fit{}.WithProjections([]string{"value", "none"})
	require.False(t, ok)
}

// No explanation is left where one would explain others as well. Refused fits keep their reason.
func TestWithdraw(t *testing.T) {
	at := localisation{
		tried: []attempt{
			tried(all(ValueProjection), "", true, 0, ""), tried(all(KeyProjection), "", false, 0, "few rows"),
			tried(all(QueryProjection), "", false, 0, ""),
		},
		holding: make([]attempt, 1), confusable: []Projection{1}, untested: make([]attempt, 1),
	}
	at.withdraw()
	require.False(t, at.tried[0].Holds)
	require.Equal(t, "on this case it would explain other maps, drawn anew, as well", at.tried[0].Refused)
	require.Equal(t, "few rows", at.tried[1].Refused)
	require.Empty(t, at.tried[2].Refused)
	require.Nil(t, at.holding)
	require.Nil(t, at.confusable)
	require.Nil(t, at.untested)
}
