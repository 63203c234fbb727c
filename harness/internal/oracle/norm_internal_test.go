package oracle

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// heads is a field of two batch elements, two heads, three positions and two features.
func heads() Field {
	x := newField(WithNoise, 2, 2, 3, 2)
	for i := range x.Value {
		x.Value[i], x.Variance[i] = math.Sin(float64(2*i+1)), 1e-14*float64(1+i%5)
	}
	return x
}

// A norm takes the features of a row, or those of all heads of its position. The error of a feature
// reaches all others by their derivatives. The root and two products are rounded, and the sum.
func TestNormsOfHeads(t *testing.T) {
	x := heads()
	for _, across := range []bool{false, true} {
		n := &Norm{Weight: []float64{1.5, -0.75}, Epsilon: 0.125, AcrossHeads: across}
		y := n.apply(x)
		for b := range 2 {
			for h := range 2 {
				for at := range 3 {
					index := func(h, f int) int { return ((b*2+h)*3+at)*2 + f }
					places := []int{index(h, 0), index(h, 1)}
					if across {
						places = []int{index(0, 0), index(0, 1), index(1, 0), index(1, 1)}
					}
					s, fourth := 0.0, 0.0
					for _, i := range places {
						s += x.Value[i] * x.Value[i]
						fourth += x.Value[i] * x.Value[i] * x.Value[i] * x.Value[i]
					}
					count := float64(len(places))
					root := 1 / math.Sqrt(s/count+0.125)
					for f := range 2 {
						own, w := index(h, f), n.Weight[f]
						value, variance := x.Value[own]*root*w, 0.0
						for _, i := range places {
							slope := -w * root * root * root * x.Value[own] * x.Value[i] / count
							if i == own {
								slope += w * root
							}
							variance += slope * slope * x.Variance[i]
						}
						variance += value * value * (3*roundoff + sumOfProducts(len(places), s, fourth)/(4*s*s))
						require.InEpsilon(t, value, y.Value[own], 1e-13)
						require.InEpsilon(t, variance, y.Variance[own], 1e-12)
					}
				}
			}
		}
		require.Equal(t, y.Value, n.apply(x.withDetail(ValuesAlone)).Value)
	}
	require.Equal(t, x, (*Norm)(nil).apply(x))
	require.Equal(t, []int{7, 10}, (&Norm{AcrossHeads: true}).rowsWith(x, 10))

	// A layer norm: rows of mean 0 and variance 1.
	y := (&Norm{Weight: []float64{1, 1}, Centered: true}).apply(x)
	for row := range 12 {
		a, b := x.Value[2*row], x.Value[2*row+1]
		require.InDelta(t, (a-b)/math.Abs(a-b), y.Value[2*row], 1e-9)
		require.InDelta(t, (b-a)/math.Abs(a-b), y.Value[2*row+1], 1e-9)
	}
	zero := newField(WithNoise, 1, 1, 1, 2)
	require.Equal(t, []float64{0, 0}, (&Norm{Weight: []float64{1, 1}, Epsilon: 1}).apply(zero).Variance)
}
