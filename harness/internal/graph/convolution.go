package graph

import (
	"fmt"
	"math"
	"slices"
)

// window is a position of a kernel on an image with two dimensions.
type window struct {
	size, kernel, stride, padding, dilation [2]int
}

// windowOf reads the attributes of a convolution or a pool. One dimension counts as two, the first
// of size 1.
func windowOf(n *Node, image, kernel []int) (w window, out [2]int, err error) {
	a := n.Attributes
	dilation := a.Dilation
	if dilation == nil {
		dilation = []int{1, 1}[:len(a.Stride)]
	}
	for i, to := range []*[2]int{&w.size, &w.kernel, &w.stride, &w.padding, &w.dilation} {
		from := [][]int{image, kernel, a.Stride, a.Padding, dilation}[i]
		switch len(from) {
		case 1:
			*to = [2]int{1, from[0]}
			if i == 3 {
				to[0] = 0
			}
		case 2:
			*to = [2]int{from[0], from[1]}
		default:
			return w, out, fmt.Errorf("%d dimensions, want 1 or 2", len(from))
		}
	}
	for d := range out {
		if w.stride[d] < 1 || w.dilation[d] < 1 || w.padding[d] < 0 || w.kernel[d] < 1 ||
			w.padding[d] > maxElements || w.dilation[d] > maxElements || w.stride[d] > maxElements {
			return w, out, fmt.Errorf("stride %v, dilation %v, padding %v, kernel %v",
				a.Stride, dilation, a.Padding, kernel)
		}
		span := w.size[d] + 2*w.padding[d] - w.dilation[d]*(w.kernel[d]-1) - 1
		if span < 0 {
			return w, out, fmt.Errorf("a kernel of %v on an image of %v", kernel, image)
		}
		out[d] = span/w.stride[d] + 1
	}
	return w, out, nil
}

// each calls f for every element of the kernel that lies on the image: its place in the kernel, and
// in the image.
func (w window) each(y, x int, f func(inKernel, inImage int)) {
	for i := range w.kernel[0] {
		row := y*w.stride[0] - w.padding[0] + i*w.dilation[0]
		for j := range w.kernel[1] {
			column := x*w.stride[1] - w.padding[1] + j*w.dilation[1]
			if row >= 0 && row < w.size[0] && column >= 0 && column < w.size[1] {
				f(i*w.kernel[1]+j, row*w.size[1]+column)
			}
		}
	}
}

// convolution computes torch.nn.functional.conv1d and conv2d.
func convolution[T Float](n *Node, in []*Tensor[T]) (*Tensor[T], error) {
	x, weight, bias, groups := in[0], in[1], in[2], n.Attributes.Groups
	if len(x.Shape) != len(weight.Shape) || len(x.Shape) < 3 || groups < 1 ||
		x.Shape[1] != weight.Shape[1]*groups || weight.Shape[0]%groups != 0 ||
		bias != nil && len(bias.Data) != weight.Shape[0] {
		return nil, fmt.Errorf("weight of shape %v in %d groups for an input of shape %v", weight.Shape, groups, x.Shape)
	}
	w, size, err := windowOf(n, x.Shape[2:], weight.Shape[2:])
	if err != nil {
		return nil, err
	}
	batch, channels, narrow := x.Shape[0], weight.Shape[0], weight.Shape[1]
	out, err := New[T](append([]int{batch, channels}, size[2-len(x.Shape[2:]):]...))
	if err != nil {
		return nil, err
	}
	image, kernel, pixels := w.size[0]*w.size[1], w.kernel[0]*w.kernel[1], size[0]*size[1]
	for i := range out.Data {
		b, c, pixel := i/(channels*pixels), i/pixels%channels, i%pixels
		var sum T
		for k := range narrow {
			from := x.Data[(b*x.Shape[1]+c/(channels/groups)*narrow+k)*image:]
			with := weight.Data[(c*narrow+k)*kernel:]
			w.each(pixel/size[1], pixel%size[1], func(inKernel, inImage int) { sum += with[inKernel] * from[inImage] })
		}
		if bias != nil {
			sum += bias.Data[c]
		}
		out.Data[i] = sum
	}
	return out, nil
}

// maxPool computes torch.nn.functional.max_pool2d.
func maxPool[T Float](n *Node, in []*Tensor[T]) (*Tensor[T], error) {
	x := in[0]
	if len(x.Shape) != 4 {
		return nil, fmt.Errorf("input of shape %v, want four dimensions", x.Shape)
	}
	w, size, err := windowOf(n, x.Shape[2:], n.Attributes.Kernel)
	if err != nil {
		return nil, err
	}
	out, err := New[T]([]int{x.Shape[0], x.Shape[1], size[0], size[1]})
	if err != nil {
		return nil, err
	}
	image, pixels := w.size[0]*w.size[1], size[0]*size[1]
	for i := range out.Data {
		from, pixel := x.Data[i/pixels*image:], i%pixels
		top := T(math.Inf(-1))
		w.each(pixel/size[1], pixel%size[1], func(_, inImage int) { top = max(top, from[inImage]) })
		out.Data[i] = top
	}
	return out, nil
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
