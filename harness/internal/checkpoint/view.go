package checkpoint

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/difftest/difftest/attention"
)

// view places the elements of a tensor in a storage. Offset and strides count elements.
type view struct {
	offset         int
	shape, strides []int
}

// check fails unless every element of the view lies inside a storage.
func (v view) check(elements int) error {
	n, err := attention.Size(v.shape)
	if err != nil {
		return err
	}
	if len(v.strides) != len(v.shape) {
		return fmt.Errorf("shape %s has other dimensions than strides %s",
			attention.FormatShape(v.shape), attention.FormatShape(v.strides))
	}
	if v.offset < 0 || slices.ContainsFunc(v.strides, func(s int) bool { return s < 0 }) {
		return fmt.Errorf("offset %d or strides %s are negative", v.offset, attention.FormatShape(v.strides))
	}
	if n == 0 {
		return nil
	}
	left := elements - 1 - v.offset // between the first element and the end
	for d, stride := range v.strides {
		if left >= 0 && stride > 0 && v.shape[d]-1 > left/stride {
			left = -1
		}
		if left >= 0 {
			left -= (v.shape[d] - 1) * stride
		}
	}
	if left < 0 {
		return fmt.Errorf("shape %s with offset %d and strides %s reaches beyond a storage of %d elements",
			attention.FormatShape(v.shape), v.offset, attention.FormatShape(v.strides), elements)
	}
	return nil
}

// contiguous reports whether the elements lie in row-major order. The stride of a dimension of 1
// does not matter.
func (v view) contiguous() bool {
	want := 1
	for d := len(v.shape) - 1; d >= 0; d-- {
		if v.shape[d] != 1 && v.strides[d] != want {
			return false
		}
		want *= v.shape[d]
	}
	return true
}

// fortran returns the view of a whole array in Fortran order, the first index the fastest.
func fortran(shape []int) view {
	v := view{shape: shape, strides: make([]int, len(shape))}
	stride := 1
	for d, n := range shape {
		v.strides[d] = stride
		stride *= n
	}
	return v
}

// rows returns the view of a whole array in row-major order.
func rows(shape []int) view {
	v := view{shape: shape, strides: make([]int, len(shape))}
	stride := 1
	for d := len(shape) - 1; d >= 0; d-- {
		v.strides[d] = stride
		stride *= shape[d]
	}
	return v
}

// reordered returns the view with some of its dimensions, in another order.
func (v view) reordered(order []int) view {
	r := view{offset: v.offset}
	for _, d := range order {
		r.shape, r.strides = append(r.shape, v.shape[d]), append(r.strides, v.strides[d])
	}
	return r
}

// rowOrder lists the dimensions in row-major order, the slowest first. A dimension of 1 is left
// out, because its place moves no element.
func (v view) rowOrder() []int {
	var order []int
	for d, n := range v.shape {
		if n != 1 {
			order = append(order, d)
		}
	}
	return order
}

// storageOrder lists the dimensions in the order in which the elements lie in the storage, as
// [view.rowOrder] does. If the elements do not lie one behind another, the order is row-major.
func (v view) storageOrder() []int {
	order := v.rowOrder()
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(v.strides[b], v.strides[a]) })
	if !v.reordered(order).contiguous() {
		return v.rowOrder()
	}
	return order
}
