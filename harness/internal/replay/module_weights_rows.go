package replay

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/mat"

	"github.com/difftest/difftest/harness/internal/num"
)

// rowMaps tells for each row how the features of a layer's output move the row of the module's
// output, in sigma.
type rowMaps struct {
	out, width int
	// slopes holds width x out numbers for each row. It is nil for a layer whose output is the
	// module's: factors then holds a number for each feature.
	slopes, factors [][]float64
	// inverse is that of the mean over rows of slopes^T slopes; of its diagonal alone where slopes
	// is nil.
	inverse  *mat.Dense
	diagonal []float64
	live     int // features that move some row
}

// forward returns what a change of the layer's output in one row adds to the output.
func (m *rowMaps) forward(row int, change []float64) []float64 {
	moved := make([]float64, m.width)
	if m.slopes == nil {
		for i, f := range m.factors[row] {
			moved[i] = f * change[i]
		}
		return moved
	}
	for i := range moved {
		moved[i] = num.Dot(change, m.slopes[row][i*m.out:])
	}
	return moved
}

// backward is the transpose of forward.
func (m *rowMaps) backward(row int, off []float64) []float64 {
	change := make([]float64, m.out)
	if m.slopes == nil {
		for i, f := range m.factors[row] {
			change[i] = f * off[i]
		}
		return change
	}
	for i, o := range off {
		num.AddScaled(o, m.slopes[row][i*m.out:][:m.out], change)
	}
	return change
}

// prepare computes the inverse of the mean. It reports false if the maps move nothing.
func (m *rowMaps) prepare() bool {
	const ridge, little = 1e-10, 1e-6 // of the mean of the diagonal
	m.live = 0
	if m.slopes == nil {
		m.diagonal = make([]float64, m.out)
		for i := range m.diagonal {
			sum := 0.0
			for _, f := range m.factors {
				sum += f[i] * f[i]
			}
			if sum > 0 {
				m.diagonal[i] = float64(len(m.factors)) / sum
				m.live++
			}
		}
		return true
	}
	sum, rows := mat.NewSymDense(m.out, nil), len(m.slopes)
	for _, slope := range m.slopes {
		var product mat.SymDense
		product.SymOuterK(1/float64(rows), mat.NewDense(m.width, m.out, slope).T())
		sum.AddSym(sum, &product)
	}
	trace := mat.Trace(sum)
	for i := range m.out {
		if sum.At(i, i) > little*trace/float64(m.out) {
			m.live++
		}
		sum.SetSym(i, i, sum.At(i, i)+ridge*trace/float64(m.out))
	}
	var mean mat.Cholesky
	var inverse mat.SymDense
	if !mean.Factorize(sum) || mean.InverseTo(&inverse) != nil {
		return false
	}
	m.inverse = mat.DenseCopyOf(&inverse)
	return true
}

// scaled returns gradients over the mean of the maps: changes of the layer's output.
func (m *rowMaps) scaled(gradients *mat.Dense) *mat.Dense {
	var changes mat.Dense
	if m.slopes != nil {
		changes.Mul(gradients, m.inverse)
		return &changes
	}
	changes.CloneFrom(gradients)
	rows, _ := changes.Dims()
	for k := range rows {
		for i, d := range m.diagonal {
			changes.RawRowView(k)[i] *= d
		}
	}
	return &changes
}

// Parts of the size of the gradient at which [rowMaps.solve] ends: for a look, for a step of
// several, and for an answer.
const roughly, finely, exactly = 1e-4, 1e-10, 1e-20

// solve returns the weight for some columns whose products with each row's numbers give what the
// output lacks, a row for each column, and what it leaves. columns are orthonormal over the rows, a
// column for each. use marks the rows to look at, nil for all. The method is that of conjugate
// gradients.
func (m *rowMaps) solve(
	columns *mat.Dense, lacking [][]float64, use []bool, enough float64,
) (weight *mat.Dense, left [][]float64) {
	const iterations = 400
	left = make([][]float64, len(lacking))
	for row := range lacking {
		left[row] = slices.Clone(lacking[row])
	}
	_, rank := columns.Dims()
	weight = mat.NewDense(rank, m.out, nil)
	way := mat.NewDense(rank, m.out, nil)
	first, before := 0.0, math.Inf(1)
	for n := range iterations {
		gradient := m.gradient(columns, left, use)
		steepest := m.scaled(gradient)
		size := num.Dot(gradient.RawMatrix().Data, steepest.RawMatrix().Data)
		if n == 0 {
			first = size
		}
		if !(size > enough*first) {
			break
		}
		way.Scale(size/before, way)
		way.Add(way, steepest)
		before = size
		moved, length := m.along(columns, way, use)
		if !(length > 0) {
			break
		}
		num.AddScaled(size/length, way.RawMatrix().Data, weight.RawMatrix().Data)
		for row := range left {
			num.AddScaled(-size/length, moved[row], left[row])
		}
	}
	return weight, left
}

// gradient returns the part of what the output lacks that each column's weight could give.
func (m *rowMaps) gradient(columns *mat.Dense, left [][]float64, use []bool) *mat.Dense {
	back := mat.NewDense(len(left), m.out, nil)
	for row := range left {
		if use == nil || use[row] {
			back.SetRow(row, m.backward(row, left[row]))
		}
	}
	var sums mat.Dense
	sums.Mul(columns.T(), back)
	return &sums
}

// along returns how a weight moves each row, and the square of the whole move of the rows in use.
func (m *rowMaps) along(columns, weight *mat.Dense, use []bool) (moved [][]float64, length float64) {
	var changes mat.Dense
	changes.Mul(columns, weight)
	rows, _ := columns.Dims()
	moved = make([][]float64, rows)
	for row := range moved {
		moved[row] = m.forward(row, changes.RawRowView(row))
		if use == nil || use[row] {
			length += num.Dot(moved[row], moved[row])
		}
	}
	return moved, length
}

// orthonormal returns columns of length 1 that span the same space, and the matrix that turns
// weights of these into weights of the given ones. Directions that the rows hardly have are left
// out. It returns nil if nothing is left.
func orthonormal(columns *mat.Dense) (basis, back *mat.Dense) {
	const least = 1e-7 // of the largest direction
	var svd mat.SVD
	if !svd.Factorize(columns, mat.SVDThin) {
		return nil, nil
	}
	var u, v mat.Dense
	svd.UTo(&u)
	svd.VTo(&v)
	sizes := svd.Values(nil)
	rank := 0
	for rank < len(sizes) && sizes[rank] > least*sizes[0] {
		rank++
	}
	if rank == 0 {
		return nil, nil
	}
	rows, n := columns.Dims()
	basis, back = mat.DenseCopyOf(u.Slice(0, rows, 0, rank)), mat.DenseCopyOf(v.Slice(0, n, 0, rank))
	for r := range rank {
		for k := range n {
			back.Set(k, r, back.At(k, r)/sizes[r])
		}
	}
	return basis, back
}

func zeros(n, width int) [][]float64 {
	all := make([][]float64, n)
	for i := range all {
		all[i] = make([]float64, width)
	}
	return all
}
