package oracle

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas64"
)

// linear is y = x W^T + b: x (B, T, In) -> (B, T, Out), of the rows that are wanted. Products of what was given,
// not computed, may be known.
//
//	Var y = roundings of the sum S + Σ W² Var x + rounding of the addition of b
//	      = (n/3 + 1) S² u²/3 + Σ W² ((n/6 + 1) x² u²/3 + rounding of the factors + Var x) + rounding of the addition of b
//
// A sum may begin with b as well as end with it. Its n-1 partial sums then go from b to b + S, not from 0 to S, and
// their mean square is b² + b S + S²/3, not S²/3: the greater of the two is taken.
func (s *pass) linear(known *cache, m Linear, x Field, rows wanted) Field {
	if m.Skipped {
		return x
	}
	y := newField(s.noise, x.Shape[0], x.Shape[1], m.Out)
	known.product(s, y.Value, x.Value, m, rows)
	if s.noise {
		s.multiply(y.Variance, m.terms(x, rows, s.Precision.ofProducts()), squares(m.Weight), m.In, rows)
	}
	for row := range len(y.Value) / m.Out {
		if rows.has(row) {
			m.finish(y.line(row))
		}
	}
	return s.Precision.linear(m, y)
}

// terms are what each W² is multiplied by: (n/6 + 1) x² u²/3 + rounding of the factors + Var x.
func (m Linear) terms(x Field, rows wanted, factors float64) []float64 {
	own := (float64(m.In)/6+1)*roundoff + factors
	terms := make([]float64, len(x.Value))
	for row := range len(x.Value) / m.In {
		if !rows.has(row) {
			continue
		}
		for i := row * m.In; i < (row+1)*m.In; i++ {
			terms[i] = own*x.Value[i]*x.Value[i] + x.Variance[i]
		}
	}
	return terms
}

// finish adds to a row what is not a sum over its inputs: the roundings of the sum, and the bias.
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
			begun := float64(m.In-1) * max(0, b*b+b*sum)
			y.Variance[o] += roundoff * (y.Value[o]*y.Value[o] + begun)
		}
	}
}

// multiply is y = x W^T, (rows, in) and (out, in) -> (rows, out), of the rows that are wanted. A few rows of
// weights are used for a few of x while they are near. Each number is the same whatever else is computed.
func (s *pass) multiply(y, x, weight []float64, in int, rows wanted) {
	const together = 64
	count, out, tiles := len(x)/in, len(weight)/in, tilesOf(weight, in)
	s.parallel((count+together-1)/together, together*len(weight), func(block int) {
		var sums [tileRows]float64
		for i, tile := range tiles {
			for row := block * together; row < min(count, (block+1)*together); row++ {
				if rows.has(row) {
					blas64.Gemv(blas.NoTrans, 1, tile, vector(x[row*in:][:in]), 0, vector(sums[:tile.Rows]))
					copy(y[row*out:][:out][i*tileRows:], sums[:tile.Rows])
				}
			}
		}
	})
}

// tileRows are so few that they stay near, and a multiple of the four that are multiplied at once.
const tileRows = 16

// tilesOf takes a weight apart. The last tile has zeros behind it, up to a multiple of four rows: fewer would
// be added in another order.
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

// matrix is one of rows of so many numbers, that begin a stride apart.
func matrix(values []float64, width, stride int) blas64.General {
	return blas64.General{Rows: (len(values) + stride - width) / stride, Cols: width, Stride: stride, Data: values}
}

func vector(values []float64) blas64.Vector {
	return blas64.Vector{N: len(values), Inc: 1, Data: values}
}

// parallel calls f for 0 to n-1 until ctx ends, on all cores where that is worth it: work is the
// multiplications of each call.
func (s *pass) parallel(n, work int, f func(i int)) {
	const worth = 1 << 21 // a millisecond or so
	workers := min(n, runtime.GOMAXPROCS(0))
	if n*work < worth || workers == 1 {
		for i := 0; i < n && s.ctx.Err() == nil; i++ {
			f(i)
		}
		return
	}
	inParallel(s.ctx, workers, n, f)
}

func inParallel(ctx context.Context, workers, n int, f func(i int)) {
	var next atomic.Int64
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				f(i)
			}
		})
	}
	all.Wait()
}
