package replay

import (
	"cmp"
	"math"
	"slices"
)

// pairOrder ranks pairs of mistakes by what each mistake alone does to the output. No pair is
// computed for this.
//
// Three orders take turns. In the first, the output's error lies near the plane of the two
// mistakes' errors, which is right for small errors. In the others one of the two mistakes alone
// leads nearest to the output, by its distance or by the angle between the errors: of two large
// errors one mostly covers the other.
type pairOrder struct {
	error    []float64   // of the output, in units of the noise
	errors   [][]float64 // of each mistake
	products [][]float64 // scalar products of the mistakes' errors
	along    []float64   // scalar products with the output's error
	size     float64     // scalar product of the output's error with itself
}

func newPairOrder(m *Module, classes []pairClass, got []float64) *pairOrder {
	o := &pairOrder{error: m.errorInNoise(got)}
	for _, c := range classes {
		o.errors = append(o.errors, m.errorInNoise(c.outputs))
	}
	o.size = product(o.error, o.error)
	for i, e := range o.errors {
		o.along = append(o.along, product(o.error, e))
		o.products = append(o.products, make([]float64, len(o.errors)))
		for j, other := range o.errors[:i+1] {
			o.products[i][j] = product(e, other)
			o.products[j][i] = o.products[i][j]
		}
	}
	return o
}

// errorInNoise returns the error of an output in units of the noise, 0 where there is none.
func (m *Module) errorInNoise(output []float64) []float64 {
	e := make([]float64, len(output))
	for i, w := range m.Truth.Value {
		if s := m.Truth.Sigma[i]; s > 0 {
			e[i] = (output[i] - w) / s
		}
	}
	return e
}

func product(a, b []float64) float64 {
	sum := 0.0
	for i, x := range a {
		sum += x * b[i]
	}
	return sum
}

// pairOf is two mistakes by their places in a list of classes, the lower place first.
type pairOf [2]int

// best returns the most promising pairs, at most count, the best first.
func (o *pairOrder) best(count int) []pairOf {
	var all []pairOf
	for i := range o.errors {
		for j := range i {
			all = append(all, pairOf{j, i})
		}
	}
	if len(all) <= count {
		return all
	}
	plane := make(map[pairOf]float64, len(all))
	for _, p := range all {
		plane[p] = o.fromPlane(p)
	}
	orders := [][]pairOf{o.sorted(all, plane, func(int) float64 { return 0 })}
	for _, alone := range []func(i int) float64{
		func(i int) float64 { return o.products[i][i] - 2*o.along[i] },
		func(i int) float64 { return -o.along[i] / math.Sqrt(o.products[i][i]) },
	} {
		orders = append(orders, o.sorted(all, plane, alone))
	}
	taken := map[pairOf]bool{}
	var best []pairOf
	for n := range all {
		for _, order := range orders {
			if p := order[n]; !taken[p] && len(best) < count {
				taken[p], best = true, append(best, p)
			}
		}
	}
	return best
}

// sorted sorts pairs by the better of their mistakes alone, then by their distance from the plane.
func (o *pairOrder) sorted(all []pairOf, plane map[pairOf]float64, alone func(i int) float64) []pairOf {
	return slices.SortedStableFunc(slices.Values(all), func(p, q pairOf) int {
		return cmp.Or(
			cmp.Compare(min(alone(p[0]), alone(p[1])), min(alone(q[0]), alone(q[1]))),
			cmp.Compare(plane[p], plane[q]),
		)
	})
}

// fromPlane returns the squared distance of the output's error from the plane of two mistakes'
// errors.
func (o *pairOrder) fromPlane(p pairOf) float64 {
	const parallel = 1e-9
	i, j := p[0], p[1]
	ii, jj, ij := o.products[i][i], o.products[j][j], o.products[i][j]
	det := ii*jj - ij*ij
	if !(det > parallel*ii*jj) {
		return o.size
	}
	a, b := (o.along[i]*jj-o.along[j]*ij)/det, (o.along[j]*ii-o.along[i]*ij)/det
	return o.size - a*o.along[i] - b*o.along[j]
}
