package replay

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/mat"

	"github.com/difftest/difftest/harness/internal/num"
)

// drawnDense returns a matrix of drawn numbers.
func drawnDense(seed uint64, rows, columns int) *mat.Dense {
	r, d := rand.New(rand.NewPCG(seed, 0)), mat.NewDense(rows, columns, nil)
	for i := range d.RawMatrix().Data {
		d.RawMatrix().Data[i] = r.NormFloat64()
	}
	return d
}

// asRows returns the rows of a matrix.
func asRows(d *mat.Dense) [][]float64 {
	n, _ := d.Dims()
	rows := make([][]float64, n)
	for i := range rows {
		rows[i] = d.RawRowView(i)
	}
	return rows
}

// someMaps returns the maps of n rows, by slopes or by factors.
func someMaps(t *testing.T, n, out, width int, direct bool) *rowMaps {
	m := &rowMaps{out: out, width: width}
	if direct {
		m.factors = asRows(drawnDense(7, n, out))
	} else {
		m.slopes = asRows(drawnDense(8, n, width*out))
	}
	require.True(t, m.prepare())
	return m
}

// matrix returns the map of a row as a matrix.
func (m *rowMaps) matrix(row int) *mat.Dense {
	if m.slopes != nil {
		return mat.NewDense(m.width, m.out, m.slopes[row])
	}
	return mat.DenseCopyOf(mat.NewDiagDense(m.out, m.factors[row]))
}

// A map multiplies by its matrix, forwards, and by its transpose, backwards.
func TestMapsOfRows(t *testing.T) {
	for _, direct := range []bool{false, true} {
		width := 4
		if direct {
			width = 3
		}
		m := someMaps(t, 5, 3, width, direct)
		for row := range 5 {
			var forward, backward mat.VecDense
			x, y := []float64{1, -2, 0.5}, []float64{3, 1, -1, 2}[:width]
			forward.MulVec(m.matrix(row), mat.NewVecDense(3, x))
			backward.MulVec(m.matrix(row).T(), mat.NewVecDense(width, y))
			assert.InDeltaSlice(t, forward.RawVector().Data, m.forward(row, x), 1e-12)
			assert.InDeltaSlice(t, backward.RawVector().Data, m.backward(row, y), 1e-12)
		}
	}
}

// The inverse of the mean of slopes^T slopes, or of its diagonal, scales gradients.
func TestMeanOfTheMaps(t *testing.T) {
	for _, direct := range []bool{false, true} {
		m := someMaps(t, 5, 3, 3, direct)
		mean := mat.NewDense(3, 3, nil)
		for row := range 5 {
			var product mat.Dense
			product.Mul(m.matrix(row).T(), m.matrix(row))
			mean.Add(mean, &product)
		}
		mean.Scale(1./5, mean)
		gradients := drawnDense(9, 2, 3)
		before := mat.DenseCopyOf(gradients)
		var back mat.Dense
		back.Mul(m.scaled(gradients), mean)
		assert.InDeltaSlice(t, before.RawMatrix().Data, back.RawMatrix().Data, 1e-8)
		assert.Equal(t, before.RawMatrix().Data, gradients.RawMatrix().Data, "not changed in place")
		assert.Equal(t, 3, m.live)
	}
	// A feature that moves no row is not alive, and one that moves rows a thousandth is. Its square
	// is a millionth of the mean of the squares, at least.
	m := &rowMaps{out: 3, width: 3, slopes: [][]float64{{1, 0, 0, 0, 0, 0, 0, 0, 1.1e-3 / math.Sqrt(2)}}}
	require.True(t, m.prepare())
	assert.Equal(t, 2, m.live)
	m.slopes[0][8] = 0.5e-3
	require.True(t, m.prepare())
	assert.Equal(t, 1, m.live, "prepared anew")
	m = &rowMaps{out: 3, width: 3, factors: [][]float64{{1, 0, 0}, {2, 0, 1e-9}}}
	require.True(t, m.prepare())
	assert.Equal(t, 2, m.live)
	assert.InDeltaSlice(t, []float64{2. / 5, 0, 2e18}, m.diagonal, 1e3)
	require.True(t, m.prepare())
	assert.Equal(t, 2, m.live)
	for scale, want := range map[float64]int{1e5: 2, 1e-5: 2} {
		m = &rowMaps{out: 2, width: 2, slopes: [][]float64{{scale, 0, 0, 2e-3 * scale}}}
		require.True(t, m.prepare())
		assert.Equal(t, want, m.live)
		m.slopes[0][3] /= 10
		require.True(t, m.prepare())
		assert.Equal(t, 1, m.live)
	}
	// Maps that move nothing, or without end, have no inverse.
	assert.False(t, (&rowMaps{out: 1, width: 1, slopes: [][]float64{{0}}}).prepare())
	assert.False(t, (&rowMaps{out: 1, width: 1, slopes: [][]float64{{math.Inf(1)}}}).prepare())
	assert.False(t, (&rowMaps{out: 1, width: 1, slopes: [][]float64{{math.NaN()}}}).prepare())
	assert.True(t, (&rowMaps{out: 2, width: 1, slopes: [][]float64{{1, 1}}}).prepare(), "two features that move alike")
	alike := &rowMaps{out: 2, width: 1, slopes: [][]float64{{1, 1}}}
	assert.True(t, alike.prepare())
	assert.InEpsilon(t, 5e9, alike.inverse.At(0, 0), 1e-3, "a ten billionth keeps the inverse finite")
	small := &rowMaps{out: 1, width: 1, slopes: [][]float64{{1e-3}}}
	assert.True(t, small.prepare())
	assert.InEpsilon(t, 1e6, small.inverse.At(0, 0), 1e-6)
}

// The solution is the weight of least squares: the error that the weight leaves is orthogonal to
// everything that a weight could give in the rows in use.
func TestSolveForAWeight(t *testing.T) {
	for _, direct := range []bool{false, true} {
		for _, use := range [][]bool{nil, {true, true, false, true, true, true, false, true}} {
			m := someMaps(t, 8, 3, 3, direct)
			columns, _ := orthonormal(drawnDense(3, 8, 2))
			lacking := asRows(drawnDense(4, 8, 3))
			weight, left := m.solve(columns, lacking, use, exactly)
			gradient := m.gradient(columns, left, use)
			assert.InDelta(t, 0, num.RMS(gradient.RawMatrix().Data), 1e-8)
			moved, length := m.along(columns, weight, use)
			sum := 0.0
			for row := range 8 {
				whole := make([]float64, 3)
				for i := range whole {
					whole[i] = moved[row][i] + left[row][i]
				}
				assert.InDeltaSlice(t, lacking[row], whole, 1e-9, "what the weight gives is not left")
				var change mat.VecDense
				change.MulVec(weight.T(), columns.RowView(row))
				assert.InDeltaSlice(t, m.forward(row, change.RawVector().Data), moved[row], 1e-12)
				if use == nil || use[row] {
					sum += num.Dot(moved[row], moved[row])
				}
			}
			assert.InDelta(t, sum, length, 1e-9)
			// A weight that gives all is found again.
			given, _ := m.along(columns, drawnDense(5, 2, 3), nil)
			weight, left = m.solve(columns, given, use, exactly)
			assert.InDeltaSlice(t, drawnDense(5, 2, 3).RawMatrix().Data, weight.RawMatrix().Data, 1e-6)
			assert.Less(t, math.Sqrt(sizeOf(left)), 1e-6)
			// A look is worse than an answer.
			rough, _ := m.solve(columns, lacking, use, 1)
			assert.Zero(t, num.RMS(rough.RawMatrix().Data), "no step is enough")
			zero, left := m.solve(columns, zeros(8, 3), use, exactly)
			assert.Zero(t, num.RMS(zero.RawMatrix().Data))
			assert.Zero(t, sizeOf(left))
		}
	}
	// Rows that count very differently do not hinder the method.
	m := &rowMaps{out: 6, width: 6}
	for row := range 12 {
		m.factors = append(m.factors, slices.Repeat([]float64{math.Pow(10, float64(row%4))}, 6))
	}
	require.True(t, m.prepare())
	columns, _ := orthonormal(drawnDense(3, 12, 6))
	given, _ := m.along(columns, drawnDense(5, 6, 6), nil)
	weight, _ := m.solve(columns, given, nil, exactly)
	assert.InDeltaSlice(t, drawnDense(5, 6, 6).RawMatrix().Data, weight.RawMatrix().Data, 1e-5)
	assert.Equal(t, []float64{1e-4, 1e-10, 1e-20}, []float64{roughly, finely, exactly})
}

// An orthonormal basis spans the columns, and weights of the basis turn into weights of the
// columns. Directions below a ten millionth of the largest are left out.
func TestOrthonormal(t *testing.T) {
	columns := drawnDense(6, 7, 3)
	for i := range 7 {
		columns.Set(i, 2, columns.At(i, 0)+columns.At(i, 1))
	}
	basis, back := orthonormal(columns)
	_, rank := basis.Dims()
	require.Equal(t, 2, rank)
	var products, again, spanned mat.Dense
	products.Mul(basis.T(), basis)
	assert.True(t, mat.EqualApprox(&products, mat.NewDiagDense(2, []float64{1, 1}), 1e-12))
	again.Mul(columns, back)
	assert.True(t, mat.EqualApprox(&again, basis, 1e-12))
	spanned.Product(basis, basis.T(), columns)
	assert.True(t, mat.EqualApprox(&spanned, columns, 1e-12))
	basis, back = orthonormal(mat.NewDense(4, 2, nil))
	assert.Nil(t, basis)
	assert.Nil(t, back)
	for size, want := range map[float64]int{0.9e-7: 1, 1.1e-7: 2} {
		basis, _ = orthonormal(mat.NewDense(2, 2, []float64{10, 0, 0, 10 * size}))
		_, rank = basis.Dims()
		assert.Equal(t, want, rank)
	}
}
