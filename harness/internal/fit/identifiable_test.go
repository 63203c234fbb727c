package fit

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/mat"

	"github.com/difftest/difftest/harness/internal/num"
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

// The share of the noise that is left is the number of equations that exceed the unknowns, over all
// equations. Tall layers have 240 rows of 13 elements and of 4 keys, and 2 heads of 6 features.
func TestShareOfTheNoise(t *testing.T) {
	left := func(unknowns, equations float64) float64 { return 1 - unknowns/equations }
	for _, tc := range []struct {
		kvHeads int
		free    freeSet
		want    float64
	}{
		{2, all(OutputProjection), left(13, 240)},
		{2, ofHead(OutputProjection, 1), left(6, 240)},
		{2, biasOf(OutputProjection), left(1, 240)},
		// The mixtures of a head have 11 unknowns, the elements 6 for each of these.
		{2, all(ValueProjection), min(left(11, 240), left(2*6*11, 240*13))},
		{2, ofHead(ValueProjection, 1), min(left(11, 240), left(6*11, 240*13))},
		{1, all(ValueProjection), min(left(11, 480), left(6*11, 240*13))},
		{2, biasOf(ValueProjection), min(left(1, 240), left(2*6, 240*13))},
		{2, all(QueryProjection), left(6*14, 240*3)},
		{2, ofHead(QueryProjection, 0), left(6*14, 240*3)},
		{2, biasOf(QueryProjection), left(6, 240*3)},
		{2, all(KeyProjection), left(6*12, 240*3)},
		{1, all(KeyProjection), left(6*12, 2*240*3)},
		{2, all(ValueProjection, OutputProjection), left(2*10+1, 240)},
	} {
		p := oracletest.Tall(tc.kvHeads)
		share, reason := newJacobian(p, tc.free).identifiable()
		require.Empty(t, reason)
		require.InDelta(t, tc.want, share, 1e-12, "%v of %d", tc.free, tc.kvHeads)
	}
}

// An output of one element, and heads of one feature, have a share, too.
func TestShareOfTheNoiseOfOneFeature(t *testing.T) {
	p := oracletest.Tall(2)
	w := &p.Layer.Output
	w.Out, w.Weight, w.Bias = 1, w.Weight[:12], w.Bias[:1]
	p.Layer.Heads, p.Layer.KVHeads = 12, 12
	x := newJacobian(p, all(OutputProjection))
	share, reason := x.identifiable()
	require.Empty(t, reason)
	require.InDelta(t, 1-13./240, share, 1e-12)
	require.Equal(t, num.UpTo(13), x.blocks()[0].places)
	share, reason = newJacobian(p, all(QueryProjection)).identifiable()
	require.Empty(t, reason)
	require.InDelta(t, 1-14./720, share, 1e-12)
}

// A causal row sees one key more than the row before. Rows of no number count nowhere, and the
// first row of the others has one key: no difference of scores.
func TestShareOfTheNoiseOfCausalRows(t *testing.T) {
	p := oracletest.Tall(2)
	blankRows(p) // 30 elements with rows of 0, 1, 2 and 3 keys, and 30 of 1, 2, 3 and 4
	share, reason := newJacobian(p, all(QueryProjection)).identifiable()
	require.Empty(t, reason)
	require.InDelta(t, 1-84./(30*(1+2)+30*(1+2+3)), share, 1e-12)
	share, reason = newJacobian(p, all(OutputProjection)).identifiable()
	require.Empty(t, reason)
	require.InDelta(t, 1-13./210, share, 1e-12)
}

// A question that has no meaning on a layer is refused.
func TestWhatIsNotIdentifiable(t *testing.T) {
	p := oracletest.Tall(2)
	for m := QueryProjection; m <= OutputProjection; m++ {
		p.Layer.Projections()[m].Bias = nil
		share, reason := newJacobian(p, biasOf(m)).identifiable()
		require.Equal(t, "the layer has no such bias", reason)
		require.Zero(t, share)
	}
	narrow := oracletest.Tall(2)
	narrow.Layer.Output.Out = 2
	narrow.Layer.Output.Weight, narrow.Layer.Output.Bias = narrow.Layer.Output.Weight[:24], narrow.Layer.Output.Bias[:2]
	share, reason := newJacobian(narrow, all(ValueProjection)).identifiable()
	require.Empty(t, reason)
	require.InDelta(t, 1-132./480, share, 1e-12)
	share, reason = newJacobian(oracletest.First(narrow, 19), all(ValueProjection)).identifiable()
	require.Empty(t, reason)
	require.InDelta(t, 1-132./152, share, 1e-12)
	share, reason = newJacobian(oracletest.First(narrow, 18), all(ValueProjection)).identifiable()
	require.Equal(t, "144 elements that see a key and differ, and 132 unknowns", reason)
	require.Zero(t, share)

	// 120 elements and 108 unknowns: a tenth more is enough.
	exact := oracletest.First(oracletest.Tall(2), 15)
	exact.Value = oracletest.Normal(rand.New(rand.NewPCG(9, 9)), 15, 4, 8)
	exact.Layer.Value.In, exact.Layer.Value.Weight = 8, exact.Layer.Value.Weight[:12*8]
	w := &exact.Layer.Output
	w.Out, w.Weight, w.Bias = 2, w.Weight[:24], w.Bias[:2]
	share, reason = newJacobian(exact, all(ValueProjection)).identifiable()
	require.Empty(t, reason)
	require.InDelta(t, 1-108./120, share, 1e-12)

	// An output row as long as the context shows all of it, so rows alone decide.
	square := oracletest.First(oracletest.Tall(1), 11)
	square.Value = oracletest.Normal(rand.New(rand.NewPCG(9, 9)), 11, 4, 40)
	square.Layer.Heads = 1
	square.Layer.Value = oracle.Linear{In: 40, Out: 6, Bias: make([]float64, 6)}
	square.Layer.Value.Weight = oracletest.Normal(rand.New(rand.NewPCG(9, 8)), 240).Value
	square.Layer.Query.Out, square.Layer.Query.Weight = 6, square.Layer.Query.Weight[:6*13]
	square.Layer.Query.Bias = square.Layer.Query.Bias[:6]
	w = &square.Layer.Output
	w.In, w.Out, w.Weight, w.Bias = 6, 6, w.Weight[:36], w.Bias[:6]
	share, reason = newJacobian(square, all(ValueProjection)).identifiable()
	require.Empty(t, reason)
	require.InDelta(t, 1-246./264, share, 1e-12)

	for batch, want := range map[int]string{
		5: "20 rows that see a key and differ, and 21 unknowns: at least 24 are needed", 6: "",
	} {
		free := all(ValueProjection, OutputProjection)
		_, reason = newJacobian(oracletest.First(oracletest.Tall(2), batch), free).identifiable()
		require.Equal(t, want, reason)
	}

	p = oracletest.Tall(2)
	p.Layer.QueryNorm = &oracle.Norm{Weight: []float64{1, 1, 1, 1, 1, 1}, Epsilon: 1}
	share, reason = newJacobian(p, all(KeyProjection)).identifiable()
	require.Equal(t, "queries and keys are normed: scores are not linear in their weights", reason)
	require.Zero(t, share)
	_, reason = newJacobian(p, all(ValueProjection)).identifiable()
	require.Empty(t, reason)
}

// Three equations more than the rank are enough.
func TestEnough(t *testing.T) {
	share, reason := enough(8, 5, 6, "rows")
	require.Empty(t, reason)
	require.InDelta(t, 3./8, share, 1e-15)
	share, reason = enough(7, 5, 6, "rows")
	require.Equal(t, "7 rows, and 6 unknowns of rank 5: at least 8 are needed", reason)
	require.Zero(t, share)
}

// The rank does not depend on the size of the columns, and rounding adds nothing to it.
func TestRank(t *testing.T) {
	require.Equal(t, 2, rank(mat.NewDense(3, 2, []float64{1, 1e-20, 1, 2e-20, 1, 3e-20})))
	require.Equal(t, 1, rank(mat.NewDense(3, 2, []float64{1, 2, 2, 4, 3, 6 + 1e-14})))
	require.Equal(t, 1, rank(mat.NewDense(3, 2, []float64{0, 1, 0, 2, 0, 3})))
	require.Equal(t, 2, rank(mat.NewDense(2, 3, []float64{1, 2, 3, 4, 5, 6})))
	require.Equal(t, 0, rank(mat.NewDense(2, 2, nil)))
	// Two columns of one size at a small angle have sizes of 1.41 and of 0.71 times the angle.
	require.Equal(t, 2, rank(mat.NewDense(2, 2, []float64{1, 1, 0, 3e-9})))
	require.Equal(t, 1, rank(mat.NewDense(2, 2, []float64{1, 1, 0, 1.9e-9})))
}

// Numbers that differ by rounding are written alike.
func TestDigest(t *testing.T) {
	require.Equal(t, "1.00000000e+00-2.50000000e-01", digest([]float64{1, -0.25}))
	require.Equal(t, digest([]float64{1}), digest([]float64{1 + 1e-12}))
	require.NotEqual(t, digest([]float64{1}), digest([]float64{1 + 1e-7}))
}

// The work of a fit is a sixth of the cube of a block's unknowns and half their square times the
// rows, for each block, and a hundred iterations. An iteration takes the query weight once, and the
// output weight twice, for each row.
func TestWorkOfAFit(t *testing.T) {
	l := &oracle.Layer{Heads: 4, KVHeads: 2}
	for m, linear := range l.Projections() {
		*linear = oracle.Linear{In: 9, Out: 20 + 4*m}
	}
	block := func(n float64) float64 { return n*n*n/6 + n*n*1000/2 }
	const iterations = 100 * 1000 * (9*20 + 2*9*32)
	for _, tc := range []struct {
		free freeSet
		want float64
	}{
		{all(OutputProjection), block(10)},
		{all(QueryProjection), 4 * block(10*5)},
		{all(KeyProjection), 2 * block(10*12)},
		{freeSet{projections: []Projection{QueryProjection}, heads: []int{0, 1, 3}}, 3 * block(10*5)},
		{biasOf(OutputProjection), block(1)},
		{biasOf(QueryProjection), 4 * block(5)},
		{all(ValueProjection, OutputProjection), 2*block(10*14) + block(10)},
	} {
		x := &jacobian{p: &oracle.Problem{Layer: l}, weight: make([]float64, 1000), free: tc.free}
		require.InEpsilon(t, tc.want+iterations, x.multiplications(), 1e-12, "%v", tc.free)
	}
	x := &jacobian{p: &oracle.Problem{Layer: l}, weight: make([]float64, 3900), free: freeSet{}}
	require.Empty(t, x.tooLarge())
	x.weight = make([]float64, 4000)
	require.Equal(t, "the case is too large: 3e+08 multiplications", x.tooLarge())
}

// Rows and mixtures that are alike count once. Mixtures for a bias are all alike, and all count.
func TestAlikeRowsCountOnce(t *testing.T) {
	p := oracletest.First(oracletest.Tall(2), 3)
	for _, a := range []*oracle.Array{&p.Query, &p.Key, &p.Value} {
		copy(a.Value[len(a.Value)/3:], a.Value[:len(a.Value)/3])
	}
	x := newJacobian(p, all(ValueProjection))
	rows := x.distinctRows()
	require.Equal(t, []int{0, 1, 2, 3, 8, 9, 10, 11}, rows)
	empty := oracletest.First(oracletest.Tall(2), 2)
	emptyRows(empty)
	require.Equal(t, []int{1, 2, 3, 4, 5, 6, 7}, newJacobian(empty, all(ValueProjection)).distinctRows())
	columns := x.freeOf(0, 0, 11)
	require.Len(t, x.mixtures(1, num.UpTo(12), columns), 8*11)
	require.Len(t, newJacobian(p, biasOf(ValueProjection)).mixtures(1, num.UpTo(12), []int{10}), 12)

	for _, free := range []freeSet{all(ValueProjection), all(OutputProjection), all(ValueProjection, OutputProjection), all(KeyProjection)} {
		share, reason := newJacobian(oracletest.First(p, 1), free).identifiable()
		require.NotEmpty(t, reason)
		require.Zero(t, share)
	}
	blind := oracletest.First(oracletest.Tall(2), 2)
	blind.Past = &oracle.Past{
		Key:   oracle.Array{Shape: []int{2, 2, 1, 6}, Value: make([]float64, 24)},
		Value: oracle.Array{Shape: []int{2, 2, 1, 6}, Value: slices.Repeat([]float64{1}, 24)},
	}
	blind.Causal = func(_, key int) bool { return key == 0 }
	share, reason := newJacobian(blind, all(ValueProjection)).identifiable()
	require.Equal(t, "no row sees a key whose value could be another", reason)
	require.Zero(t, share)
}
