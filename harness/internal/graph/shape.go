package graph

import (
	"errors"
	"fmt"
	"slices"
)

func reshape[T Float](n *Node, in []*Tensor[T]) (*Tensor[T], error) {
	count, err := elements(n.Attributes.Shape)
	if err != nil {
		return nil, err
	}
	if count != len(in[0].Data) {
		return nil, fmt.Errorf("%v has not as many elements as %v", n.Attributes.Shape, in[0].Shape)
	}
	return &Tensor[T]{Shape: n.Attributes.Shape, Data: in[0].Data, Bool: in[0].Bool}, nil
}

func permute[T Float](n *Node, in []*Tensor[T]) (*Tensor[T], error) {
	dims := n.Attributes.Dims
	sorted := slices.Sorted(slices.Values(dims))
	if len(dims) != len(in[0].Shape) {
		return nil, fmt.Errorf("%d dims for %d dimensions", len(dims), len(in[0].Shape))
	}
	shape, steps, own := make([]int, len(dims)), make([]int, len(dims)), strides(in[0].Shape)
	for i, d := range dims {
		if sorted[i] != i {
			return nil, errors.New("dims are no permutation")
		}
		shape[i], steps[i] = in[0].Shape[d], own[d]
	}
	return in[0].through(shape, view{steps, 0}, shape), nil
}

func expand[T Float](n *Node, in []*Tensor[T]) (*Tensor[T], error) {
	shape, err := broadcast(in[0].Shape, n.Attributes.Shape)
	if err != nil {
		return nil, err
	}
	if !slices.Equal(shape, n.Attributes.Shape) {
		return nil, fmt.Errorf("%v does not expand to %v", in[0].Shape, n.Attributes.Shape)
	}
	if _, err := elements(shape); err != nil {
		return nil, err
	}
	return in[0].through(shape, view{spreadSteps(in[0].Shape, shape), 0}, shape), nil
}

func slice[T Float](n *Node, in []*Tensor[T]) (*Tensor[T], error) {
	a := n.Attributes
	if a.Dim < 0 || a.Dim >= len(in[0].Shape) || a.Step < 1 ||
		a.Start < 0 || a.Stop < a.Start || a.Stop > in[0].Shape[a.Dim] {
		return nil, fmt.Errorf("no slice from %d to %d by %d of dimension %d of %v",
			a.Start, a.Stop, a.Step, a.Dim, in[0].Shape)
	}
	shape, steps := slices.Clone(in[0].Shape), strides(in[0].Shape)
	start := a.Start * steps[a.Dim]
	shape[a.Dim] = (a.Stop - a.Start + a.Step - 1) / a.Step
	steps[a.Dim] *= a.Step
	return in[0].through(shape, view{steps, start}, shape), nil
}

func selectOne[T Float](n *Node, in []*Tensor[T]) (*Tensor[T], error) {
	a := n.Attributes
	if a.Dim < 0 || a.Dim >= len(in[0].Shape) || a.Index < 0 || a.Index >= in[0].Shape[a.Dim] {
		return nil, fmt.Errorf("no index %d in dimension %d of %v", a.Index, a.Dim, in[0].Shape)
	}
	steps := strides(in[0].Shape)
	start := a.Index * steps[a.Dim]
	shape := slices.Delete(slices.Clone(in[0].Shape), a.Dim, a.Dim+1)
	return in[0].through(shape, view{slices.Delete(steps, a.Dim, a.Dim+1), start}, shape), nil
}

func cat[T Float](n *Node, in []*Tensor[T]) (*Tensor[T], error) {
	dim, shape := n.Attributes.Dim, slices.Clone(in[0].Shape)
	if dim < 0 || dim >= len(shape) {
		return nil, fmt.Errorf("no dimension %d in %v", dim, shape)
	}
	shape[dim] = 0
	for _, t := range in {
		if len(t.Shape) != len(shape) {
			return nil, errors.New("operands of different ranks")
		}
		shape[dim] += t.Shape[dim]
		for d := range shape {
			if d != dim && t.Shape[d] != shape[d] {
				return nil, fmt.Errorf("shapes %v and %v do not fit", in[0].Shape, t.Shape)
			}
		}
	}
	out, err := New[T](shape)
	if err != nil {
		return nil, err
	}
	out.Bool = in[0].Bool
	at := 0
	for _, t := range in {
		out.Bool = out.Bool && t.Bool
		steps := strides(shape)
		from := t.Data
		eachLine(t.Shape, view{steps, at * steps[dim]}, view{}, func(place, _, width, step, _ int) {
			for i, v := range from[:width] {
				out.Data[place+i*step] = v
			}
			from = from[width:]
		})
		at += t.Shape[dim]
	}
	return out, nil
}

// repeatInterleave repeats each slice of a dimension, next to itself.
func repeatInterleave[T Float](n *Node, in []*Tensor[T]) (*Tensor[T], error) {
	dim, times, s := n.Attributes.Dim, n.Attributes.Times, in[0].Shape
	if dim < 0 || dim >= len(s) || times < 1 || times > maxElements {
		return nil, fmt.Errorf("no %d times of dimension %d of %v", times, dim, s)
	}
	shape, steps := slices.Insert(slices.Clone(s), dim+1, times), slices.Insert(strides(s), dim+1, 0)
	repeated := slices.Clone(s)
	repeated[dim] *= times
	if _, err := elements(repeated); err != nil {
		return nil, err
	}
	return in[0].through(repeated, view{steps, 0}, shape), nil
}
