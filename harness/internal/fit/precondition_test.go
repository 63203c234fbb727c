package fit

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/mat"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/oracletest"
)

// blankRows gives the first query of each other batch element no key, and so no number.
func blankRows(p *oracle.Problem) {
	p.Causal, p.EmptyRow = oracletest.Causal, attention.EmptyNaN
	p.Padding = attention.NewMask(p.Key.Shape[0], p.Key.Shape[1])
	for i := range p.Padding.Data {
		p.Padding.Data[i] = i%(2*p.Key.Shape[1]) == 0
	}
}

// onlyHead returns the jacobian of a layer whose output reads one head alone.
func (x *jacobian) onlyHead(head int) *jacobian {
	y := *x
	y.p = x.p.Clone()
	w, ev := y.p.Layer.Output, x.t.ValueWidth
	for at := range w.Weight {
		if at%w.In/ev != head {
			w.Weight[at] = 0
		}
	}
	return &y
}

// onlyRow returns the jacobian of a query or key input that has a 1 in its first feature of one
// row, and zeros elsewhere. The results of attention stay.
func (x *jacobian) onlyRow(m Projection, batch, row int) *jacobian {
	y := *x
	y.p = x.p.Clone()
	a := []*oracle.Array{&y.p.Query, &y.p.Key}[m]
	a.Value = make([]float64, len(a.Value))
	a.Value[(batch*a.Shape[1]+row)*a.Shape[2]] = 1
	return &y
}

// products are the sums of a block's Gram matrices, by plain loops.
type products struct{ features, inputs *mat.SymDense }

func (s *products) add(gram, in []float64) {
	e, trace := s.features.SymmetricDim(), 0.0
	for c := range e {
		trace += gram[c*e+c]
		for d := c; d < e; d++ {
			s.features.SetSym(c, d, s.features.At(c, d)+gram[c*e+d])
		}
	}
	for i, v := range in {
		for j := i; j < len(in); j++ {
			s.inputs.SetSym(i, j, s.inputs.At(i, j)+trace*v*in[j])
		}
	}
}

// addRow adds the effect of one row of the query or key input on the output of one query head.
func (s *products) addRow(x *jacobian, m Projection, head, batch, row int) {
	l, e := x.p.Layer, s.features.SymmetricDim()
	width := l.Projections()[m].In + 1
	first := head * headsOf(l, m) / l.Heads * e
	y := x.onlyHead(head).onlyRow(m, batch, row)
	effects := make([][]float64, e)
	for c := range effects {
		step := make([]float64, len(x.mask))
		step[(first+c)*width] = 1
		effects[c] = y.forward(step)
	}
	gram := make([]float64, e*e)
	for at := range gram {
		gram[at] = num.Dot(effects[at/e], effects[at%e])
	}
	a := []oracle.Array{x.p.Query, x.p.Key}[m]
	in := append(slices.Clone(a.Value[(batch*a.Shape[1]+row)*a.Shape[2]:][:a.Shape[2]]), 1)
	s.add(gram, in)
}

// addMean adds the effect of a value head on one row of one query head's context.
func (s *products) addMean(x *jacobian, head, batch, i int) {
	t, w, in := x.t, x.p.Layer.Output, x.p.Value
	ev, weight := t.ValueWidth, x.weight[batch*t.Queries+i]
	gram := make([]float64, ev*ev)
	for at := range gram {
		for o := range w.Out {
			row := w.Weight[o*w.In+head*ev:]
			gram[at] += weight * weight * row[at/ev] * row[at%ev]
		}
	}
	mean := make([]float64, in.Shape[2]+1)
	for k := range in.Shape[1] {
		share := t.Weights[((batch*x.heads+head)*t.Queries+i)*t.Keys+x.past+k]
		for c := range in.Shape[2] {
			mean[c] += share * in.Value[(batch*in.Shape[1]+k)*in.Shape[2]+c]
		}
		mean[in.Shape[2]] += share
	}
	if weight > 0 {
		s.add(gram, mean)
	}
}

// productsOf sums the effects of a head of a projection.
func productsOf(x *jacobian, m Projection, head int) products {
	l := x.p.Layer
	linear, heads := l.Projections()[m], headsOf(l, m)
	s := products{mat.NewSymDense(linear.Out/heads, nil), mat.NewSymDense(linear.In+1, nil)}
	group := l.Heads / heads
	for b := range x.batch {
		for h := head * group; h < (head+1)*group; h++ {
			for i := range []int{x.queries, x.keys, x.queries}[m] {
				if m == ValueProjection {
					s.addMean(x, h, b, i)
				} else {
					s.addRow(x, m, h, b, i)
				}
			}
		}
	}
	s.inputs.ScaleSym(1/mat.Trace(s.features), s.inputs)
	return s
}

// requireInverse requires that two matrices are inverse to each other.
func requireInverse(t *testing.T, a *mat.Dense, of *mat.SymDense, what string) {
	t.Helper()
	n := of.SymmetricDim()
	var product mat.Dense
	product.Mul(a, of)
	for i := range n {
		product.Set(i, i, product.At(i, i)-1)
	}
	require.Less(t, mat.Norm(&product, 2), 1e-5, what)
}

// A block holds the inverse of the sums over all rows: of the effects of a head's features, and of
// the inputs, weighted by the effects. Plain loops give the sums from the jacobian's effects of
// single rows.
func TestBlocksOfHeads(t *testing.T) {
	type layer struct {
		name   string
		change func(*oracle.Problem)
	}
	list := []layer{{"blank rows", blankRows}, {"appended", appended}}
	for _, tc := range tallLayers {
		if slices.Contains([]string{"plain", "rotated", "softcap", "sinks", "cached"}, tc.name) {
			list = append(list, layer(tc))
		}
	}
	for n, tc := range list {
		p := oracletest.First(oracletest.Tall(2), 9)
		if n%2 == 0 {
			p = grouped(9)
		}
		tc.change(p)
		for m := QueryProjection; m <= ValueProjection; m++ {
			x := newJacobian(p, all(m))
			blocks := x.blocks()
			require.Len(t, blocks, headsOf(p.Layer, m))
			for h, b := range blocks {
				what := fmt.Sprintf("%s, head %d of the %s", tc.name, h, m)
				want := productsOf(x, m, h)
				requireInverse(t, b.features, want.features, what)
				requireInverse(t, b.inputs, want.inputs, what)
			}
		}
	}
}

// The block of the output projection has the inputs alone and is exact: a step that alone changes
// the output is found at once.
func TestBlockOfTheOutput(t *testing.T) {
	for _, change := range []func(*oracle.Problem){func(*oracle.Problem) {}, blankRows} {
		p := oracletest.First(oracletest.Tall(2), 9)
		change(p)
		for _, free := range []freeSet{all(OutputProjection), ofHead(OutputProjection, 1), biasOf(OutputProjection)} {
			x := newJacobian(p, free)
			step := make([]float64, len(x.mask))
			for at := range step {
				step[at] = math.Sin(float64(at))
			}
			x.restrict(step)
			require.InDeltaSlice(t, step, x.blocks().precondition(x.backward(x.forward(step))), 1e-5)
		}
	}
}

// The blocks of several projections lie one behind the other, and hold the free elements alone.
func TestPlacesOfBlocks(t *testing.T) {
	// 12 rows of 11 and a bias, then 13 rows of 12 and a bias.
	p := oracletest.First(oracletest.Tall(2), 9)
	var first, rows []int
	for _, b := range newJacobian(p, all(ValueProjection, OutputProjection)).blocks() {
		n, _ := b.inputs.Dims()
		first, rows = append(first, b.places[0]), append(rows, len(b.places)/n)
	}
	require.Equal(t, []int{0, 66, 132}, first)
	require.Equal(t, []int{6, 6, 13}, rows)

	bias := newJacobian(p, biasOf(ValueProjection)).blocks()
	require.Len(t, bias, 2)
	require.Equal(t, []int{10, 21, 32, 43, 54, 65}, bias[0].places)
	require.Equal(t, []int{76, 87, 98, 109, 120, 131}, bias[1].places)

	one := newJacobian(p, ofHead(QueryProjection, 1)).blocks()
	require.Len(t, one, 1)
	require.Equal(t, 6*14, one[0].places[0])
	require.Len(t, one[0].places, 6*14)

	output := newJacobian(p, ofHead(OutputProjection, 1)).blocks()
	require.Equal(t, []int{6, 7, 8, 9, 10, 11, 19}, output[0].places[:7])

	p.Layer.Value.Bias = nil
	require.Empty(t, newJacobian(p, biasOf(ValueProjection)).blocks())
}

// A Gram matrix that is not definite is made so by little. One of zeros or of no numbers gives
// zeros.
func TestInverse(t *testing.T) {
	got := inverse(mat.NewSymDense(2, []float64{4, 1, 1, 1}))
	require.InDeltaSlice(t, []float64{1. / 3, -1. / 3, -1. / 3, 4. / 3}, got.RawMatrix().Data, 1e-9)

	// Of a matrix of equal numbers, one direction has their sum, and the other the ridge alone.
	for _, v := range []float64{0.25, 4} {
		got = inverse(mat.NewSymDense(2, []float64{v, v, v, v}))
		require.InEpsilon(t, 1/(2*v), got.At(0, 0)+got.At(0, 1), 1e-3)
		require.InEpsilon(t, 1/(1e-12*v), got.At(0, 0)-got.At(0, 1), 1e-2)
	}
	// One direction has -1e-11, which the second ridge makes 1e-12 + 1e-10 more.
	got = inverse(mat.NewSymDense(2, []float64{1, 1 + 1e-11, 1 + 1e-11, 1}))
	require.InEpsilon(t, 1/(1e-10+1e-12-1e-11), got.At(0, 0)-got.At(0, 1), 2e-3)

	for _, v := range []float64{0, math.NaN()} {
		require.Equal(t, make([]float64, 4), inverse(mat.NewSymDense(2, []float64{v, 0, 0, v})).RawMatrix().Data)
	}
}

// The sum of one product is the product: 0.25 times the square of 2. A product of no size adds
// nothing.
func TestKronecker(t *testing.T) {
	k := newKronecker(1, 1)
	k.add([]float64{0.25}, []float64{2})
	k.add([]float64{0}, []float64{100})
	features, inputs := k.inverses()
	require.InEpsilon(t, 4, features.At(0, 0), 1e-9)
	require.InEpsilon(t, 0.25, inputs.At(0, 0), 1e-9)
}

// Moves of unit size pick elements of a Gram matrix.
func TestCongruent(t *testing.T) {
	gram := []float64{2, 1, 1, 3}
	require.Equal(t, gram, congruent(gram, []float64{1, 0, 0, 1}, 2))
	require.Equal(t, []float64{2*1 + 2*2*1 + 4*3}, congruent(gram, []float64{1, 2}, 1))
	require.Equal(t, []float64{5, 7, 1}, chosen([]float64{5, 6, 7}, []int{0, 2, 3}))
}
