package graph

import (
	"fmt"
	"math"
	"slices"
)

// layerNorm computes torch.nn.functional.layer_norm over the last dimension.
func layerNorm[T Float](n *Node, in []*Tensor[T]) (*Tensor[T], error) {
	return normalize(in[0], in[1], in[2], 0, func(row, to []T) {
		mean := sumOf(row) / T(len(row))
		var squares T
		for i, x := range row {
			to[i] = x - mean
			squares += to[i] * to[i]
		}
		scale := T(1 / math.Sqrt(float64(squares/T(len(row)))+n.Attributes.Eps))
		for i := range to {
			to[i] *= scale
		}
	})
}

// rmsNorm divides by the root of the mean square plus eps. The weight gets an offset: 1 in models
// whose weights are stored around 0, such as Gemma.
func rmsNorm[T Float](n *Node, in []*Tensor[T]) (*Tensor[T], error) {
	return normalize(in[0], in[1], nil, n.Attributes.Offset, func(row, to []T) {
		var squares T
		for _, x := range row {
			squares += x * x
		}
		scale := T(1 / math.Sqrt(float64(squares/T(len(row)))+n.Attributes.Eps))
		for i, x := range row {
			to[i] = x * scale
		}
	})
}

// normalize applies a function to each row, then the weight with its offset, then the bias.
func normalize[T Float](x, weight, bias *Tensor[T], offset float64, f func(row, to []T)) (*Tensor[T], error) {
	width := x.last()
	for _, p := range []*Tensor[T]{weight, bias} {
		if p != nil && !slices.Equal(p.Shape, []int{width}) {
			return nil, fmt.Errorf("weight or bias of shape %v for an input of shape %v", p.Shape, x.Shape)
		}
	}
	out, err := New[T](x.Shape)
	if err != nil || width == 0 {
		return out, err
	}
	for start := 0; start < len(x.Data); start += width {
		to := out.Data[start : start+width]
		f(x.Data[start:start+width], to)
		for i := range to {
			if weight != nil {
				to[i] *= weight.Data[i] + T(offset)
			}
			if bias != nil {
				to[i] += bias.Data[i]
			}
		}
	}
	return out, nil
}

// softmax computes torch.softmax over one dimension.
func softmax[T Float](n *Node, in []*Tensor[T]) (*Tensor[T], error) {
	t, dim := in[0], n.Attributes.Dim
	if dim < 0 || dim >= len(t.Shape) {
		return nil, fmt.Errorf("no dimension %d in %v", dim, t.Shape)
	}
	out, err := New[T](t.Shape)
	if err != nil || len(t.Data) == 0 {
		return out, err
	}
	outer, step := slices.Clone(t.Shape), strides(t.Shape)
	outer[dim] = 1
	row := make([]T, t.Shape[dim])
	for _, start := range walk(outer, step, 0) {
		for i := range row {
			row[i] = t.Data[start+i*step[dim]]
		}
		normalizeScores(row)
		for i, w := range row {
			out.Data[start+i*step[dim]] = w
		}
	}
	return out, nil
}

// normalizeScores replaces scores by their softmax. Scores that are all -inf become NaN.
func normalizeScores[T Float](row []T) {
	top, sum := slices.Max(row), T(0)
	for i, s := range row {
		row[i] = T(math.Exp(float64(s - top)))
		sum += row[i]
	}
	for i := range row {
		row[i] /= sum
	}
}
