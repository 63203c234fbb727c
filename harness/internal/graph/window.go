package graph

import "fmt"

// axes is the number of dimensions of an image. An image with fewer has leading dimensions of 1.
const axes = 3

// window is a kernel on an image.
type window struct {
	size, kernel, stride, padding, dilation [axes]int
	positions                               [axes]int
}

// windowOf reads the attributes of a convolution or a pool.
func windowOf(n *Node, image, kernel []int) (w window, err error) {
	a := n.Attributes
	for _, setting := range []struct {
		to     *[axes]int
		from   []int
		absent int // value of leading dimensions, and of all of them if from is nil
	}{
		{&w.size, image, 1}, {&w.kernel, kernel, 1}, {&w.stride, a.Stride, 1},
		{&w.padding, a.Padding, 0}, {&w.dilation, a.Dilation, 1},
	} {
		missing := axes - len(image)
		if missing < 0 || missing >= axes || setting.from != nil && len(setting.from) != len(image) {
			return w, fmt.Errorf("%d numbers for %d dimensions, of which there may be 1 to %d",
				len(setting.from), len(image), axes)
		}
		for d := range axes {
			setting.to[d] = setting.absent
			if d >= missing && setting.from != nil {
				setting.to[d] = setting.from[d-missing]
			}
		}
	}
	for d := range axes {
		if w.stride[d] < 1 || w.dilation[d] < 1 || w.padding[d] < 0 || w.kernel[d] < 1 ||
			w.padding[d] > maxElements || w.dilation[d] > maxElements || w.stride[d] > maxElements {
			return w, fmt.Errorf("stride %v, dilation %v, padding %v, kernel %v", a.Stride, a.Dilation, a.Padding, kernel)
		}
		span := w.size[d] + 2*w.padding[d] - w.dilation[d]*(w.kernel[d]-1) - 1
		if span < 0 {
			return w, fmt.Errorf("a kernel of %v on an image of %v", kernel, image)
		}
		w.positions[d] = span/w.stride[d] + 1
	}
	return w, nil
}

// shape returns the sizes of the result, in as many dimensions as the image.
func (w *window) shape(image []int) []int { return w.positions[axes-len(image):] }

// pixels returns the number of elements of the image, of the kernel and of the result.
func (w *window) pixels() (image, kernel, result int) {
	return volume(w.size), volume(w.kernel), volume(w.positions)
}

func volume(sizes [axes]int) int {
	count := 1
	for _, size := range sizes {
		count *= size
	}
	return count
}

// each calls f for every element of the kernel that lies on the image, for one element of the
// result: with the place in the kernel, and the place in the image.
func (w *window) each(position int, f func(inKernel, inImage int)) {
	x := position % w.positions[2] * w.stride[2]
	y := position / w.positions[2] % w.positions[1] * w.stride[1]
	z := position / w.positions[2] / w.positions[1] * w.stride[0]
	for i := range w.kernel[0] {
		plane := z - w.padding[0] + i*w.dilation[0]
		if plane < 0 || plane >= w.size[0] {
			continue
		}
		for j := range w.kernel[1] {
			row := y - w.padding[1] + j*w.dilation[1]
			if row < 0 || row >= w.size[1] {
				continue
			}
			for k := range w.kernel[2] {
				column := x - w.padding[2] + k*w.dilation[2]
				if column >= 0 && column < w.size[2] {
					f((i*w.kernel[1]+j)*w.kernel[2]+k, (plane*w.size[1]+row)*w.size[2]+column)
				}
			}
		}
	}
}
