package diagnose

import (
	"math"
	"slices"

	"github.com/difftest/difftest/harness/internal/num"
	"gonum.org/v1/gonum/mat"
)

// blocks are nearly the normal equations of a tangent, and easy to solve: they make the iterations of
// [cgls] few.
type blocks []block

// block belongs to a head, or to all outputs: rows of the step, of which what the features do and what the inputs
// do are taken to be independent. places holds the elements of the rows, one row behind the other.
type block struct {
	features *mat.Dense // inverse of the square of what features do; nil: nothing
	inputs   *mat.Dense // inverse of the square of inputs
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
		var half, whole mat.Dense
		half.Mul(rows, block.inputs)
		if whole = half; block.features != nil {
			whole.Reset()
			whole = mat.Dense{}
			whole.Mul(block.features, &half)
		}
		for i, at := range block.places {
			out[at] = whole.At(i/n, i%n)
		}
	}
	return out
}

// inverse is that of a normal matrix, made definite by a trillionth of its diagonal.
func inverse(a *mat.SymDense) *mat.Dense {
	n := a.SymmetricDim()
	largest := math.SmallestNonzeroFloat64
	for i := range n {
		largest = math.Max(largest, a.At(i, i))
	}
	for ridge := 1e-12; ; ridge *= 100 {
		for i := range n {
			a.SetSym(i, i, a.At(i, i)+ridge*largest)
		}
		var c mat.Cholesky
		var inverted mat.SymDense
		if c.Factorize(a) && (c.InverseTo(&inverted) == nil || c.Cond() < 1e15) || ridge > 1 {
			return mat.DenseCopyOf(&inverted)
		}
	}
}

// blocks of all free maps.
func (x *tangent) blocks() blocks {
	var all blocks
	first := 0
	for _, m := range x.free.maps {
		linear := x.p.Layer.Projections()[m]
		if m == OutputMap {
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

// freeOf lists the free elements of a row of a map that begins at a place of the step.
func (x *tangent) freeOf(first, row, width int) []int {
	var list []int
	for i := range width {
		if x.mask[first+row*width+i] {
			list = append(list, i)
		}
	}
	return list
}

func (x *tangent) outputBlock(first int) block {
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

// shifted adds a number to all of a list.
func shifted(list []int, by int) []int {
	out := slices.Clone(list)
	for i := range out {
		out[i] += by
	}
	return out
}

// headBlock is that of a head of queries, or of keys and values.
func (x *tangent) headBlock(m Projection, head, first int) (block, bool) {
	linear := x.p.Layer.Projections()[m]
	e, width := linear.Out/headsOf(x.p.Layer, m), linear.In+1
	free := x.freeOf(first, head*e, width)
	if len(free) == 0 {
		return block{}, false
	}
	sum := newKronecker(e, len(free))
	for b := range x.batch {
		switch m {
		case QueryMap:
			x.queryTerms(sum, b, head, free)
		case KeyMap:
			x.keyTerms(sum, b, head, free)
		case ValueMap:
			x.valueTerms(sum, b, head, free)
		}
	}
	var places []int
	for c := range e {
		places = append(places, shifted(free, first+(head*e+c)*width)...)
	}
	features, inputs := sum.solved()
	return block{features, inputs, places}, true
}

// kronecker is, nearly, a sum of products gram ⊗ in inᵀ: the product of their sums, scaled to the size of
// the sum.
type kronecker struct {
	features, inputs *mat.SymDense
	gram, in         int
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

// solved gives the inverses of both.
func (k *kronecker) solved() (features, inputs *mat.Dense) {
	trace := mat.Trace(k.features)
	if trace > 0 {
		k.inputs.ScaleSym(1/trace, k.inputs)
	}
	return inverse(k.features), inverse(k.inputs)
}

// chosen are some elements of an input with a 1 behind it.
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

// outputGram is the square of the part of the output weight that belongs to a head, (Ev, Ev).
func (x *tangent) outputGram(head int) []float64 {
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

func (x *tangent) queryTerms(sum *kronecker, batch, head int, free []int) {
	t, n := x.t, batch*x.heads+head
	output := x.outputGram(head)
	for i := range t.Queries {
		weight := x.weight[batch*t.Queries+i]
		if weight == 0 {
			continue
		}
		moves := make([]float64, t.ValueWidth*t.Width) // how the context moves with the query
		mean := x.context(n, i)
		for j := range t.Keys {
			at := (n*t.Queries+i)*t.Keys + j
			if t.Weights[at] == 0 {
				continue
			}
			key := x.turned(x.queryTurn, i, t.Key[(n/t.Group*t.Keys+j)*t.Width:][:t.Width])
			for c := range t.ValueWidth {
				off := t.Value[(n/t.Group*t.Keys+j)*t.ValueWidth+c] - mean[c]
				num.AddScaled(weight*x.p.Scale*t.Derivatives[at]*t.Weights[at]*off, key, moves[c*t.Width:])
			}
		}
		input := x.p.Query.Value[(batch*t.Queries+i)*x.p.Layer.Query.In:][:x.p.Layer.Query.In]
		sum.add(square(output, moves, t.Width), chosen(input, free))
	}
}

// context is the mean of the values of a row by its weights, without what a sink takes.
func (x *tangent) context(n, i int) []float64 {
	return x.t.Context[(n*x.t.Queries+i)*x.t.ValueWidth:][:x.t.ValueWidth]
}

// turned is what a row of features meets before the rotation of its position: the transpose of it.
func (x *tangent) turned(turns [][]float64, i int, v []float64) []float64 {
	if turns == nil {
		return v
	}
	out := make([]float64, len(v))
	for c := range out {
		out[c] = num.Dot(turns[i][c*len(v):][:len(v)], v)
	}
	return out
}

// square is movesᵀ gram moves, for moves of (Ev, width).
func square(gram, moves []float64, width int) []float64 {
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

func (x *tangent) keyTerms(sum *kronecker, batch, kvHead int, free []int) {
	t := x.t
	for k := range x.keys {
		j, gram := k+x.past, make([]float64, t.Width*t.Width)
		value := t.Value[((batch*x.heads/t.Group+kvHead)*t.Keys+j)*t.ValueWidth:][:t.ValueWidth]
		for head := kvHead * t.Group; head < (kvHead+1)*t.Group; head++ {
			n, output := batch*x.heads+head, x.outputGram(head)
			for i := range t.Queries {
				at, weight := (n*t.Queries+i)*t.Keys+j, x.weight[batch*t.Queries+i]
				if weight == 0 || t.Weights[at] == 0 {
					continue
				}
				off := make([]float64, t.ValueWidth)
				for c, mean := range x.context(n, i) {
					off[c] = value[c] - mean
				}
				size := square(output, off, 1)[0]
				query := x.turned(x.keyTurn, k, t.Query[(n*t.Queries+i)*t.Width:][:t.Width])
				by := weight * x.p.Scale * t.Derivatives[at] * t.Weights[at]
				for c, v := range query {
					num.AddScaled(by*by*size*v, query, gram[c*t.Width:])
				}
			}
		}
		input := x.p.Key.Value[(batch*x.keys+k)*x.p.Layer.Key.In:][:x.p.Layer.Key.In]
		sum.add(gram, chosen(input, free))
	}
}

func (x *tangent) valueTerms(sum *kronecker, batch, kvHead int, free []int) {
	for head := kvHead * x.t.Group; head < (kvHead+1)*x.t.Group; head++ {
		output := x.outputGram(head)
		for i := range x.t.Queries {
			weight := x.weight[batch*x.t.Queries+i]
			if weight == 0 {
				continue
			}
			gram := slices.Clone(output)
			for c := range gram {
				gram[c] *= weight * weight
			}
			sum.add(gram, x.mixed(batch, head, i, free))
		}
	}
}

// mixed is the mean of the value inputs of a row, by its weights, with a 1 behind each.
func (x *tangent) mixed(batch, head, i int, free []int) []float64 {
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

// operator is a linear map and its transpose.
type operator struct{ forward, backward func([]float64) []float64 }

// cgls minimises |r - A step|, by conjugate gradients on the normal equations. It ends when what could
// still be taken off the residual is a thousandth of it, or of its noise.
func cgls(a operator, b blocks, r []float64, size int) (step []float64) {
	const iterations = 300
	step, r = make([]float64, size), slices.Clone(r)
	s := a.backward(r)
	z := b.precondition(s)
	p, gamma := slices.Clone(z), num.Dot(s, z)
	for range iterations {
		if !(gamma > 1e-5*num.Dot(r, r)) || gamma < 1e-3*float64(len(r)) {
			break
		}
		q := a.forward(p)
		qq := num.Dot(q, q)
		if !(qq > 0) {
			break
		}
		num.AddScaled(gamma/qq, p, step)
		num.AddScaled(-gamma/qq, q, r)
		s = a.backward(r)
		z = b.precondition(s)
		next := num.Dot(s, z)
		for i := range p {
			p[i] = z[i] + next/gamma*p[i]
		}
		gamma = next
	}
	return step
}
