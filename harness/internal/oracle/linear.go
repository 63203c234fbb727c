package oracle

import (
	"slices"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas64"
)

// linear computes the given rows of y = x W^T + b: (B, T, In) -> (B, T, Out). If x is an input, the
// product may be in the cache.
//
//	Var y = rounding of the sum S + Σ W² Var x + rounding of the addition of b
//	      = (n/3 + 1) S² u²/3 + Σ W² ((n/6 + 1) x² u²/3 + rounding of the factors + Var x)
//	        + rounding of the addition of b
//
// A sum may also begin with b. Its n-1 partial sums then run from b to b + S instead of from 0 to
// S, and their mean square is b² + b S + S²/3 instead of S²/3. The larger of the two is taken.
func (s *pass) linear(cache *cache, m Linear, x Field, rows rowSet) Field {
	if m.Skipped {
		return x
	}
	y := newField(s.detail, x.Shape[0], x.Shape[1], m.Out)
	cache.multiply(s, y.Value, x.Value, m, rows)
	if s.noisy() {
		s.multiply(y.Variance, m.noiseOfTerms(x, rows, s.Precision.ofProduct()), squares(m.Weight), m.In, rows)
	}
	for row := range len(y.Value) / m.Out {
		if rows.has(row) {
			m.finish(y.row(row))
		}
	}
	return s.Precision.linear(m, y)
}

// noiseOfTerms returns the factors of W² in Var y,
//
//	(n/6 + 1) x² u²/3 + rounding of the factors + Var x
func (m Linear) noiseOfTerms(x Field, rows rowSet, factors float64) []float64 {
	own := (float64(m.In)/6+1)*roundoff + factors
	noise := make([]float64, len(x.Value))
	for row := range len(x.Value) / m.In {
		if !rows.has(row) {
			continue
		}
		for i := row * m.In; i < (row+1)*m.In; i++ {
			noise[i] = own*x.Value[i]*x.Value[i] + x.Variance[i]
		}
	}
	return noise
}

// finish adds the bias to a row, and the noise that grows with the sum and not with its terms.
func (m Linear) finish(y Field) {
	if y.noisy() {
		own := (float64(m.In)/3 + 1) * roundoff
		for o, sum := range y.Value {
			y.Variance[o] += own * sum * sum
		}
	}
	if m.Bias == nil {
		return
	}
	for o, b := range m.Bias {
		sum := y.Value[o]
		y.Value[o] += b
		if y.noisy() {
			biasFirst := float64(m.In-1) * max(0, b*b+b*sum)
			y.Variance[o] += roundoff * (y.Value[o]*y.Value[o] + biasFirst)
		}
	}
}

// multiply computes the given rows of y = x W^T: (rows, in) and (out, in) -> (rows, out). It
// multiplies a tile of W by a block of x while both are in the processor's cache. No number depends
// on the other rows that are computed.
func (s *pass) multiply(y, x, weight []float64, in int, rows rowSet) {
	const blockRows = 64
	count, out, tiles := len(x)/in, len(weight)/in, tilesOf(weight, in)
	s.parallel((count+blockRows-1)/blockRows, blockRows*len(weight), func(block int) {
		var sums [tileRows]float64
		for i, tile := range tiles {
			for row := block * blockRows; row < min(count, (block+1)*blockRows); row++ {
				if rows.has(row) {
					blas64.Gemv(blas.NoTrans, 1, tile, vector(x[row*in:][:in]), 0, vector(sums[:tile.Rows]))
					copy(y[row*out:][:out][i*tileRows:], sums[:tile.Rows])
				}
			}
		}
	})
}

// tileRows is the number of weight rows in a tile: so small that a tile stays in the processor's
// cache, and a multiple of the four rows that gemv multiplies at once.
const tileRows = 16

// tilesOf divides a weight into tiles. Rows of zeros fill the last tile up to a multiple of four
// rows, because gemv adds the products of a smaller rest in another order.
func tilesOf(weight []float64, in int) []blas64.General {
	var tiles []blas64.General
	for part := range slices.Chunk(weight, tileRows*in) {
		if rest := len(part) % (4 * in); rest > 0 {
			part = append(slices.Clip(part), make([]float64, 4*in-rest)...)
		}
		tiles = append(tiles, matrix(part, in, in))
	}
	return tiles
}

// matrix returns values as a matrix whose rows have the given width and begin a stride apart.
func matrix(values []float64, width, stride int) blas64.General {
	rows := (len(values) + stride - width) / stride
	return blas64.General{Rows: rows, Cols: width, Stride: stride, Data: values}
}

func vector(values []float64) blas64.Vector {
	return blas64.Vector{N: len(values), Inc: 1, Data: values}
}
