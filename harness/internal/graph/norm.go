package graph

import (
	"fmt"
	"math"
	"slices"
)

// layerNorm computes torch.nn.functional.layer_norm over the last dimension.
func layerNorm[T Float](n *Node, in []*Tensor[T]) (*Tensor[T], error) {
	return normalize(in[0], in[1], in[2], 0, func(row, to []T) { standardize(row, to, n.Attributes.Eps) })
}

// standardize takes off the mean, and divides by the root of the variance plus eps.
func standardize[T Float](row, to []T, eps float64) {
	mean := meanOf(row)
	var squares T
	for i, x := range row {
		to[i] = x - mean
		squares += to[i] * to[i]
	}
	scale := T(1 / math.Sqrt(float64(squares/T(len(row)))+eps))
	for i := range to {
		to[i] *= scale
	}
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

// groupNorm computes torch.nn.functional.group_norm on (batch, channels, ...).
func groupNorm[T Float](n *Node, in []*Tensor[T]) (*Tensor[T], error) {
	x, groups := in[0], n.Attributes.Groups
	if len(x.Shape) < 2 || groups < 1 || x.Shape[1]%groups != 0 {
		return nil, fmt.Errorf("%d groups of %v", groups, x.Shape)
	}
	channels := x.Shape[1]
	for _, p := range in[1:] {
		if p != nil && !slices.Equal(p.Shape, []int{channels}) {
			return nil, fmt.Errorf("weight or bias of shape %v for an input of shape %v", p.Shape, x.Shape)
		}
	}
	out, err := New[T](x.Shape)
	if err != nil || len(x.Data) == 0 {
		return out, err
	}
	pixels := len(x.Data) / x.Shape[0] / channels
	size := channels / groups * pixels
	for start := 0; start < len(x.Data); start += size {
		standardize(x.Data[start:start+size], out.Data[start:start+size], n.Attributes.Eps)
	}
	for i := range out.Data {
		c := i / pixels % channels
		if in[1] != nil {
			out.Data[i] *= in[1].Data[c]
		}
		if in[2] != nil {
			out.Data[i] += in[2].Data[c]
		}
	}
	return out, nil
}

// softmax computes torch.softmax over one dimension.
func softmax[T Float](n *Node, in []*Tensor[T]) (*Tensor[T], error) {
	out := &Tensor[T]{Shape: in[0].Shape, Data: slices.Clone(in[0].Data)}
	return out, eachRow(out, n.Attributes.Dim, normalizeScores[T])
}

// logSoftmax computes torch.log_softmax over one dimension.
func logSoftmax[T Float](n *Node, in []*Tensor[T]) (*Tensor[T], error) {
	out := &Tensor[T]{Shape: in[0].Shape, Data: slices.Clone(in[0].Data)}
	return out, eachRow(out, n.Attributes.Dim, func(row []T) {
		top, sum := slices.Max(row), T(0)
		for _, s := range row {
			sum += T(math.Exp(float64(s - top)))
		}
		shift := T(math.Log(float64(sum)))
		for i := range row {
			row[i] = row[i] - top - shift
		}
	})
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

// batchNorm computes torch.nn.functional.batch_norm with running statistics, on (batch, channels,
// ...).
func batchNorm[T Float](n *Node, in []*Tensor[T]) (*Tensor[T], error) {
	x := in[0]
	if len(x.Shape) < 2 {
		return nil, fmt.Errorf("input of shape %v", x.Shape)
	}
	channels := x.Shape[1]
	for _, p := range in[1:] {
		if p != nil && !slices.Equal(p.Shape, []int{channels}) {
			return nil, fmt.Errorf("parameter of shape %v for an input of shape %v", p.Shape, x.Shape)
		}
	}
	out, err := New[T](x.Shape)
	if err != nil || len(x.Data) == 0 {
		return out, err
	}
	pixels := len(x.Data) / x.Shape[0] / channels
	for i, v := range x.Data {
		c := i / pixels % channels
		y := (v - in[3].Data[c]) * T(1/math.Sqrt(float64(in[4].Data[c])+n.Attributes.Eps))
		if in[1] != nil {
			y *= in[1].Data[c]
		}
		if in[2] != nil {
			y += in[2].Data[c]
		}
		out.Data[i] = y
	}
	return out, nil
}
