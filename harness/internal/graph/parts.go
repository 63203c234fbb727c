package graph

import (
	"slices"
	"sync"

	"github.com/difftest/difftest/attention/kernel"
)

// parts is a list of equal parts of a table, such as the weights of the experts that tokens choose.
// A product in float64 reads them where they are: copies for every token take most of the time of a
// mixture of experts.
type parts[T Float] struct {
	table  *Tensor[T]
	starts []int // of each part in the table
	size   int   // elements of a part
}

// manyInPart is the least number of elements of a part for which a copy is put off.
const manyInPart = 256

// copied returns the elements of all parts.
func (p *parts[T]) copied() []T {
	data := make([]T, 0, len(p.starts)*p.size)
	for _, start := range p.starts {
		if p.table.narrow == nil {
			data = append(data, p.table.Data[start:start+p.size]...)
			continue
		}
		for _, x := range p.table.narrow[start : start+p.size] {
			data = append(data, T(x))
		}
	}
	return data
}

// same reports whether two lists have the same parts of the same table.
func (p *parts[T]) same(other *parts[T]) bool {
	return other != nil && p.table == other.table && slices.Equal(p.starts, other.starts)
}

// equal reports whether a tensor has the elements of another one. Tensors without Data count as
// different unless they are the same parts.
func (t *Tensor[T]) equal(other *Tensor[T]) bool {
	if t.parts != nil && t.parts.same(other.parts) {
		return true
	}
	return t.Data != nil && other.Data != nil && slices.Equal(t.Data, other.Data)
}

// rights holds the parts of a table, as right factors of products, by their starts.
type rights[T Float] struct {
	mu    sync.Mutex
	known map[int]*kernel.Right[T]
}

// right returns a part of (out, inner) as the right factor of products.
func (p *parts[T]) right(start, out, inner int) *kernel.Right[T] {
	r := &p.table.rights
	r.mu.Lock()
	defer r.mu.Unlock()
	if right := r.known[start]; right != nil {
		return right
	}
	one := parts[T]{p.table, []int{start}, p.size}
	right := kernel.Transposed(one.copied(), inner, out, inner, nil)
	if r.known == nil {
		r.known = map[int]*kernel.Right[T]{}
	}
	r.known[start] = &right
	return &right
}

// timesVectors sets y (parts, out) to each part (out, inner) times its own row of x (parts, inner).
// Rows that share a part share a product.
func (p *parts[T]) timesVectors(x []T, out, inner int, y []T) {
	rows := map[int][]int{}
	for i, start := range p.starts {
		rows[start] = append(rows[start], i)
	}
	for start, of := range rows {
		left, to := make([]T, 0, len(of)*inner), make([]T, len(of)*out)
		for _, i := range of {
			left = append(left, x[i*inner:][:inner]...)
		}
		p.right(start, out, inner).Mul(len(of), left, inner, to, out)
		for n, i := range of {
			copy(y[i*out:][:out], to[n*out:])
		}
	}
}
