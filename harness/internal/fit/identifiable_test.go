package fit

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/oracletest"
	"github.com/difftest/difftest/harness/internal/variant"
)

// With fewer rows than unknowns, least squares explains every output, whatever caused it. Such a
// fit is refused, and the reason gives the figures.
func TestTooFewRowsAreRefused(t *testing.T) {
	p := oracletest.Tall(2).Element(0)
	wrong := p.Clone()
	redraw(wrong, QueryProjection, "weight")
	f := &fitter{
		ctx: t.Context(), p: p, trace: p.Trace(), shape: p.Run().Shape, got: variant.Variant{}.Run(wrong),
		placements: placements,
	}
	free := all(OutputProjection)
	start := attempt{Fit: Fit{Residual: math.Inf(1), free: free}}
	vacuous := f.solve(start, newJacobian(p, free).blocks(), p, 1)
	require.True(t, vacuous.Holds, "an output weight explains what another query weight gave")

	refused := f.fit(free)
	require.False(t, refused.Explains())
	const reason = "4 rows that see a key and differ, and 13 unknowns of rank 4: at least 7 are needed"
	require.Equal(t, reason, refused.Refused)
	for _, tc := range []struct {
		free   freeSet
		reason string
	}{
		{all(ValueProjection), "4 different mixtures of values in head 0, and 11 unknowns of rank 4"},
		{all(QueryProjection), "12 differences of scores in head 0, and 84 unknowns"},
		{all(KeyProjection), "12 differences of scores in head 0, and 72 unknowns"},
		{all(ValueProjection, OutputProjection), "4 rows that see a key and differ, and 21 unknowns"},
	} {
		require.Contains(t, f.fit(tc.free).Refused, tc.reason)
	}
}

// Equal rows count once: many batch elements of one input are no surplus.
func TestEqualRowsAreNoSurplus(t *testing.T) {
	p := oracletest.Tall(2)
	for _, a := range []*oracle.Array{&p.Query, &p.Key, &p.Value} {
		n := len(a.Value) / a.Shape[0]
		for i := range a.Value {
			a.Value[i] = a.Value[i%n]
		}
	}
	wrong := p.Clone()
	redraw(wrong, QueryProjection, "weight")
	at, seen := localised(p, p.Trace(), variant.Variant{}.Run(wrong))
	require.True(t, seen)
	require.Empty(t, at.named())
	for _, x := range at.tried {
		if x.free.whole() {
			require.NotEmpty(t, x.Refused, x.Freed)
		}
	}
}

// A fit of a large case is refused.
func TestLargeCasesAreRefused(t *testing.T) {
	l := &oracle.Layer{Heads: 12, KVHeads: 12}
	for _, linear := range l.Projections() {
		*linear = oracle.Linear{In: 768, Out: 768, Bias: make([]float64, 768)}
	}
	for m := QueryProjection; m <= OutputProjection; m++ {
		x := &jacobian{p: &oracle.Problem{Layer: l}, weight: make([]float64, 2048), free: all(m)}
		_, reason := x.identifiable()
		require.Contains(t, reason, "the case is too large", m)
	}
}
