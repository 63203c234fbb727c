package fit

import (
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracletest"
)

// A parameter drawn anew has the same size. A share of the way to it is a straight line, and what
// is not free stays.
func TestRedrawn(t *testing.T) {
	p := oracletest.First(oracletest.Tall(2), 1)
	for _, free := range []freeSet{all(ValueProjection), ofHead(OutputProjection, 1), biasOf(KeyProjection)} {
		m := free.projections[0]
		right := p.Layer.Projections()[m]
		far, half := redrawn(p, free, 1).Layer.Projections()[m], redrawn(p, free, 0.5).Layer.Projections()[m]
		for o := range right.Out {
			for i := range right.In + 1 {
				was, is, between := right.Bias[o], far.Bias[o], half.Bias[o]
				if i < right.In {
					was, is, between = right.Weight[o*right.In+i], far.Weight[o*right.In+i], half.Weight[o*right.In+i]
				}
				require.Equal(t, free.frees(p.Layer, m, o, i), is != was)
				require.InDelta(t, (was+is)/2, between, 1e-12)
			}
		}
	}
	large := p.Clone()
	for i := range large.Layer.Value.Bias {
		large.Layer.Value.Bias[i] *= 100
	}
	anew := redrawn(large, all(ValueProjection), 1).Layer.Value
	require.InEpsilon(t, num.RMS(p.Layer.Value.Weight), num.RMS(anew.Weight), 0.3)
	require.InEpsilon(t, num.RMS(large.Layer.Value.Bias), num.RMS(anew.Bias), 0.6)
}

// A projection is out if its own fit is contradicted or leaves much, of the output's distance and
// beside the best fit. Rows that see one key tell neither queries nor keys apart, and no such
// output can be drawn: they are not tested.
func TestExclude(t *testing.T) {
	p := oracletest.First(oracletest.Tall(2), 2)
	p.Causal = func(query, key int) bool { return key == query }
	f := fitterOf(t, p, p.Run().Value)
	value := tried(all(ValueProjection), "the value weight", true, 0.004, "")
	value.problem = p
	rel := 1.0
	exclude := func(output attempt, query attempt) localisation {
		at := localisation{holding: []attempt{value}, apart: math.Inf(1)}
		key := tried(all(KeyProjection), "", false, 0, "")
		key.contradicted = true
		f.exclude(&at, [][]attempt{
			{tried(biasOf(OutputProjection), "", false, 0, ""), output}, {value}, {query}, {key},
		}, rel)
		return at
	}
	of := func(m Projection, residual float64, refused string) attempt {
		return tried(all(m), "", false, residual, refused)
	}
	const margin = compare.MinMargin * 0.004
	least := math.Max(margin, 0.05)
	at := exclude(of(OutputProjection, least+0.02, ""), of(QueryProjection, least+0.01, ""))
	require.InDelta(t, least+0.01, at.apart, 1e-12)
	require.Empty(t, at.untested)
	at = exclude(of(OutputProjection, least, ""), of(QueryProjection, least-0.01, ""))
	require.InDelta(t, least, at.apart, 1e-12)
	require.Len(t, at.untested, 1)
	require.True(t, at.untested[0].free.is(QueryProjection))
	at = exclude(of(OutputProjection, least, ""), of(QueryProjection, least+1, "few rows"))
	require.InDelta(t, least, at.apart, 1e-12)
	require.Equal(t, "few rows", at.untested[0].Refused)
	require.Len(t, at.holding, 1)
	for _, rel = range []float64{2, 4} { // a share of the distance above the margin of the best fit
		at = exclude(of(OutputProjection, 0.05*rel, ""), of(QueryProjection, 0.0499*rel, ""))
		require.InDelta(t, 0.05*rel, at.apart, 1e-12)
		require.Len(t, at.untested, 1)
	}
}

// A fit of all rows explains no output of another projection where rows suffice. A change that no
// output shows is no other projection.
func TestExplainsOther(t *testing.T) {
	p := oracletest.First(oracletest.Tall(2), 30)
	f := fitterOf(t, p, p.Run().Value)
	require.False(t, f.explainsOther(all(ValueProjection), QueryProjection, 0.5))
	require.True(t, f.explainsOutput(all(ValueProjection), redrawn(p, all(ValueProjection), 1)))
	require.False(t, f.explainsOutput(all(ValueProjection), redrawn(p, all(QueryProjection), 1)))
	require.False(t, f.explainsOutput(all(ValueProjection), p), "the output is right")
	require.True(t, f.explainsOther(all(ValueProjection), ValueProjection, 0.5))
	require.True(t, f.explainsOther(ofHead(ValueProjection, 1), ValueProjection, 0.5))
	require.False(t, f.explainsOther(all(ValueProjection), KeyProjection, 1e-9), "far within the noise")
}

// A query weight drawn anew can saturate the softmax, and then no query weight is found. A part of
// the way to it is tried where the output is much less far off.
func TestExplainsOtherOnTheWay(t *testing.T) {
	p := oracletest.First(oracletest.Tall(2), 60)
	p.Query.Value = slices.Clone(p.Query.Value)
	for at := range p.Query.Value {
		if at%13 == 0 { // all of the right weight reads a feature that is always zero
			p.Query.Value[at] = 0
		}
	}
	w := &p.Layer.Query
	w.Weight = make([]float64, len(w.Weight))
	for o := range w.Out {
		w.Weight[13*o] = 40
	}
	f := fitterOf(t, p, p.Run().Value)
	free := all(QueryProjection)
	far := redrawn(p, free, 1)
	require.False(t, f.explainsOutput(free, far))
	off := compare.Outputs(f.shape, far.Run().Value, f.trace.Output.Expected()).Rel
	for share, want := range map[float64]bool{0.02: true, 0.45: false, 0.6: false} {
		require.Equal(t, want, f.explainsOther(free, QueryProjection, share*off), "%g", share)
	}

	// Weights a fifth as large are found. The same way again would saturate the softmax.
	w.Weight = scaled(0.2, w.Weight)
	f = fitterOf(t, p, p.Run().Value)
	require.False(t, f.explainsOutput(free, redrawn(p, free, 2)))
	require.True(t, f.explainsOther(free, QueryProjection, 1))
}
