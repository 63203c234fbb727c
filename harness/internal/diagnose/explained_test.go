package diagnose

import (
	"context"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/fit"
	"github.com/difftest/difftest/harness/internal/replay"
)

// A class stands alone, or beside rounding. Two others give none.
func TestOnly(t *testing.T) {
	set := func(classes ...Class) map[Class]bool {
		all := map[Class]bool{}
		for _, c := range classes {
			all[c] = true
		}
		return all
	}
	require.Equal(t, Unclear, only(set()))
	require.Equal(t, Rounding, only(set(Rounding)))
	require.Equal(t, WrongLayout, only(set(WrongLayout)))
	require.Equal(t, WrongLayout, only(set(WrongLayout, Rounding)))
	require.Equal(t, Unclear, only(set(WrongLayout, MissingFeature)))
	require.Equal(t, Unclear, only(set(WrongLayout, MissingFeature, Rounding)))
}

func TestReasonsOfMistakes(t *testing.T) {
	require.Nil(t, explained(nil))
	scale := replay.Match{
		Mistakes: []catalogue.Mistake{{ID: "a", Title: "no scale", Kind: catalogue.Missing}},
		Residual: 0.00123, MaxZ: 2.5, Next: math.Inf(1),
	}
	f := explained([]replay.Match{scale})
	require.Equal(t, MissingFeature, f.class)
	require.Equal(t, []replay.Match{scale}, f.matches)
	require.Equal(t, []string{
		"the output is this case computed with no scale",
		"residual 0.0012 (max z 2.5); no other mistake was tried",
	}, f.reasons)

	scale.Next, scale.Trace = 0.25, 0.5
	heads := replay.Match{Mistakes: []catalogue.Mistake{{ID: "b", Title: "heads mixed", Kind: catalogue.Layout}}}
	f = explained([]replay.Match{scale, heads})
	require.Equal(t, Unclear, f.class)
	require.Equal(t, []string{
		"the output is this case computed with no scale, or with heads mixed",
		"residual 0.0012 (max z 2.5); the next mistake leaves 0.25",
		"its errors lead where rounded inputs and parameters lead: cosine 0.50, 0 by chance",
		"this case cannot tell these apart",
	}, f.reasons)
}

func TestReasonsOfNumbers(t *testing.T) {
	require.Nil(t, explainedByNumbers(nil))
	one := replay.NumberMatch{Value: 2, Right: 1, Residual: 0.00123, MaxZ: 2.5, Least: 2, Most: 2.0000001}
	f := explainedByNumbers([]replay.NumberMatch{one})
	require.Equal(t, WrongNumber, f.class)
	require.Equal(t, []replay.NumberMatch{one}, f.numbers)
	require.Equal(t, []string{one.String(), "with it this case gives the output: residual 0.0012 (max z 2.5)"}, f.reasons)

	other := one
	other.Least, other.Most, other.Alike = 1.5, 2.5, "so does another base."
	f = explainedByNumbers([]replay.NumberMatch{other, one})
	require.Equal(t, []string{
		one.String() + ", or " + one.String(),
		"with it this case gives the output: residual 0.0012 (max z 2.5); from 1.5 to 2.5 is as good",
		"so does another base.",
		"this case cannot tell these apart",
	}, f.reasons)

	both := other
	both.Beside = &replay.NumberMatch{Value: 5, Right: 3, Least: 4, Most: 6, Alike: "so does another scale."}
	f = explainedByNumbers([]replay.NumberMatch{both})
	require.Equal(t, []string{
		"the  is 2, the case says 1, and the  is 5, the case says 3",
		"with both this case gives the output: residual 0.0012 (max z 2.5); " +
			"as good:  from 1.5 to 2.5,  from 4 to 6",
		"so does another base.",
		"so does another scale.",
	}, f.reasons)
	for _, alike := range []string{"", both.Alike} { // nothing, or the same
		both.Beside.Alike = alike
		f = explainedByNumbers([]replay.NumberMatch{both})
		require.Equal(t, []string{"so does another base."}, f.reasons[2:])
	}
}

// A case without a graph is not searched in one.
func TestNoGraphIsNotSearched(t *testing.T) {
	mistakes := inGraph(func(*replay.Module, context.Context, []float64) ([]replay.Match, replay.Cut) {
		return nil, "searched"
	})
	numbers := numberInGraph(func(*replay.Module, context.Context, []float64) ([]replay.NumberMatch, replay.Cut) {
		return nil, "searched"
	})
	for _, run := range []func(context.Context, *input, fit.Result) answer{
		mistakes, numbers, mistakeInGraph, pairsInGraph, valuesInGraph,
	} {
		require.Empty(t, run(t.Context(), &input{}, fit.Result{}))
	}
	in := &input{module: &replay.Module{}}
	require.EqualValues(t, "searched", mistakes(t.Context(), in, fit.Result{}).cut)
	require.EqualValues(t, "searched", numbers(t.Context(), in, fit.Result{}).cut)
}

// Least squares needs a finite output, and a batch element that is wrong.
func TestLeastSquaresIsLeftOut(t *testing.T) {
	in := &input{comparison: compare.Comparison{NonFinite: 1}}
	in.structure.WrongBatches = []int{0}
	require.Empty(t, leastSquares(t.Context(), in, fit.Result{}))
	require.Empty(t, leastSquares(t.Context(), &input{}, fit.Result{}))
	require.Empty(t, otherParameters(t.Context(), in, fit.Result{}))
	found := otherParameters(t.Context(), in, fit.Result{Reasons: []string{"W_Q"}}).finding
	require.Equal(t, WrongWeights, found.class)
	require.Equal(t, []string{"W_Q"}, found.reasons)
}
