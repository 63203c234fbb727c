package graph

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func drawn[T Float](n int) []T {
	r := rand.New(rand.NewPCG(1, uint64(n)))
	x := make([]T, n)
	for i := range x {
		x[i] = T(r.NormFloat64())
	}
	return x
}

func BenchmarkMultiply(b *testing.B) {
	x, w := drawn[float64](8*768), drawn[float32](3072*768)
	for _, steps := range [][2]int{{768, 1}, {1, 3072}} {
		b.Run(fmt.Sprint(steps), func(b *testing.B) {
			y := make([]float64, 8*3072)
			for b.Loop() {
				multiply(x, matrix[float32]{w, 3072, 768, steps}, y)
			}
			b.ReportMetric(8*3072*768/1e9*float64(b.N)/b.Elapsed().Seconds(), "GMAC/s")
		})
	}
	w64, y := drawn[float64](3072*768), make([]float64, 8*3072)
	b.Run("before", func(b *testing.B) {
		for b.Loop() {
			for r := range 8 {
				for j := range 3072 {
					y[r*3072+j] = dot(x[r*768:][:768], w64[j*768:], 1)
				}
			}
		}
		b.ReportMetric(8*3072*768/1e9*float64(b.N)/b.Elapsed().Seconds(), "GMAC/s")
	})
	x32, y32 := drawn[float32](8*768), make([]float32, 8*3072)
	b.Run("float32", func(b *testing.B) {
		for b.Loop() {
			multiply(x32, matrix[float32]{w, 3072, 768, [2]int{768, 1}}, y32)
		}
		b.ReportMetric(8*3072*768/1e9*float64(b.N)/b.Elapsed().Seconds(), "GMAC/s")
	})
}

// The sums have the bits of a loop over one row and one output feature, in either layout of the
// weight, for rows that fill no tile and features that fill no block, with goroutines and without.
func TestMultiply(t *testing.T) {
	for _, size := range [][3]int{{1, 3, 2}, {5, 7, 19}, {12, 96, 300}, {0, 4, 4}, {3, 0, 4}} {
		rows, inner, out := size[0], size[1], size[2]
		x, w := drawn[float64](rows*inner), drawn[float32](out*inner)
		wide := make([]float64, len(w))
		for i, v := range w {
			wide[i] = float64(v)
		}
		for _, steps := range [][2]int{{inner, 1}, {1, out}} {
			got, want := make([]float64, rows*out), make([]float64, rows*out)
			multiply(x, matrix[float32]{w, out, inner, steps}, got)
			for r := range rows {
				for j := range out {
					want[r*out+j] = dot(x[r*inner:][:inner], wide[min(j*steps[0], len(wide)):], steps[1])
				}
			}
			assert.Equal(t, want, got, "%v, steps %v", size, steps)
		}
	}
}

// A matrix times one column has the bits of the columns of a wider product, for rows that fill no
// four, and none.
func TestTimesOneColumn(t *testing.T) {
	for _, rows := range []int{0, 1, 3, 4, 11} {
		const matrices, inner, columns = 2, 5, 3
		a := &Tensor[float32]{Shape: []int{matrices, rows, inner}, Data: drawn[float32](matrices * rows * inner)}
		b := &Tensor[float32]{Shape: []int{matrices, inner, columns}, Data: drawn[float32](matrices * inner * columns)}
		wide, err := matmul(nil, []*Tensor[float32]{a, b})
		require.NoError(t, err)
		for column := range columns {
			v := view{strides(b.Shape), column}
			one := b.through([]int{matrices, inner, 1}, v, []int{matrices, inner, 1})
			got, err := matmul(nil, []*Tensor[float32]{a, one})
			require.NoError(t, err)
			v = view{strides(wide.Shape), column}
			want := wide.through(got.Shape, v, got.Shape)
			assert.Equal(t, want, got, "%d rows, column %d", rows, column)
		}
	}
}
