package fit

import (
	"context"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/oracletest"
	"github.com/difftest/difftest/harness/internal/variant"
)

// searched asks for the parameters of the output of a wrong problem.
func searched(p, wrong *oracle.Problem) Result {
	truth := p.Run().Expected()
	got := variant.Variant{}.Run(wrong)
	r, _ := Search(context.Background(), Input{
		Problem: p, Trace: p.Trace, Got: got, Comparison: compare.Outputs(truth.Shape, got, truth),
		Placements: placements,
	})
	return r
}

// Explanations come first, refused questions last, and the result names the parameters.
func TestSearchForParameters(t *testing.T) {
	p := oracletest.Tall(2)
	wrong := p.Clone()
	require.True(t, redraw(wrong, ValueProjection, "weight"))
	r := searched(p, wrong)
	require.Empty(t, r.Head)
	require.Contains(t, r.Reasons[0], "the value weight and bias (v.weight, v.bias)")
	require.True(t, r.Fits[0].Explains())
	require.Equal(t, []string{"value"}, r.Fits[0].Projections())
	last := 0
	for _, f := range r.Fits {
		require.GreaterOrEqual(t, rankOf(f), last)
		last = rankOf(f)
	}
}

// A function has no parameters, and nothing explains three other projections.
func TestSearchThatExplainsNothing(t *testing.T) {
	p := oracletest.Committed(t, "sdpa/causal")
	wrong := p.Clone()
	wrong.Causal = nil
	r := searched(p, wrong)
	require.Empty(t, r.Fits)
	require.Nil(t, r.Reasons)

	p = oracletest.Tall(2)
	wrong = p.Clone()
	for _, m := range []Projection{QueryProjection, ValueProjection, OutputProjection} {
		redraw(wrong, m, "weight")
	}
	r = searched(p, wrong)
	require.Nil(t, r.Reasons)
	for _, f := range r.Fits {
		require.False(t, f.Explains(), f.Freed)
		require.Greater(t, f.Residual, compare.MaxResidual)
	}
}

// If only one head is wrong and no fit says how, the result names the head.
func TestSearchForAHead(t *testing.T) {
	p := oracletest.Committed(t, "mha/causal")
	wrong := p.Clone()
	require.True(t, redraw(wrong, QueryProjection, "head"))
	r := searched(p, wrong)
	require.Nil(t, r.Reasons)
	require.Contains(t, r.Head, "all that is wrong lies in what head")
	require.Contains(t, r.Head, "of o.weight lead")
}

// A case that is too large for a trace is asked for nothing.
func TestSearchOfAnUntraceableCase(t *testing.T) {
	p := oracletest.Tall(2).Element(0)
	wrong := p.Clone()
	require.True(t, redraw(wrong, ValueProjection, "weight"))
	got := variant.Variant{}.Run(wrong)
	truth := p.Run().Expected()
	large := p.Clone()
	large.Layer.Heads, large.Layer.KVHeads = 1<<19, 1<<19
	r, err := Search(t.Context(), Input{
		Problem: large, Trace: func() oracle.Trace { panic("traced") },
		Got: got, Comparison: compare.Outputs(truth.Shape, got, truth),
	})
	require.NoError(t, err)
	require.Len(t, r.Fits, 1)
	require.Equal(t, "any parameter", r.Fits[0].Freed)
	require.Contains(t, r.Fits[0].Refused, "the case is too large")
	require.True(t, math.IsInf(r.Fits[0].Residual, 1))
}

// When the context ends, the search returns no answer.
func TestSearchIsInterrupted(t *testing.T) {
	p := oracletest.Tall(2)
	wrong := p.Clone()
	require.True(t, redraw(wrong, ValueProjection, "weight"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	got := variant.Variant{}.Run(wrong)
	truth := p.Run().Expected()
	r, err := Search(ctx, Input{
		Problem: p, Trace: p.Trace, Got: got, Comparison: compare.Outputs(truth.Shape, got, truth),
	})
	require.ErrorIs(t, err, context.Canceled)
	require.Empty(t, r)
}
