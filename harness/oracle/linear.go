package oracle

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"

	"gonum.org/v1/gonum/floats"
)

// linear is y = x W^T + b: x (B, T, In) -> (B, T, Out), of the rows that are wanted. Products of what was given,
// not computed, may be known.
//
//	Var y = roundings of the sum S + Σ W² Var x + rounding of the addition of b
//	      = (n/3 + 1) S² u²/3 + Σ W² ((n/6 + 1) x² u²/3 + Var x) + rounding of the addition of b
func (s *pass) linear(known *memo, m Linear, x Field, rows wanted) Field {
	y := newField(s.noise, x.Shape[0], x.Shape[1], m.Out)
	known.product(s, y.Value, x.Value, m, rows)
	if s.noise {
		s.multiply(y.Variance, m.terms(x, rows), squares(m.Weight), m.In, rows)
	}
	for row := range len(y.Value) / m.Out {
		if rows.has(row) {
			m.finish(y.line(row))
		}
	}
	return y
}

// terms are what each W² is multiplied by: (n/6 + 1) x² u²/3 + Var x.
func (m Linear) terms(x Field, rows wanted) []float64 {
	own := (float64(m.In)/6 + 1) * roundoff
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
		y.Value[o] += b
		if y.noisy() {
			y.Variance[o] += roundoff * y.Value[o] * y.Value[o]
		}
	}
}

func squares(values []float64) []float64 {
	all := make([]float64, len(values))
	for i, v := range values {
		all[i] = v * v
	}
	return all
}

// multiply is y = x W^T, (rows, in) and (out, in) -> (rows, out), of the rows that are wanted. Each number is
// one sum over the inputs, the same whatever else is computed. A few rows are taken together, so that a row of
// weights is used for all of them while it is near.
func (s *pass) multiply(y, x, weight []float64, in int, rows wanted) {
	const together = 16
	count, out := len(x)/in, len(weight)/in
	s.parallel((count+together-1)/together, together*len(weight), func(block int) {
		first, end := block*together, min(count, (block+1)*together)
		for o := range out {
			w := weight[o*in:][:in]
			for row := first; row < end; row++ {
				if rows.has(row) {
					y[row*out+o] = floats.Dot(x[row*in:][:in], w)
				}
			}
		}
	})
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
