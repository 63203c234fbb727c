package graph

import (
	"fmt"
	"slices"
)

// gather takes one element along a dimension for each index.
func gather[T Float](n *Node, in []*Tensor[T]) (*Tensor[T], error) {
	x, indices := in[0], in[1]
	places, err := placesAlong(x.Shape, indices, n.Attributes.Dim)
	if err != nil {
		return nil, err
	}
	return x.at(indices.Shape, places), nil
}

// replace and add are what scatter and scatter_add do with a new element.
func replace[T Float](_, new T) T { return new }
func add[T Float](old, new T) T   { return old + new }

// scatter changes one element along a dimension for each index. The new elements have at least the
// shape of the indices, or are one number.
func scatter[T Float](change func(old, new T) T) func(n *Node, in []*Tensor[T]) (*Tensor[T], error) {
	return func(n *Node, in []*Tensor[T]) (*Tensor[T], error) {
		x, indices, new := in[0], in[1], in[2]
		places, err := placesAlong(x.Shape, indices, n.Attributes.Dim)
		if err != nil {
			return nil, err
		}
		steps := make([]int, len(indices.Shape))
		if len(new.Shape) > 0 {
			steps = strides(new.Shape)
			for d, size := range indices.Shape {
				if len(new.Shape) != len(indices.Shape) || size > new.Shape[d] {
					return nil, fmt.Errorf("elements of shape %v for indices of shape %v", new.Shape, indices.Shape)
				}
			}
		}
		out := &Tensor[T]{Shape: x.Shape, Data: slices.Clone(x.Data)}
		for i, from := range walk(indices.Shape, steps, 0) {
			out.Data[places[i]] = change(out.Data[places[i]], new.Data[from])
		}
		return out, nil
	}
}

// placesAlong returns the place in a tensor of each index along one dimension. The other dimensions
// of the indices are at most as large as the tensor's.
func placesAlong[T Float](shape []int, indices *Tensor[T], dim int) ([]int, error) {
	if dim < 0 || dim >= len(shape) || len(indices.Shape) != len(shape) {
		return nil, fmt.Errorf("indices of shape %v in dimension %d of %v", indices.Shape, dim, shape)
	}
	steps := strides(shape)
	for d, size := range indices.Shape {
		if d != dim && size > shape[d] {
			return nil, fmt.Errorf("indices of shape %v for %v", indices.Shape, shape)
		}
	}
	step := steps[dim]
	steps[dim] = 0
	places := walk(indices.Shape, steps, 0)
	for i, index := range indices.Data {
		if index < 0 || int(index) >= shape[dim] || T(int(index)) != index {
			return nil, fmt.Errorf("index %v of a dimension of %d", index, shape[dim])
		}
		places[i] += int(index) * step
	}
	return places, nil
}
