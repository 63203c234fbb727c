package diagnose

import (
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/mat"

	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// recovered are the attention weights that an output was made with, if its values and what comes behind
// the context are right.
type recovered struct {
	weights, sigma []float64 // (N, L, S), of the heads that were asked for
	off            []float64 // of each row, (N, L): how far its context is from any mixture of the values, in sigma, largest; 0 where there are too few features to say
	judged         bool      // whether off says something in any row
}

// unlike says whether a context is no mixture of the values: it is far from all of them.
func (r recovered) unlike() bool {
	const far = 4 * certainty
	return r.judged && slices.Max(r.off) > far
}

// recoverable says why the weights of some heads of each batch element cannot be recovered; "" where they
// can. A context is a row's output without its bias, times the pseudo-inverse of the output weight;
// weights are a context times the pseudo-inverse of the values.
func recoverable(p *oracle.Problem, t oracle.Trace, heads []int) string {
	if t.Keys > t.ValueWidth {
		return fmt.Sprintf("%d keys and %d features of a value: weights cannot be told from their mixture", t.Keys, t.ValueWidth)
	}
	if l := p.Layer; l != nil && l.Output.Out < len(heads)*t.ValueWidth {
		return fmt.Sprintf("an output of %d features cannot show the %d of all contexts", l.Output.Out, len(heads)*t.ValueWidth)
	}
	if p.EmptyRow != 0 && p.HasEmptyRow() {
		return "rows that see no key are NaN"
	}
	const features = 512
	if p.Layer != nil && len(heads)*t.ValueWidth > features {
		return fmt.Sprintf("the case is too large: contexts of %d features", len(heads)*t.ValueWidth)
	}
	return ""
}

// untraceable says why a case is not traced, which takes some forty bytes for each weight; "" where it is.
func untraceable(p *oracle.Problem) string {
	const most = 1 << 21
	query, key := p.Query.Shape, p.Key.Shape
	queries, keys := query[len(query)-2], key[len(key)-2]
	rows := len(p.Query.Value) / num.Last(query) // of all heads, but in a layer
	if p.Layer != nil {
		rows = query[0] * p.Layer.Heads * queries
	}
	if p.Past != nil {
		keys += p.Past.Key.Shape[2]
	}
	if rows*keys > most {
		return fmt.Sprintf("the case is too large: %d attention weights", rows*keys)
	}
	return ""
}

// recoverWeights gives the weights of some heads of each batch element, those of a right problem
// whose output this is not. The reason says why there are none.
func recoverWeights(p *oracle.Problem, t oracle.Trace, got []float64, heads []int) (r recovered, reason string) {
	if reason := recoverable(p, t, heads); reason != "" {
		return r, reason
	}
	r.weights, r.sigma = make([]float64, len(t.Weights)), make([]float64, len(t.Weights))
	r.off = make([]float64, t.Heads*t.Queries)
	back, reason := contextOf(p, t, heads)
	if reason != "" {
		return r, reason
	}
	perBatch := headsPerBatch(p, t)
	for n := range t.Heads {
		place := slices.Index(heads, n%perBatch)
		if place < 0 {
			continue
		}
		values := mat.NewDense(t.Keys, t.ValueWidth, t.Value[n/t.Group*t.Keys*t.ValueWidth:][:t.Keys*t.ValueWidth])
		inverse, ok := pseudoInverse(values)
		if !ok {
			return r, "values that depend on each other"
		}
		r.rows(p, t, got, n, back(place), values, inverse)
	}
	return r, ""
}

func headsPerBatch(p *oracle.Problem, t oracle.Trace) int {
	if p.Layer != nil {
		return p.Layer.Heads
	}
	return t.Heads
}

// contextOf gives, for a place among the heads, what turns a row of the output into the head's context,
// (D, Ev); nil where the output is the context.
func contextOf(p *oracle.Problem, t oracle.Trace, heads []int) (func(place int) *mat.Dense, string) {
	l := p.Layer
	if l == nil {
		return func(int) *mat.Dense { return nil }, ""
	}
	ev := t.ValueWidth
	w := mat.NewDense(len(heads)*ev, l.Output.Out, nil) // the transpose of the weight's columns
	for place, h := range heads {
		for c := range ev {
			for o := range l.Output.Out {
				w.Set(place*ev+c, o, l.Output.Weight[o*l.Output.In+h*ev+c])
			}
		}
	}
	inverse, ok := pseudoInverse(w)
	if !ok {
		return nil, "columns of the output weight that depend on each other"
	}
	return func(place int) *mat.Dense {
		return mat.DenseCopyOf(inverse.Slice(0, l.Output.Out, place*ev, (place+1)*ev))
	}, ""
}

// pseudoInverse is that of a matrix of independent rows, (n, m) -> (m, n).
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

// rows recovers the weights of one head: what the output lacks to the right one is turned into a change of
// the weights.
func (r *recovered) rows(p *oracle.Problem, t oracle.Trace, got []float64, n int, back, values, inverse *mat.Dense) {
	width := t.ValueWidth
	if back != nil {
		width = p.Layer.Output.Out
	}
	toWeights, toRest := inverse, mat.NewDense(t.ValueWidth, t.ValueWidth, nil)
	toRest.Mul(inverse, values)
	for i := range t.ValueWidth {
		for j := range t.ValueWidth {
			toRest.Set(i, j, -toRest.At(i, j))
		}
		toRest.Set(i, i, 1+toRest.At(i, i))
	}
	if back != nil {
		var a, b mat.Dense
		a.Mul(back, toWeights)
		b.Mul(back, toRest)
		toWeights, toRest = &a, &b
	}
	perBatch := headsPerBatch(p, t)
	for i := range t.Queries {
		first := (n*t.Queries + i) * width
		if back != nil {
			first = (n/perBatch*t.Queries + i) * width
		}
		off, sigma := difference(got[first:][:width], t.Output.Value[first:][:width], t.Output.Variance[first:][:width])
		at := (n*t.Queries + i) * t.Keys
		for j := range t.Keys {
			change, noise := through(toWeights, j, off, sigma)
			r.weights[at+j], r.sigma[at+j] = t.Weights[at+j]+change, noise
		}
		if t.ValueWidth > t.Keys {
			r.judged = true
			for c := range t.ValueWidth {
				if rest, noise := through(toRest, c, off, sigma); noise > 0 {
					r.off[n*t.Queries+i] = math.Max(r.off[n*t.Queries+i], math.Abs(rest)/noise)
				}
			}
		}
	}
}

// difference is that of a row of the output to the right one, and its noise: that of the right one, or as
// much larger as the row is.
func difference(got, want, variance []float64) (off, sigma []float64) {
	larger := math.Max(1, num.RMS(got)/math.Max(num.RMS(want), math.SmallestNonzeroFloat64))
	off, sigma = make([]float64, len(got)), make([]float64, len(got))
	for c := range got {
		off[c], sigma[c] = got[c]-want[c], larger*math.Sqrt(variance[c])
	}
	return off, sigma
}

// through is a row times column j of a matrix, and the noise of it.
func through(m *mat.Dense, j int, row, sigma []float64) (value, noise float64) {
	for c, v := range row {
		f := m.At(c, j)
		value += f * v
		noise += f * f * sigma[c] * sigma[c]
	}
	return value, math.Sqrt(noise)
}
