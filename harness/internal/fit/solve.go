package fit

import (
	"context"
	"slices"

	"github.com/difftest/difftest/harness/internal/num"
)

// operator is a linear map and its transpose.
type operator struct{ forward, backward func([]float64) []float64 }

// cgls minimises |r - A step| by conjugate gradients on the normal equations, with a
// preconditioner. It ends when the residual can shrink by at most a thousandth of itself, or of
// its noise, or when ctx ends.
func cgls(ctx context.Context, a operator, b blocks, r []float64, size int) (step []float64) {
	const iterations = 300
	step, r = make([]float64, size), slices.Clone(r)
	s := a.backward(r)
	z := b.precondition(s)
	p, gamma := slices.Clone(z), num.Dot(s, z)
	for range iterations {
		if !(gamma > 1e-5*num.Dot(r, r)) || gamma < 1e-3*float64(len(r)) || ctx.Err() != nil {
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
