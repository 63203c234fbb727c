package fit

import (
	"context"
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/oracletest"
)

// scaledBy is the factor of values or output weights in the tests of twins.
const scaledBy = 1.5

// scaleValues multiplies the values from a row of the weight on.
func scaleValues(l *oracle.Layer, from int) {
	for o := from; o < l.Value.Out; o++ {
		for i := range l.Value.In {
			l.Value.Weight[o*l.Value.In+i] *= scaledBy
		}
		l.Value.Bias[o] *= scaledBy
	}
}

// scaleOutput multiplies the output weight from a column on.
func scaleOutput(l *oracle.Layer, from int) {
	for o := range l.Output.Out {
		for i := from; i < l.Output.In; i++ {
			l.Output.Weight[o*l.Output.In+i] *= scaledBy
		}
	}
}

// Values times a number are told as other value parameters or other output weights, because no
// case tells the two apart.
func TestValuesOrOutput(t *testing.T) {
	for _, scale := range []func(*oracle.Layer, int){scaleValues, scaleOutput} {
		p, wrong := oracletest.Tall(2), oracletest.Tall(2)
		scale(wrong.Layer, 0)
		at, seen := localised(p, p.Trace(), oracletest.InFloat32(wrong.Run()))
		require.True(t, seen)
		require.Equal(t, []Projection{ValueProjection, OutputProjection}, at.named())
		reasons := at.reasons()
		require.Len(t, reasons, 2)
		require.Contains(t, reasons[0], "as with the output weight and bias (o.weight, o.bias), "+
			"or with the value weight and bias (v.weight, v.bias) other than it should be")
		require.Equal(t, "this case cannot tell these apart", reasons[1])
		require.False(t, math.IsInf(at.apart, 1))
		require.Contains(t, reasons[0], fmt.Sprintf("; freeing any other leaves %.2g or more", at.apart))
		asked := map[string]int{}
		for _, x := range at.tried {
			asked[x.Freed]++
		}
		require.Equal(t, map[string]int{
			"the query bias (q.bias)": 1, "the query weight and bias (q.weight, q.bias)": 1,
			"the key bias (k.bias)": 1, "the key weight and bias (k.weight, k.bias)": 1,
			"the value bias (v.bias)": 1, "the value weight and bias (v.weight, v.bias)": 1,
			"the output bias (o.bias)": 1, "the output weight and bias (o.weight, o.bias)": 1,
		}, asked)
	}
}

// Where rows are too few to ask about the output weight, the twin of other values answers for it.
func TestTwinOfAQuestionThatWasRefused(t *testing.T) {
	p, wrong := oracletest.First(oracletest.Tall(1), 3), oracletest.First(oracletest.Tall(1), 3)
	scaleValues(wrong.Layer, 0)
	got := oracletest.InFloat32(wrong.Run())
	require.Contains(t, fitterOf(t, p, got).fit(all(OutputProjection)).Refused, "12 rows that see a key and differ")
	at, seen := localised(p, p.Trace(), got)
	require.True(t, seen)
	require.Equal(t, []Projection{ValueProjection, OutputProjection}, at.named(), "%+v", at.tried)
	count := 0
	for _, x := range at.tried {
		if x.free.is(OutputProjection) && x.free.whole() {
			count++
			require.True(t, x.Holds)
		}
	}
	require.Equal(t, 1, count)
}

// The twin of other values has the output weights with the same effect, and the reverse.
func TestTwin(t *testing.T) {
	for _, p := range []*oracle.Problem{oracletest.Tall(1), oracletest.Tall(2), grouped(60)} {
		wrong, right := p.Clone(), p.Clone().Layer
		scaleValues(wrong.Layer, 0)
		f := &fitter{
			ctx: context.Background(), p: p, trace: p.Trace(), shape: p.Run().Shape,
			got: oracletest.InFloat32(wrong.Run()), placements: placements,
		}
		values := f.fit(freeSet{projections: []Projection{ValueProjection}})
		require.True(t, values.Explains())
		output := f.twin(values)
		require.True(t, output.Holds)
		require.Equal(t, "the output weight and bias (o.weight, o.bias)", output.Freed)
		require.Less(t, output.Residual, 1e-6)
		scaleOutput(right, 0)
		require.InDeltaSlice(t, right.Output.Weight, output.problem.Layer.Output.Weight, 1e-4)
		require.InDeltaSlice(t, right.Output.Bias, output.problem.Layer.Output.Bias, 1e-4)
		require.Equal(t, right.Value, output.problem.Layer.Value, "the values stay")

		back := f.twin(output)
		require.True(t, back.Holds)
		require.Equal(t, "the value weight and bias (v.weight, v.bias)", back.Freed)
		require.InDeltaSlice(t, wrong.Layer.Value.Weight, back.problem.Layer.Value.Weight, 1e-4)
		require.InDeltaSlice(t, wrong.Layer.Value.Bias, back.problem.Layer.Value.Bias, 1e-4)

		of := func(wrong *oracle.Problem, free freeSet) attempt {
			var x attempt
			x.free, x.problem = free, wrong
			return x
		}
		none := f.twin(of(nil, freeSet{projections: []Projection{ValueProjection}}))
		require.False(t, none.Holds, "nothing to follow")
		none = f.twin(of(wrong, freeSet{projections: []Projection{QueryProjection}}))
		require.False(t, none.Holds, "queries have no twin")
		none = f.twin(of(wrong, freeSet{projections: []Projection{ValueProjection}, bias: true}))
		require.False(t, none.Holds, "a bias has no twin")
	}
}

// The twin of one head's values is the part of the output weight that reads the head.
func TestTwinOfAHead(t *testing.T) {
	p, wrong := oracletest.Tall(2), oracletest.Tall(2)
	p.Layer.Value.Bias, wrong.Layer.Value.Bias = nil, nil
	half := wrong.Layer.Value.Out / 2
	for i := half * wrong.Layer.Value.In; i < len(wrong.Layer.Value.Weight); i++ {
		wrong.Layer.Value.Weight[i] *= scaledBy
	}
	f := &fitter{
		ctx: context.Background(), p: p, trace: p.Trace(), shape: p.Run().Shape,
		got: oracletest.InFloat32(wrong.Run()), placements: placements,
	}
	values := f.fit(freeSet{projections: []Projection{ValueProjection}, heads: []int{1}})
	require.True(t, values.Explains())
	output := f.twin(values)
	require.True(t, output.Holds)
	require.Equal(t, []int{1}, output.free.heads)
	require.Contains(t, output.Freed, "head 1")
	back := f.twin(output)
	require.True(t, back.Holds)
	require.Equal(t, []int{1}, back.free.heads)
}

// A value bias moves the output bias, so the twin of one head's values with a bias has all of the
// output weight. The twin of two query heads of one key head is the key head's values.
func TestTwinsOfGroupedHeads(t *testing.T) {
	p := grouped(20)
	f := fitterOf(t, p, p.Run().Value)
	of := func(free freeSet) attempt { return attempt{Fit: Fit{free: free}, problem: p} }
	require.Equal(t, all(OutputProjection), f.twin(of(ofHead(ValueProjection, 1))).free)
	last := freeSet{projections: []Projection{OutputProjection}, heads: []int{2, 3}}
	require.Equal(t, ofHead(ValueProjection, 1), f.twin(of(last)).free)
	require.Equal(t, all(ValueProjection), f.twin(of(all(OutputProjection))).free)
	p.Layer.Value.Bias = nil
	require.Equal(t, last, f.twin(of(ofHead(ValueProjection, 1))).free)
	none := f.twin(of(all(ValueProjection, OutputProjection)))
	require.Nil(t, none.problem)
}

// A head that alone is wrong is named alone.
func TestOneHeadIsNarrowed(t *testing.T) {
	for _, m := range []Projection{ValueProjection, OutputProjection} {
		p, wrong := oracletest.Tall(2), oracletest.Tall(2)
		require.True(t, redraw(wrong, m, "head"))
		at, seen := localised(p, p.Trace(), oracletest.InFloat32(wrong.Run()))
		require.True(t, seen)
		require.Equal(t, []Projection{m}, at.named())
		require.Equal(t, []int{1}, at.holding[0].free.heads)
		require.Contains(t, at.reasons()[1], "times as large as the right one")
		narrowest := 0
		for _, x := range at.tried {
			if x.Narrowest {
				narrowest++
				require.Equal(t, at.holding[0].Freed, x.Freed)
				require.Equal(t, at.holding[0].Detail, x.Detail)
			}
		}
		require.Equal(t, 1, narrowest)
	}
}

// Explanations rank before answers, and answers before refused questions.
func TestRankOf(t *testing.T) {
	require.Equal(t, 0, rankOf(Fit{Holds: true}))
	require.Equal(t, 1, rankOf(Fit{}))
	require.Equal(t, 2, rankOf(Fit{Refused: "too few rows"}))
}
