package graph

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
)

// index takes elements by arrays of indices in neighbouring dimensions, as x[:, i, j] does.
func index[T Float](n *Node, in []*Tensor[T]) (*Tensor[T], error) {
	x, indices, dims := in[0], in[1:], n.Attributes.Dims
	if len(dims) != len(indices) || dims[0] < 0 || dims[0]+len(dims) > len(x.Shape) {
		return nil, fmt.Errorf("%d indices for dims %v of %v", len(indices), dims, x.Shape)
	}
	chosen := indices[0].Shape
	for i, t := range indices {
		if dims[i] != dims[0]+i {
			return nil, errors.New("dims are no neighbours")
		}
		var err error
		if chosen, err = broadcast(chosen, t.Shape); err != nil {
			return nil, err
		}
	}
	own, outer, inner := strides(x.Shape), x.Shape[:dims[0]], x.Shape[dims[0]+len(dims):]
	shape := slices.Concat(outer, chosen, inner)
	if _, err := elements(shape); err != nil {
		return nil, err
	}
	starts, err := offsets(x, indices, dims, chosen)
	if err != nil {
		return nil, err
	}
	block := 1 // inner elements are neighbours
	for _, size := range inner {
		block *= size
	}
	var places []int
	for _, o := range walk(outer, own[:dims[0]], 0) {
		for _, s := range starts {
			places = append(places, o+s)
		}
	}
	p := &parts[T]{x, places, block}
	if sameBits[T]() || block < manyInPart {
		return &Tensor[T]{Shape: shape, Data: p.copied(), Bool: x.Bool}, nil
	}
	return &Tensor[T]{Shape: shape, Bool: x.Bool, parts: p}, nil
}

// offsets returns the place that each choice of indices has in a tensor.
func offsets[T Float](x *Tensor[T], indices []*Tensor[T], dims, chosen []int) ([]int, error) {
	own := strides(x.Shape)
	count, err := elements(chosen)
	if err != nil {
		return nil, err
	}
	starts := make([]int, count)
	for k, t := range indices {
		size := x.Shape[dims[k]]
		for i, place := range spread(t.Shape, chosen) {
			at := int(t.Data[place])
			if at < 0 {
				at += size
			}
			if at < 0 || at >= size {
				return nil, fmt.Errorf("index %v of a dimension of %d", t.Data[place], size)
			}
			starts[i] += at * own[dims[k]]
		}
	}
	return starts, nil
}

// topk returns the largest elements of a dimension, in falling order.
func topk[T Float](n *Node, in []*Tensor[T]) (*Tensor[T], error) {
	return largestOf(n, in[0], func(values []T, place int) T { return values[place] })
}

// topkIndices returns the places of the largest elements of a dimension, in falling order.
func topkIndices[T Float](n *Node, in []*Tensor[T]) (*Tensor[T], error) {
	return largestOf(n, in[0], func(_ []T, place int) T { return T(place) })
}

func largestOf[T Float](n *Node, x *Tensor[T], give func(values []T, place int) T) (*Tensor[T], error) {
	dim, count := n.Attributes.Dim, n.Attributes.Count
	if dim < 0 || dim >= len(x.Shape) || count < 0 || count > x.Shape[dim] {
		return nil, fmt.Errorf("no largest %d in dimension %d of %v", count, dim, x.Shape)
	}
	shape := slices.Clone(x.Shape)
	shape[dim] = count
	out, err := New[T](shape)
	if err != nil {
		return nil, err
	}
	from, to, rows := strides(x.Shape), strides(shape), slices.Clone(x.Shape)
	rows[dim] = 1
	starts, ends := walk(rows, from, 0), walk(rows, to, 0)
	for r := range starts {
		values, order := make([]T, x.Shape[dim]), make([]int, x.Shape[dim])
		for i := range values {
			values[i], order[i] = x.Data[starts[r]+i*from[dim]], i
		}
		slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(values[b], values[a]) })
		for i := range count {
			out.Data[ends[r]+i*to[dim]] = give(values, order[i])
		}
	}
	return out, nil
}

// where takes elements of one operand where a condition holds, of the other elsewhere.
func where[T Float](_ *Node, in []*Tensor[T]) (*Tensor[T], error) {
	shape, err := broadcast(in[0].Shape, in[1].Shape)
	if err == nil {
		shape, err = broadcast(shape, in[2].Shape)
	}
	if err != nil {
		return nil, err
	}
	out, err := New[T](shape)
	if err != nil {
		return nil, err
	}
	out.Bool = in[1].Bool && in[2].Bool
	condition, yes, no := spread(in[0].Shape, shape), spread(in[1].Shape, shape), spread(in[2].Shape, shape)
	for i := range out.Data {
		if in[0].Data[condition[i]] != 0 {
			out.Data[i] = in[1].Data[yes[i]]
		} else {
			out.Data[i] = in[2].Data[no[i]]
		}
	}
	return out, nil
}

// clamp keeps elements between two numbers. Either may be absent.
func clamp[T Float](n *Node, in []*Tensor[T]) (*Tensor[T], error) {
	low, high := math.Inf(-1), math.Inf(1)
	for i, bound := range []*float64{&low, &high} {
		if t := in[i+1]; t != nil {
			if len(t.Data) != 1 {
				return nil, errors.New("a bound that is no number")
			}
			*bound = float64(t.Data[0])
		}
	}
	return elementwise[T](func(x float64) float64 { return min(max(x, low), high) })(n, in)
}
