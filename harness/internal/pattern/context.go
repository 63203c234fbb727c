package pattern

import (
	"math"

	"gonum.org/v1/gonum/mat"

	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// Certainty is how many sigma a recovered number must be away from a value to differ from it.
const Certainty = 16

// ContextOf returns, for an index into heads, the matrix (D, Ev) that turns an output row into
// the context of that head; nil if the output is the context. The reason says why there is none.
func ContextOf(p *oracle.Problem, t oracle.Trace, heads []int) (matrix func(index int) *mat.Dense, reason string) {
	l := p.Layer
	if l == nil {
		return func(int) *mat.Dense { return nil }, ""
	}
	ev := t.ValueWidth
	// The heads' columns of the weight, transposed.
	w := mat.NewDense(len(heads)*ev, l.Output.Out, nil)
	for index, h := range heads {
		for c := range ev {
			for o := range l.Output.Out {
				w.Set(index*ev+c, o, l.Output.Weight[o*l.Output.In+h*ev+c])
			}
		}
	}
	inverse, ok := pseudoInverse(w)
	if !ok {
		return nil, "columns of the output weight that depend on each other"
	}
	return func(index int) *mat.Dense {
		return mat.DenseCopyOf(inverse.Slice(0, l.Output.Out, index*ev, (index+1)*ev))
	}, ""
}

// pseudoInverse inverts a matrix (n, m) of independent rows; the result is (m, n).
func pseudoInverse(a *mat.Dense) (*mat.Dense, bool) {
	var svd mat.SVD
	if !svd.Factorize(a, mat.SVDThin) {
		return nil, false
	}
	s := svd.Values(nil)
	if !(s[len(s)-1] > 1e-6*s[0]) {
		return nil, false
	}
	var u, v, out mat.Dense
	svd.UTo(&u)
	svd.VTo(&v)
	for i, value := range s {
		for r := range v.RawMatrix().Rows {
			v.Set(r, i, v.At(r, i)/value)
		}
	}
	out.Mul(&v, u.T())
	return &out, true
}

// Difference returns an output row minus the right row, and the noise of the difference. The
// noise is the right row's, and grows with the size of the output row.
func Difference(got, want, variance []float64) (off, sigma []float64) {
	larger := math.Max(1, num.RMS(got)/math.Max(num.RMS(want), math.SmallestNonzeroFloat64))
	off, sigma = make([]float64, len(got)), make([]float64, len(got))
	for c := range got {
		off[c], sigma[c] = got[c]-want[c], larger*math.Sqrt(variance[c])
	}
	return off, sigma
}

// TimesColumn returns a row times column j of a matrix, and the noise of the product.
func TimesColumn(row, sigma []float64, m *mat.Dense, j int) (value, noise float64) {
	for c, v := range row {
		f := m.At(c, j)
		value += f * v
		noise += f * f * sigma[c] * sigma[c]
	}
	return value, math.Sqrt(noise)
}
