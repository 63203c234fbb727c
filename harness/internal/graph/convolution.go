package graph

import (
	"fmt"
	"math"
	"slices"
)

// convolution computes torch.nn.functional.conv1d, conv2d and conv3d.
func convolution[T Float](n *Node, in []*Tensor[T]) (*Tensor[T], error) {
	x, weight, bias, groups := in[0], in[1], in[2], n.Attributes.Groups
	if len(x.Shape) != len(weight.Shape) || len(x.Shape) < 3 || groups < 1 ||
		x.Shape[1] != weight.Shape[1]*groups || weight.Shape[0]%groups != 0 ||
		bias != nil && len(bias.Data) != weight.Shape[0] {
		return nil, fmt.Errorf("weight of shape %v in %d groups for an input of shape %v", weight.Shape, groups, x.Shape)
	}
	w, err := windowOf(n, x.Shape[2:], weight.Shape[2:])
	if err != nil {
		return nil, err
	}
	batch, channels, narrow := x.Shape[0], weight.Shape[0], weight.Shape[1]
	out, err := New[T](append([]int{batch, channels}, w.shape(x.Shape[2:])...))
	if err != nil {
		return nil, err
	}
	image, kernel, pixels := w.pixels()
	for i := range out.Data {
		b, c, pixel := i/(channels*pixels), i/pixels%channels, i%pixels
		var sum T
		for k := range narrow {
			from := x.Data[(b*x.Shape[1]+c/(channels/groups)*narrow+k)*image:]
			with := weight.Data[(c*narrow+k)*kernel:]
			w.each(pixel, func(inKernel, inImage int) { sum += with[inKernel] * from[inImage] })
		}
		if bias != nil {
			sum += bias.Data[c]
		}
		out.Data[i] = sum
	}
	return out, nil
}

// convolutionTransposed computes torch.nn.functional.conv_transpose1d, 2d and 3d: the gradient of a
// convolution whose image is the result.
func convolutionTransposed[T Float](n *Node, in []*Tensor[T]) (*Tensor[T], error) {
	x, weight, bias, groups := in[0], in[1], in[2], n.Attributes.Groups
	if len(x.Shape) != len(weight.Shape) || len(x.Shape) < 3 || groups < 1 || x.Shape[1] != weight.Shape[0] ||
		x.Shape[1]%groups != 0 || bias != nil && len(bias.Data) != weight.Shape[1]*groups {
		return nil, fmt.Errorf("weight of shape %v in %d groups for an input of shape %v", weight.Shape, groups, x.Shape)
	}
	sizes, err := transposedSizes(n, x.Shape[2:], weight.Shape[2:])
	if err != nil {
		return nil, err
	}
	w, err := windowOf(n, sizes, weight.Shape[2:])
	if err != nil {
		return nil, err
	}
	narrow := weight.Shape[1]
	channels := narrow * groups
	out, err := New[T](append([]int{x.Shape[0], channels}, sizes...))
	if err != nil {
		return nil, err
	}
	image, kernel, pixels := w.pixels()
	if pixels*x.Shape[0]*x.Shape[1] != len(x.Data) {
		return nil, fmt.Errorf("output_padding %v for a stride of %v", n.Attributes.OutputPadding, n.Attributes.Stride)
	}
	for i, v := range x.Data {
		b, c, pixel := i/(x.Shape[1]*pixels), i/pixels%x.Shape[1], i%pixels
		for k := range narrow {
			to := out.Data[(b*channels+c/(x.Shape[1]/groups)*narrow+k)*image:]
			with := weight.Data[(c*narrow+k)*kernel:]
			w.each(pixel, func(inKernel, inImage int) { to[inImage] += with[inKernel] * v })
		}
	}
	if bias != nil {
		for i := range out.Data {
			out.Data[i] += bias.Data[i/image%channels]
		}
	}
	return out, nil
}

// transposedSizes returns the sizes of the image that a transposed convolution makes.
func transposedSizes(n *Node, image, kernel []int) ([]int, error) {
	a := n.Attributes
	sizes := make([]int, len(image))
	for _, list := range [][]int{a.Stride, a.Padding, a.Dilation, a.OutputPadding} {
		if len(list) != len(image) || slices.ContainsFunc(list, func(v int) bool { return v < 0 || v > maxElements }) {
			return nil, fmt.Errorf("stride %v, padding %v, dilation %v, output_padding %v",
				a.Stride, a.Padding, a.Dilation, a.OutputPadding)
		}
	}
	for d := range sizes {
		sizes[d] = (image[d]-1)*a.Stride[d] - 2*a.Padding[d] + a.Dilation[d]*(kernel[d]-1) + a.OutputPadding[d] + 1
		if image[d] < 1 || kernel[d] < 1 || sizes[d] < 1 {
			return nil, fmt.Errorf("a kernel of %v on an image of %v", kernel, image)
		}
	}
	_, err := elements(sizes)
	return sizes, err
}

// maxPool computes torch.nn.functional.max_pool1d, 2d and 3d.
func maxPool[T Float](n *Node, in []*Tensor[T]) (*Tensor[T], error) {
	return pool(n, in[0], func(values []T, _ int) T {
		top := T(math.Inf(-1))
		for _, v := range values {
			top = max(top, v)
		}
		return top
	})
}

// averagePool computes torch.nn.functional.avg_pool1d, 2d and 3d.
func averagePool[T Float](n *Node, in []*Tensor[T]) (*Tensor[T], error) {
	return pool(n, in[0], func(values []T, kernel int) T {
		if n.Attributes.CountPadding {
			return sumOf(values) / T(kernel)
		}
		return meanOf(values)
	})
}

// pool folds the elements under each window on images of shape (batch, channels, ...). The fold
// gets the elements on the image, and the size of the kernel.
func pool[T Float](n *Node, x *Tensor[T], fold func(values []T, kernel int) T) (*Tensor[T], error) {
	if len(x.Shape) < 3 {
		return nil, fmt.Errorf("input of shape %v, want (batch, channels, ...)", x.Shape)
	}
	w, err := windowOf(n, x.Shape[2:], n.Attributes.Kernel)
	if err != nil {
		return nil, err
	}
	out, err := New[T](append(slices.Clone(x.Shape[:2]), w.shape(x.Shape[2:])...))
	if err != nil {
		return nil, err
	}
	image, kernel, pixels := w.pixels()
	var values []T
	for i := range out.Data {
		from := x.Data[i/pixels*image:]
		values = values[:0]
		w.each(i%pixels, func(_, inImage int) { values = append(values, from[inImage]) })
		out.Data[i] = fold(values, kernel)
	}
	return out, nil
}
