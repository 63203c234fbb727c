package fit

import (
	"context"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/mat"

	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/oracletest"
	"github.com/difftest/difftest/harness/internal/variant"
)

// More steps help neither a linear fit that one step did not bring near, nor a start from recovered
// weights that is far. A search also ends with an explanation, with a step that does not halve the
// residual, and with the fifth step.
func TestFinished(t *testing.T) {
	const near, far, limit = compare.MaxResidual * 0.9, compare.MaxResidual * 1.1, compare.MaxResidual
	right, start := &oracle.Problem{}, &oracle.Problem{}
	f := &fitter{p: right}
	for i, tc := range []struct {
		free             freeSet
		problem          *oracle.Problem
		holds            bool
		steps            int
		before, residual float64
		want             bool
	}{
		{all(QueryProjection), start, false, 0, 1, 2 * near, false},
		{all(QueryProjection), start, false, 0, 1, 2 * limit, false},
		{all(QueryProjection), start, false, 0, 1, 2 * far, true},
		{all(QueryProjection), right, false, 0, 1, 2 * far, false},
		{all(QueryProjection), right, true, 0, 1, near, false},
		{all(OutputProjection), right, false, 0, far, far, false},
		{all(QueryProjection), start, false, 1, 1, 3 * far, false},
		{all(QueryProjection), start, false, 4, 1, 0.49, false},
		{all(QueryProjection), start, false, 5, 1, 0.49, true},
		{all(QueryProjection), start, false, 1, 1, 0.5, true},
		{all(QueryProjection), start, false, 1, 1, 0.51, true},
		{all(QueryProjection), start, false, 1, 1, math.NaN(), true},
		{all(QueryProjection), start, true, 1, 1, 0.1, true},
		{all(ValueProjection), right, false, 1, 1, far, true},
		{all(OutputProjection), right, false, 2, 1, far, true},
		{all(OutputProjection), right, false, 1, 1, near, false},
		{all(OutputProjection), right, false, 1, 1, limit, false},
		{all(ValueProjection, OutputProjection), start, false, 1, 1, far, false},
	} {
		x := attempt{Fit: Fit{free: tc.free, Residual: tc.residual, Holds: tc.holds}, problem: tc.problem}
		require.Equal(t, tc.want, f.finished(x, tc.steps, tc.before), "%d", i)
	}
}

// A step leads away if it is further off than before, and outside the noise.
func TestLeadsAway(t *testing.T) {
	limits := compare.Limits{Z: 16, RMS: 1.5}
	for i, tc := range []struct {
		rel, rms float64
		want     bool
	}{{0.9, 9, false}, {1, 9, false}, {1.1, 9, true}, {1.1, 1, false}, {math.NaN(), 9, true}} {
		c := compare.Comparison{Elements: 1, Limits: limits, Rel: tc.rel, RMSZ: tc.rms}
		require.Equal(t, tc.want, leadsAway(c, 1), "%d", i)
	}
}

// Each step begins where the last one led, and one that leads away is not taken. Plain loops take
// the steps.
func TestStepsOfASearch(t *testing.T) {
	p := oracletest.First(oracletest.Tall(2), 30)
	taken := map[int]int{}
	for _, size := range []float64{0.3, 0.6, 0.9, 1.5, 3, 6, 12, 25} {
		wrong := p.Clone()
		for i := range wrong.Layer.Query.Bias {
			wrong.Layer.Query.Bias[i] += size * math.Sin(float64(i))
		}
		f := fitterOf(t, p, wrong.Run().Value)
		free := biasOf(QueryProjection)
		b := newJacobian(p, free).blocks()
		at, n := p, 0
		off := func(q *oracle.Problem) compare.Comparison {
			return compare.Outputs(f.shape, f.got, q.Run().Expected())
		}
		for {
			x := newJacobian(at, free)
			next := x.moved(cgls(t.Context(), x.operator(), b, x.missing(f.got), len(x.mask)))
			if off(next).Rel > off(at).Rel {
				break
			}
			halved := off(next).Rel < off(at).Rel/2
			at = next
			if n++; !halved || off(at).Explained() || n == 5 {
				break
			}
		}
		taken[n]++
		found := f.solve(attempt{Fit: Fit{free: free, Residual: math.Inf(1)}}, b, p, 1)
		require.Equal(t, at.Layer.Query.Bias, found.problem.Layer.Query.Bias, "size %g, %d steps", size, n)
		require.InDelta(t, off(at).Rel, found.Residual, 1e-12)
		require.Equal(t, off(at).Explained(), found.Holds)
	}
	require.Positive(t, taken[1])
	require.Positive(t, taken[5])
}

// The search may miss a bias of queries or keys, and their weights under a softcap.
func TestCurved(t *testing.T) {
	soft, plain := &oracle.Problem{Softcap: 0.5}, &oracle.Problem{}
	for _, m := range allProjections {
		scores := m < ValueProjection
		require.Equal(t, scores, biasOf(m).curved(plain))
		require.False(t, all(m).curved(plain))
		require.Equal(t, scores, all(m).curved(soft))
	}
}

// The noise of an output is set against its size, over the elements that are numbers.
func TestRelativeNoise(t *testing.T) {
	f := oracle.Field{Value: []float64{3, math.NaN(), 4}, Variance: []float64{1, 100, 3}}
	require.InDelta(t, 2./5, relativeNoise(f), 1e-12)
}

// Values that fit explain nothing if they are very large, if they make the output very noisy, or if
// the output is near the right one, at half the limit each time.
func TestImplausible(t *testing.T) {
	p := oracletest.First(oracletest.Tall(2), 4)
	wrong := p.Clone()
	redraw(wrong, ValueProjection, "weight")
	attempted := func(m Projection, by float64) attempt {
		q := p.Clone()
		for i := range q.Layer.Projections()[m].Weight {
			q.Layer.Projections()[m].Weight[i] *= by
		}
		return attempt{Fit: Fit{free: all(m), Residual: 1e-7}, problem: q}
	}
	f := fitterOf(t, p, wrong.Run().Value)
	require.Empty(t, f.implausible(attempted(ValueProjection, 63)))
	require.Equal(t, "only value weights 65 times as large would fit", f.implausible(attempted(ValueProjection, 65)))

	right := slices.Clone(f.trace.Output.Variance)
	for by, want := range map[float64]string{
		15.9: "", 16.1: "what would fit is 16 times as noisy as the right computation",
	} {
		for i, v := range right {
			f.trace.Output.Variance[i] = v / (by * by)
		}
		require.Equal(t, want, f.implausible(attempted(QueryProjection, 1)))
	}
	copy(f.trace.Output.Variance, right)

	off := compare.Outputs(f.shape, f.got, f.trace.Output.Expected()).Rel
	x := attempted(QueryProjection, 1)
	x.Residual = off / compare.MinMargin * 0.99
	require.Empty(t, f.implausible(x))
	x.Residual = off / compare.MinMargin * 1.01
	require.Equal(t, fmt.Sprintf("the output is %.2g from the right one, too near to tell what is other", off), f.implausible(x))

	uniform := p.Clone()
	clear(uniform.Layer.Query.Weight)
	clear(uniform.Layer.Query.Bias)
	f.got = uniform.Run().Value
	require.Contains(t, f.implausible(attempted(ValueProjection, 1)), "other attention weights")
	require.Contains(t, f.implausible(attempted(OutputProjection, 1)), "other attention weights")
	require.Empty(t, f.implausible(attempted(KeyProjection, 1)))
}

// A question that is interrupted has no answer, and one that is answered has a residual, the names
// of its parameters, and the values found.
func TestFit(t *testing.T) {
	p := oracletest.Tall(2)
	wrong := p.Clone()
	redraw(wrong, ValueProjection, "weight")
	f := fitterOf(t, p, oracletest.InFloat32(wrong.Run()))
	found := f.fit(all(ValueProjection))
	require.True(t, found.Explains())
	require.Equal(t, []string{"v.weight", "v.bias"}, found.Parameters)
	require.Less(t, found.Residual, 1e-6)
	require.Less(t, found.MaxZ, 16.)
	require.InDeltaSlice(t, wrong.Layer.Value.Weight, found.problem.Layer.Value.Weight, 1e-4)

	other := f.fit(all(OutputProjection))
	require.False(t, other.Holds)
	require.Empty(t, other.Refused)
	require.Greater(t, other.Residual, 0.05)
	require.Less(t, other.Residual, 1.)

	// The context is no mixture of the right values, so no scores explain the output.
	query := f.fit(all(QueryProjection))
	require.False(t, query.Holds)
	require.Empty(t, query.Refused)
	require.Nil(t, query.problem)
	require.Greater(t, query.Residual, 0.05)
	require.False(t, math.IsInf(query.Residual, 1))
	require.False(t, math.IsInf(query.MaxZ, 1))

	bias := f.fit(biasOf(QueryProjection))
	require.False(t, bias.Holds)
	require.Equal(t,
		fmt.Sprintf("no such parameter was found (%.2g is left), and the search does not see all", bias.Residual), bias.Refused)

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	f.ctx = ended
	none := f.fit(all(ValueProjection))
	require.Equal(t, "interrupted", none.Refused)
	require.True(t, math.IsInf(none.Residual, 1) && math.IsInf(none.MaxZ, 1))
}

// A bias of the queries takes several steps.
func TestFitOfAQueryBias(t *testing.T) {
	p := oracletest.First(oracletest.Tall(2), 30)
	wrong := p.Clone()
	for i := range wrong.Layer.Query.Bias {
		wrong.Layer.Query.Bias[i] += 0.3 * math.Sin(float64(i))
	}
	f := fitterOf(t, p, oracletest.InFloat32(wrong.Run()))
	found := f.fit(biasOf(QueryProjection))
	require.True(t, found.Explains(), "%+v", found.Fit)
	require.InDeltaSlice(t, wrong.Layer.Query.Bias, found.problem.Layer.Query.Bias, 1e-4)
}

// Another output weight that leaves rows right which any such weight would move is no explanation,
// although it fits.
func TestFitThatRowsContradict(t *testing.T) {
	const right = 8 // rows; the 12 inputs and the bias leave 5 directions that change none of them
	p := oracletest.First(oracletest.Tall(2), 9)
	f := fitterOf(t, p, nil)
	x := newJacobian(p, all(OutputProjection))
	merged, rows := x.merged(x.t.Context), mat.NewDense(right, 13, nil)
	for row := range right {
		rows.SetRow(row, append(slices.Clone(merged[12*row:][:12]), 1))
	}
	var svd mat.SVD
	require.True(t, svd.Factorize(rows, mat.SVDFull))
	var v mat.Dense
	svd.VTo(&v)
	wrong := p.Clone()
	for o := range 13 {
		for i := range 12 {
			wrong.Layer.Output.Weight[12*o+i] += v.At(i, right+o%5)
		}
		wrong.Layer.Output.Bias[o] += v.At(12, right+o%5)
	}
	f.got = oracletest.InFloat32(wrong.Run())
	found := f.fit(all(OutputProjection))
	require.True(t, found.Holds)
	require.True(t, found.contradicted)
	require.Equal(t, "values that fit were found, but 8 rows are right that such a change moves", found.Refused)
}

// Least squares takes noise away: the noise left must be smaller by as much.
func TestNoiseThatAFitLeaves(t *testing.T) {
	c := compare.Comparison{
		GotShape: []int{1}, WantShape: []int{1}, Elements: 1,
		Limits: compare.Limits{Z: compare.MaxZ, RMS: compare.MaxRMSZ}, RMSZ: 1,
	}
	require.True(t, holds(c, 0.9))
	require.False(t, holds(c, 0.1))
	c.Rel = 2 * compare.MaxResidual
	require.False(t, holds(c, 0.9))
}

// Under a saturated softmax, rows differ by rounding alone, and large or noisy parameters would
// explain anything: outputs of no layer at all get no explanation.
func TestImplausibleParametersExplainNothing(t *testing.T) {
	p := oracletest.Committed(t, "mha/hot")
	width := p.Query.Shape[2]
	for name, change := range map[string]func(y []float64){
		"the query is added": func(y []float64) {
			for i, v := range p.Query.Value {
				y[i] += v
			}
		},
		"the last row everywhere": func(y []float64) {
			rows := p.Query.Shape[1]
			for i := range y {
				y[i] = y[i/(rows*width)*rows*width+(rows-1)*width+i%width]
			}
		},
	} {
		got := variant.Variant{}.Run(p)
		change(got)
		at, seen := localised(p, p.Trace(), got)
		require.True(t, seen)
		require.Empty(t, at.named(), "%s: %+v", name, at.holding)
	}
}
