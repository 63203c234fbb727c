package fit

import (
	"math"

	"gonum.org/v1/gonum/mat"

	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// startOfProduct returns a problem near the output, from which the search for value and output
// together begins. The output is linear in the product of the two weights of each head: least
// squares finds the products, and each is reduced to the rank that the two weights can give.
func (f *fitter) startOfProduct(x *jacobian) (*oracle.Problem, string) {
	design := x.productDesign()
	rows, columns := design.Dims()
	target := mat.NewDense(rows, x.outs, nil)
	for row, weight := range x.weight {
		for o := range x.outs {
			if weight != 0 {
				target.Set(row, o, weight*f.got[row*x.outs+o])
			}
		}
	}
	var products mat.Dense
	if err := products.Solve(design, target); err != nil {
		return nil, "least squares is singular: " + err.Error()
	}
	p := f.p.Clone()
	for g := range p.Layer.KVHeads {
		if !x.factor(p.Layer, g, &products) {
			return nil, "a product has no singular values"
		}
	}
	for i := range p.Layer.Value.Bias {
		p.Layer.Value.Bias[i] = 0 // the output bias has what it adds to each row
	}
	for o := range p.Layer.Output.Bias {
		p.Layer.Output.Bias[o] = products.At(columns-1, o)
	}
	return p, ""
}

// factor splits the product of a value head into a value weight and an output weight of equal
// size, and reports whether there is a singular value decomposition. The query heads of a group
// share the value weight.
func (x *jacobian) factor(l *oracle.Layer, kvHead int, products *mat.Dense) bool {
	in, ev, group := l.Value.In, x.t.ValueWidth, x.t.Group
	product := mat.NewDense(in, group*x.outs, nil)
	for m := range group {
		first := (kvHead*group + m) * in
		to := product.Slice(0, in, m*x.outs, (m+1)*x.outs).(*mat.Dense)
		to.Copy(products.Slice(first, first+in, 0, x.outs))
	}
	var svd mat.SVD
	if !svd.Factorize(product, mat.SVDThin) {
		return false
	}
	var u, v mat.Dense
	svd.UTo(&u)
	svd.VTo(&v)
	for c, s := range svd.Values(nil)[:min(ev, in, group*x.outs)] {
		for i := range in {
			l.Value.Weight[(kvHead*ev+c)*in+i] = math.Sqrt(s) * u.At(i, c)
		}
		for m := range group {
			for o := range x.outs {
				l.Output.Weight[o*l.Output.In+(kvHead*group+m)*ev+c] = math.Sqrt(s) * v.At(m*x.outs+o, c)
			}
		}
	}
	return true
}

// productDesign returns the matrix that value and output together are fitted with. It has a row
// for each output row: the mean of the value inputs of each head, then a 1 if there is an output
// bias.
func (x *jacobian) productDesign() *mat.Dense {
	in := x.p.Layer.Value.In
	columns := num.UpTo(in)
	bias := 0
	if x.p.Layer.Output.Bias != nil {
		bias = 1
	}
	design := mat.NewDense(len(x.weight), x.heads*in+bias, nil)
	for row, weight := range x.weight {
		if weight == 0 {
			continue
		}
		for h := range x.heads {
			for i, v := range x.mixed(row/x.t.Queries, h, row%x.t.Queries, columns) {
				design.Set(row, h*in+i, weight*v)
			}
		}
		if bias == 1 {
			design.Set(row, x.heads*in, weight)
		}
	}
	return design
}
