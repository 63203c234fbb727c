package fit

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/mat"

	"github.com/difftest/difftest/harness/internal/num"
)

// blocks approximate the normal equations of a jacobian, and are easy to solve. They keep the
// number of iterations of [cgls] low.
type blocks []block

// block belongs to a head or to all outputs: some rows of a step. It treats the effects of a
// row's features and of its inputs as independent. places lists the elements of the rows, row by
// row.
type block struct {
	features *mat.Dense // inverse of the features' Gram matrix; nil means identity
	inputs   *mat.Dense // inverse of the inputs' Gram matrix
	places   []int
}

// precondition solves all blocks.
func (b blocks) precondition(s []float64) []float64 {
	out := make([]float64, len(s))
	for _, block := range b {
		n, _ := block.inputs.Dims()
		rows := mat.NewDense(len(block.places)/n, n, nil)
		for i, at := range block.places {
			rows.Set(i/n, i%n, s[at])
		}
		solved := new(mat.Dense)
		solved.Mul(rows, block.inputs)
		if block.features != nil {
			solved.Mul(block.features, solved)
		}
		for i, at := range block.places {
			out[at] = solved.At(i/n, i%n)
		}
	}
	return out
}

// inverse inverts a Gram matrix, made definite by a trillionth of its largest diagonal element or
// as much as is needed. A matrix of zeros or of no numbers gives zeros.
func inverse(a *mat.SymDense) *mat.Dense {
	n := a.SymmetricDim()
	largest := 0.0
	for i := range n {
		largest = math.Max(largest, a.At(i, i))
	}
	for ridge := 1e-12; ; ridge *= 100 {
		for i := range n {
			a.SetSym(i, i, a.At(i, i)+ridge*largest)
		}
		var c mat.Cholesky
		inverted := mat.NewSymDense(n, nil)
		if c.Factorize(a) && c.InverseTo(inverted) == nil || ridge > 1 {
			return mat.DenseCopyOf(inverted)
		}
	}
}

// blocks returns the blocks of all free projections.
func (x *jacobian) blocks() blocks {
	var all blocks
	first := 0
	for _, m := range x.free.projections {
		linear := x.p.Layer.Projections()[m]
		if m == OutputProjection {
			all = append(all, x.outputBlock(first))
		} else {
			for h := range headsOf(x.p.Layer, m) {
				if b, ok := x.headBlock(m, h, first); ok {
					all = append(all, b)
				}
			}
		}
		first += linear.Out * (linear.In + 1)
	}
	return all
}

// freeOf lists the free columns of a row of a projection. The projection begins at index first of
// a step and has rows of the given width.
func (x *jacobian) freeOf(first, row, width int) []int {
	var list []int
	for i := range width {
		if x.mask[first+row*width+i] {
			list = append(list, i)
		}
	}
	return list
}

func (x *jacobian) outputBlock(first int) block {
	w := x.p.Layer.Output
	free := x.freeOf(first, 0, w.In+1)
	a, one := mat.NewSymDense(max(1, len(free)), nil), make([]float64, len(free))
	merged := x.merged(x.t.Context)
	for row, weight := range x.weight {
		if weight == 0 {
			continue
		}
		for n, i := range free {
			one[n] = weight
			if i < w.In {
				one[n] *= merged[row*w.In+i]
			}
		}
		a.SymRankOne(a, 1, mat.NewVecDense(len(one), one))
	}
	b := block{inputs: inverse(a)}
	for o := range w.Out {
		b.places = append(b.places, shifted(free, first+o*(w.In+1))...)
	}
	return b
}

// shifted adds a number to each element of a list.
func shifted(list []int, by int) []int {
	out := slices.Clone(list)
	for i := range out {
		out[i] += by
	}
	return out
}

// headBlock returns the block of a query head, or of a head of keys or values; false if nothing
// in it is free.
func (x *jacobian) headBlock(m Projection, head, first int) (block, bool) {
	linear := x.p.Layer.Projections()[m]
	e, width := linear.Out/headsOf(x.p.Layer, m), linear.In+1
	free := x.freeOf(first, head*e, width)
	if len(free) == 0 {
		return block{}, false
	}
	sum := newKronecker(e, len(free))
	for b := range x.batch {
		switch m {
		case QueryProjection:
			x.addQueryTerms(sum, b, head, free)
		case KeyProjection:
			x.addKeyTerms(sum, b, head, free)
		case ValueProjection:
			x.addValueTerms(sum, b, head, free)
		}
	}
	var places []int
	for c := range e {
		places = append(places, shifted(free, first+(head*e+c)*width)...)
	}
	features, inputs := sum.inverses()
	return block{features, inputs, places}, true
}

// kronecker approximates a sum of products gram ⊗ (in inᵀ) by the product of two sums, scaled to
// the size of the sum of products.
type kronecker struct {
	features, inputs *mat.SymDense
	gram, in         int // sizes
}

func newKronecker(gram, in int) *kronecker {
	return &kronecker{mat.NewSymDense(gram, nil), mat.NewSymDense(in, nil), gram, in}
}

func (k *kronecker) add(gram, in []float64) {
	trace := 0.0
	for c := range k.gram {
		trace += gram[c*k.gram+c]
	}
	if trace <= 0 {
		return
	}
	k.features.AddSym(k.features, mat.NewSymDense(k.gram, gram))
	k.inputs.SymRankOne(k.inputs, trace, mat.NewVecDense(k.in, in))
}

// inverses returns the inverses of both sums.
func (k *kronecker) inverses() (features, inputs *mat.Dense) {
	trace := mat.Trace(k.features)
	if trace > 0 {
		k.inputs.ScaleSym(1/trace, k.inputs)
	}
	return inverse(k.features), inverse(k.inputs)
}

// addQueryTerms adds the effect of a query head in one batch element.
func (x *jacobian) addQueryTerms(sum *kronecker, batch, head int, free []int) {
	t, n := x.t, batch*x.heads+head
	output := x.outputGram(head)
	for i := range t.Queries {
		weight := x.weight[batch*t.Queries+i]
		if weight == 0 {
			continue
		}
		// The change of the context with the query, (Ev, E).
		moves := make([]float64, t.ValueWidth*t.Width)
		mean := x.row(t.Context, n, i)
		for j := range t.Keys {
			at := (n*t.Queries+i)*t.Keys + j
			if t.Weights[at] == 0 {
				continue
			}
			key, value := unrotated(x.queryRotation, i, x.key(n, j)), x.value(n, j)
			for c := range t.ValueWidth {
				off := value[c] - mean[c]
				num.AddScaled(weight*x.p.Scale*t.Derivatives[at]*t.Weights[at]*off, key, moves[c*t.Width:])
			}
		}
		in := x.p.Layer.Query.In
		input := x.p.Query.Value[(batch*t.Queries+i)*in:][:in]
		sum.add(congruent(output, moves, t.Width), chosen(input, free))
	}
}

// addKeyTerms adds the effect of a key head in one batch element.
func (x *jacobian) addKeyTerms(sum *kronecker, batch, kvHead int, free []int) {
	for k := range x.keys {
		gram := make([]float64, x.t.Width*x.t.Width)
		for head := kvHead * x.t.Group; head < (kvHead+1)*x.t.Group; head++ {
			x.addKeyGram(gram, batch, head, k)
		}
		in := x.p.Layer.Key.In
		input := x.p.Key.Value[(batch*x.keys+k)*in:][:in]
		sum.add(gram, chosen(input, free))
	}
}

// addKeyGram adds to a Gram matrix (E, E) the effect of new key k on the queries of one head.
func (x *jacobian) addKeyGram(gram []float64, batch, head, k int) {
	t, n, j := x.t, batch*x.heads+head, k+x.past
	value, output := x.value(n, j), x.outputGram(head)
	for i := range t.Queries {
		at, weight := (n*t.Queries+i)*t.Keys+j, x.weight[batch*t.Queries+i]
		if weight == 0 || t.Weights[at] == 0 {
			continue
		}
		off := make([]float64, t.ValueWidth)
		for c, mean := range x.row(t.Context, n, i) {
			off[c] = value[c] - mean
		}
		size := congruent(output, off, 1)[0]
		query := unrotated(x.keyRotation, k, x.query(n, i))
		by := weight * x.p.Scale * t.Derivatives[at] * t.Weights[at]
		for c, v := range query {
			num.AddScaled(by*by*size*v, query, gram[c*t.Width:])
		}
	}
}

// addValueTerms adds the effect of a value head in one batch element.
func (x *jacobian) addValueTerms(sum *kronecker, batch, kvHead int, free []int) {
	for head := kvHead * x.t.Group; head < (kvHead+1)*x.t.Group; head++ {
		output := x.outputGram(head)
		for i := range x.t.Queries {
			weight := x.weight[batch*x.t.Queries+i]
			gram := slices.Clone(output)
			for c := range gram {
				gram[c] *= weight * weight
			}
			sum.add(gram, x.mixed(batch, head, i, free))
		}
	}
}

// outputGram returns wᵀw, (Ev, Ev), for the columns w of the output weight that belong to a head.
func (x *jacobian) outputGram(head int) []float64 {
	w, ev := x.p.Layer.Output, x.t.ValueWidth
	gram := make([]float64, ev*ev)
	for o := range w.Out {
		row := w.Weight[o*w.In+head*ev:][:ev]
		for c, v := range row {
			num.AddScaled(v, row, gram[c*ev:])
		}
	}
	return gram
}

// unrotated applies the transpose of the rotation of row i to a row of features.
func unrotated(rotations [][]float64, i int, v []float64) []float64 {
	if rotations == nil {
		return v
	}
	out := make([]float64, len(v))
	for c := range out {
		out[c] = num.Dot(rotations[i][c*len(v):][:len(v)], v)
	}
	return out
}

// congruent returns movesᵀ gram moves, (width, width), for moves of shape (Ev, width).
func congruent(gram, moves []float64, width int) []float64 {
	ev := len(moves) / width
	half, out := make([]float64, len(moves)), make([]float64, width*width)
	for c := range ev {
		for d := range ev {
			num.AddScaled(gram[c*ev+d], moves[d*width:][:width], half[c*width:])
		}
	}
	for c := range ev {
		for i := range width {
			num.AddScaled(moves[c*width+i], half[c*width:][:width], out[i*width:])
		}
	}
	return out
}

// chosen returns some elements of an input that has a 1 appended.
func chosen(in []float64, free []int) []float64 {
	out := make([]float64, len(free))
	for n, i := range free {
		out[n] = 1
		if i < len(in) {
			out[n] = in[i]
		}
	}
	return out
}

// mixed returns the mean of the value inputs by the weights of a row, at the free columns. Each
// input has a 1 appended.
func (x *jacobian) mixed(batch, head, i int, free []int) []float64 {
	in := x.p.Layer.Value.In
	out, n := make([]float64, len(free)), batch*x.heads+head
	for k := range x.keys {
		w := x.t.Weights[(n*x.t.Queries+i)*x.t.Keys+k+x.past]
		if w != 0 {
			num.AddScaled(w, chosen(x.p.Value.Value[(batch*x.keys+k)*in:][:in], free), out)
		}
	}
	return out
}
