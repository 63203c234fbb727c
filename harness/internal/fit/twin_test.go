package fit

import (
	"context"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/mat"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/compare"
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

// A mapping is the one matrix that turns some rows into others. Rows must be three more than
// columns, and must not depend on each other.
func TestMapping(t *testing.T) {
	from := [][]float64{{1, 0}, {0, 1}, {1, 1}, {1, -1}, {2, 1}}
	var to [][]float64
	for _, row := range from {
		to = append(to, []float64{2*row[0] + row[1], 3 * row[1], row[0]})
	}
	by := mapping(from, to)
	rows, columns := by.Dims()
	require.Equal(t, []int{2, 3}, []int{rows, columns})
	require.InDeltaSlice(t, []float64{2, 0, 1, 1, 3, 0}, by.RawMatrix().Data, 1e-12)
	require.Equal(t, []float64{1*5 + 2*6, 3*5 + 4*6}, times(mat.NewDense(3, 2, []float64{1, 2, 3, 4, 5, 6}), []float64{5, 6}))
	require.Nil(t, mapping(from[:4], to[:4]))
	require.Nil(t, mapping(nil, nil))
	for _, row := range from {
		row[1] = row[0]
	}
	require.Nil(t, mapping(from, to))
	require.Equal(t, []float64{3, -6}, scaled(3, []float64{1, -2}))
}

// The output shows a value by all weights of the query heads that share it.
func TestShownOf(t *testing.T) {
	f := &fitter{trace: oracle.Trace{Group: 2, Heads: 4, KVHeads: 2, Queries: 2, Keys: 3, Weights: make([]float64, 24)}}
	for _, at := range []int{14, 17, 20, 23} { // key 2 of the queries of heads 2 and 3
		f.trace.Weights[at] = float64(at)
	}
	require.InDelta(t, math.Sqrt(196+289+400+529), f.shownOf(1, 2), 1e-12)
	require.Zero(t, f.shownOf(1, 1))
	require.Zero(t, f.shownOf(0, 2))
}

// A shift of all values gives another output bias, if there is such a shift.
func TestValueShift(t *testing.T) {
	for _, kvHeads := range []int{1, 2} {
		p := oracletest.First(oracletest.Tall(kvHeads), 1)
		w := p.Layer.Output
		shift := make([]float64, p.Layer.Value.Out)
		for at := range shift {
			shift[at] = float64(at%3) - 1
		}
		wrong := p.Clone()
		for o := range w.Out {
			for c := range w.In {
				wrong.Layer.Output.Bias[o] += w.Weight[o*w.In+c] * shift[c%(6*kvHeads)]
			}
		}
		f := fitterOf(t, p, nil)
		if kvHeads == 1 {
			require.InDeltaSlice(t, shift, f.valueShift(wrong, 2), 1e-9)
		} else {
			require.Equal(t, make([]float64, 12), f.valueShift(wrong, 1), "13 rows are too few for 12 numbers")
		}
		p.Layer.Output.Bias = nil
		require.Equal(t, make([]float64, 6*kvHeads), f.valueShift(wrong, 2/kvHeads))
	}
}

// The values of each head take the part of another output bias that is the head's, whatever the
// output weight is.
func TestValuesOfOutput(t *testing.T) {
	p := grouped(1)
	w := p.Layer.Output
	wrong := p.Clone()
	scaleOutput(wrong.Layer, 0)
	var shift, bias []float64
	for at, v := range p.Layer.Value.Bias {
		shift, bias = append(shift, float64(at+1)), append(bias, scaledBy*v+float64(at+1))
	}
	for o := range w.Out {
		for c := range w.In {
			wrong.Layer.Output.Bias[o] += w.Weight[o*w.In+c] * shift[c/6*3+c%3]
		}
	}
	found := fitterOf(t, p, nil).valuesOfOutput(wrong, 2)
	require.InDeltaSlice(t, bias, found.Layer.Value.Bias, 1e-9)
	require.InDeltaSlice(t, scaled(scaledBy, p.Layer.Value.Weight), found.Layer.Value.Weight, 1e-9)
	require.Equal(t, p.Layer.Output, found.Layer.Output)
}

// Values that no query sees say nothing of other values: 9 that are seen are too few for 6 features
// and a shift, and 10 are enough.
func TestOutputOfValues(t *testing.T) {
	for hidden, want := range map[int]bool{3: false, 2: true} {
		p := oracletest.First(oracletest.Tall(2), 3)
		p.Padding = attention.NewMask(3, 4)
		for n := range hidden {
			p.Padding.Data[4*n] = true
		}
		wrong := p.Clone()
		scaleValues(wrong.Layer, 0)
		found := fitterOf(t, p, nil).outputOfValues(wrong, 1)
		require.Equal(t, want, found != nil, "%d hidden", hidden)
		if want {
			require.InDeltaSlice(t, scaled(scaledBy, p.Layer.Output.Weight), found.Layer.Output.Weight, 1e-9)
		}
	}
}

// A twin that explains the output is left as it is, and a near twin takes steps. A far mapping is
// no twin.
func TestPolishedTwins(t *testing.T) {
	p := oracletest.Tall(2)
	wrong := p.Clone()
	scaleValues(wrong.Layer, 0)
	f := fitterOf(t, p, oracletest.InFloat32(wrong.Run()))
	start := func(by float64) *oracle.Problem {
		q := wrong.Clone()
		for at := range q.Layer.Value.Weight {
			q.Layer.Value.Weight[at] *= 1 + by
		}
		return q
	}
	moved := func(by float64) attempt {
		return f.polished(attempt{Fit: Fit{free: all(ValueProjection)}, problem: start(by)})
	}
	same := moved(0)
	require.True(t, same.Holds)
	require.Equal(t, wrong.Layer.Value.Weight, same.problem.Layer.Value.Weight)
	require.Less(t, same.Residual, 1e-6)
	require.Positive(t, same.MaxZ)
	near := moved(1e-4)
	require.True(t, near.Holds)
	require.InDeltaSlice(t, wrong.Layer.Value.Weight, near.problem.Layer.Value.Weight, 1e-5)
	// Noise that least squares cannot take away is no explanation.
	exact, got := wrong.Run().Expected(), slices.Clone(f.got)
	for at, sigma := range exact.Sigma {
		f.got[at] = exact.Value[at] + math.Copysign(1.7*sigma, math.Sin(float64(at)))
	}
	noisy := moved(1e-4)
	require.Less(t, noisy.Residual, 1e-5)
	require.False(t, noisy.Holds)
	f.got = got
	// A thousandth of the output's distance from the truth is near.
	off := compare.Outputs(f.shape, f.got, f.trace.Output.Expected()).Rel
	scale := 1e-6 * off / compare.Outputs(f.shape, f.got, start(1e-3).Run().Expected()).Rel
	require.True(t, moved(0.9*scale).Holds)
	far := moved(1.2 * scale)
	require.False(t, far.Holds)
	require.InEpsilon(t, 1.2e-3*off, far.Residual, 1e-2)
	require.Equal(t, start(1.2*scale).Layer.Value.Weight, far.problem.Layer.Value.Weight)
}
