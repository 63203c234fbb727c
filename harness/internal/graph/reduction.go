package graph

import (
	"errors"
	"fmt"
	"slices"
)

// reduction folds some dimensions. Booleans stay booleans if the fold only chooses among them.
func reduction[T Float](fold func([]T) T, chooses bool) func(*Node, []*Tensor[T]) (*Tensor[T], error) {
	return func(n *Node, in []*Tensor[T]) (*Tensor[T], error) {
		t, own := in[0], strides(in[0].Shape)
		var shape, kept, steps, inner, innerSteps []int
		for d, size := range t.Shape {
			if slices.Contains(n.Attributes.Dims, d) {
				inner, innerSteps = append(inner, size), append(innerSteps, own[d])
				if n.Attributes.Keep {
					shape = append(shape, 1)
				}
				continue
			}
			shape, kept, steps = append(shape, size), append(kept, size), append(steps, own[d])
		}
		if len(inner) != len(n.Attributes.Dims) {
			return nil, fmt.Errorf("dims %v are not all dimensions of %v", n.Attributes.Dims, t.Shape)
		}
		out := &Tensor[T]{Shape: shape, Bool: t.Bool && chooses}
		starts, places := walk(kept, steps, 0), walk(inner, innerSteps, 0)
		if len(places) == 0 && len(starts) > 0 {
			return nil, errors.New("nothing to reduce")
		}
		out.Data = make([]T, len(starts))
		part := make([]T, len(places))
		for i, start := range starts {
			for j, place := range places {
				part[j] = t.Data[start+place]
			}
			out.Data[i] = fold(part)
		}
		return out, nil
	}
}

func sumOf[T Float](values []T) T {
	var sum T
	for _, v := range values {
		sum += v
	}
	return sum
}

func meanOf[T Float](values []T) T { return sumOf(values) / T(len(values)) }

func productOf[T Float](values []T) T {
	product := T(1)
	for _, v := range values {
		product *= v
	}
	return product
}

func largest[T Float](values []T) T { return slices.Max(values) }

func smallest[T Float](values []T) T { return slices.Min(values) }

// cumulate gives each element the sum of the elements up to it.
func cumulate[T Float](n *Node, in []*Tensor[T]) (*Tensor[T], error) {
	out := &Tensor[T]{Shape: in[0].Shape, Data: slices.Clone(in[0].Data)}
	err := eachRow(out, n.Attributes.Dim, func(row []T) {
		for i := 1; i < len(row); i++ {
			row[i] += row[i-1]
		}
	})
	return out, err
}

// eachRow applies a function to every row along a dimension of a tensor, in place.
func eachRow[T Float](t *Tensor[T], dim int, f func(row []T)) error {
	if dim < 0 || dim >= len(t.Shape) {
		return fmt.Errorf("no dimension %d in %v", dim, t.Shape)
	}
	if len(t.Data) == 0 {
		return nil
	}
	outer, step := slices.Clone(t.Shape), strides(t.Shape)
	outer[dim] = 1
	row := make([]T, t.Shape[dim])
	for _, start := range walk(outer, step, 0) {
		for i := range row {
			row[i] = t.Data[start+i*step[dim]]
		}
		f(row)
		for i, v := range row {
			t.Data[start+i*step[dim]] = v
		}
	}
	return nil
}
