package graph

import "github.com/difftest/difftest/attention/kernel"

// packed is the weight of a linear layer as the right factor of a product, in the layout that a
// node states.
type packed[T Float] struct {
	layout string
	right  kernel.Right[T]
}

// right returns a weight of (inner, out) as the right factor of products in float64. It returns nil
// for a large weight, whose copy in float64 would take much memory, and in float32, whose sums have
// a rounding of their own.
func (t *Tensor[T]) right(out, inner int, layout string) *kernel.Right[T] {
	const most = 1 << 16 // elements
	if sameBits[T]() || out*inner > most {
		return nil
	}
	if p := t.packed.Load(); p != nil && p.layout == layout {
		return &p.right
	}
	p := &packed[T]{layout: layout}
	if data := t.Wide().Data; layout == "in, out" {
		p.right = kernel.NewRight(data, inner, out, out)
	} else {
		p.right = kernel.Transposed(data, inner, out, inner, nil)
	}
	t.packed.Store(p)
	return &p.right
}
