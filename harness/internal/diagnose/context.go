package diagnose

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/mat"

	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// contexts is the context of a layer, which the output projection turns into the output.
type contexts struct {
	in     *input
	trace  oracle.Trace
	size   [4]int // batch elements, heads, rows, features of a head
	output oracle.Linear
}

func contextOf(in *input) contexts {
	t, l := in.trace(), in.problem.Layer
	return contexts{in, t, [4]int{t.Heads / l.Heads, l.Heads, t.Queries, t.ValueWidth}, l.Output}
}

// indexIn returns the place of an index in an array of a size.
func indexIn(size, at [4]int) int {
	place := 0
	for d, i := range at {
		place = place*size[d] + i
	}
	return place
}

// value returns the context at an index.
func (c contexts) value(at [4]int) float64 {
	return c.trace.Context[indexIn(c.size, at)]
}

// share returns what a head adds to an output row.
func (c contexts) share(batch, head, row int) []float64 {
	out := make([]float64, c.output.Out)
	width := c.size[ofFeature]
	values := c.trace.Context[indexIn(c.size, [4]int{batch, head, row, 0}):][:width]
	for o := range out {
		weight := c.output.Weight[o*c.output.In+head*width:][:width]
		for e, v := range values {
			out[o] += v * weight[e]
		}
	}
	return out
}

// missing returns the right output row minus the given one; false if they are the same within the
// noise, or no numbers.
func (c contexts) missing(batch, row int) (off []float64, wrong bool) {
	first := (batch*c.size[ofRow] + row) * c.output.Out
	off = make([]float64, c.output.Out)
	for o := range off {
		off[o] = c.in.truth.Value[first+o] - c.in.got[first+o]
		wrong = wrong || c.in.comparison.Z[first+o] > c.in.comparison.Limits.Z
		if math.IsNaN(off[o]) {
			return nil, false
		}
	}
	return off, wrong
}

// zeroRows returns the block of heads and rows without which the output comes nearest to the given
// one. Least squares finds for each wrong row how much of each head is missing.
func (c contexts) zeroRows() zeros {
	heads := c.size[ofHead]
	if c.output.Out <= heads {
		return zeros{}
	}
	missing := make([]float64, c.size[ofBatch]*heads*c.size[ofRow])
	blank := make([]bool, len(missing))
	size := c.size
	size[ofFeature] = 1
	place := func(batch, head, row int) int { return indexIn(size, [4]int{batch, head, row}) }
	for b := range c.size[ofBatch] {
		for i := range c.size[ofRow] {
			off, wrong := c.missing(b, i)
			shares := make([][]float64, heads)
			for h := range shares {
				shares[h] = c.share(b, h, i)
				blank[place(b, h, i)] = num.RMS(shares[h]) == 0
			}
			if wrong {
				for h, g := range coefficients(shares, off) {
					missing[place(b, h, i)] = g
				}
			}
		}
	}
	of := func(at [4]int) int { return place(at[ofBatch], at[ofHead], at[ofRow]) }
	isMissing := func(at [4]int) bool { return missing[of(at)] > 0.5 }
	return newZeros(c.size, isMissing, func(at [4]int) bool { return blank[of(at)] })
}

// coefficients returns the least squares solution of a sum of vectors.
func coefficients(vectors [][]float64, sum []float64) []float64 {
	n := len(vectors)
	gram, right := mat.NewSymDense(n, nil), mat.NewVecDense(n, nil)
	for h, u := range vectors {
		right.SetVec(h, num.Dot(u, sum))
		for k := range h + 1 {
			gram.SetSym(h, k, num.Dot(u, vectors[k]))
		}
	}
	return solved(gram, right)
}

// solved solves normal equations. It returns zeros if they are singular.
func solved(gram *mat.SymDense, right *mat.VecDense) []float64 {
	n := right.Len()
	for h := range n {
		gram.SetSym(h, h, gram.At(h, h)+1e-12*mat.Trace(gram)/float64(n))
	}
	var factors mat.Cholesky
	out := mat.NewVecDense(n, nil)
	if !factors.Factorize(gram) || factors.SolveVecTo(out, right) != nil {
		return make([]float64, n)
	}
	return out.RawVector().Data
}

// zeroFeatures returns the block of heads and features without which the output comes nearest to
// the given one. All rows lack the same ones.
func (c contexts) zeroFeatures() zeros {
	const most = 512
	width, e := c.output.In, c.size[ofFeature]
	if width > most {
		return zeros{}
	}
	all := mat.NewSymDense(width, nil)
	right := make([]float64, width)
	for b := range c.size[ofBatch] {
		for i := range c.size[ofRow] {
			off, wrong := c.missing(b, i)
			if !wrong {
				continue
			}
			row := make([]float64, width)
			for k := range row {
				row[k] = c.value([4]int{b, k / e, i, k % e})
			}
			for o, d := range off {
				for k, w := range c.output.Weight[o*width:][:width] {
					right[k] += row[k] * d * w
				}
			}
			all.SymRankOne(all, 1, mat.NewVecDense(width, row))
		}
	}
	weight := mat.NewDense(c.output.Out, width, slices.Clone(c.output.Weight))
	var gram mat.SymDense
	gram.SymOuterK(1, weight.T())
	for k := range width {
		for j := range k + 1 {
			gram.SetSym(k, j, gram.At(k, j)*all.At(k, j))
		}
	}
	missing := solved(&gram, mat.NewVecDense(width, right))
	isMissing := func(at [4]int) bool { return missing[at[ofHead]*e+at[ofFeature]] > 0.5 }
	z := newZeros(c.size, isMissing, isMissing)
	z.what = "every head"
	return z
}

// without compares the output with the right one without a block of the context.
func (c contexts) without(z zeros) compare.Comparison {
	want := c.in.truth
	want.Value = slices.Clone(want.Value)
	z.each(func(at [4]int) {
		first := (at[ofBatch]*c.size[ofRow] + at[ofRow]) * c.output.Out
		v, column := c.value(at), at[ofHead]*c.size[ofFeature]+at[ofFeature]
		for o := range c.output.Out {
			want.Value[first+o] -= v * c.output.Weight[o*c.output.In+column]
		}
	})
	return compare.Outputs(c.in.comparison.GotShape, c.in.got, want)
}
