// Package reorder finds the order of memory, and the order along an axis, that turns an output into
// the expected one. It knows nothing about attention.
package reorder

import (
	"fmt"
	"slices"
	"strings"

	"github.com/difftest/difftest/harness/internal/num"
)

// Order tells how to read an output so that it becomes the expected one: view it, permute the axes
// of the view, reverse some of them, take the indices along one in another order, and give the
// result its shape.
type Order struct {
	View  []int // the shape in which the output is read
	Axes  []int // the view's axes, in their new order
	Flips []int // axes to reverse, counted after the permutation

	// Along is an axis after the permutation, and Indices[j] the index that belongs at j. Indices
	// is nil if the indices stay.
	Along   int
	Indices []int

	// Got and Want are the shapes of the output and of the expected output.
	Got, Want []int

	// Residual and MaxZ compare the reordered output with the expected one.
	Residual, MaxZ float64
}

// String returns the order as a PyTorch expression: "output.transpose(0, 1)".
func (o Order) String() string {
	var b strings.Builder
	b.WriteString("output")
	shape := o.Got
	if !slices.Equal(shape, o.View) && !o.stays() {
		shape = o.View
		fmt.Fprintf(&b, ".reshape(%s)", numbers(shape))
	}
	if !o.stays() {
		b.WriteString(permutation(o.Axes))
		if len(o.Flips) > 0 {
			fmt.Fprintf(&b, ".flip(%s)", numbers(o.Flips))
		}
		b.WriteString(indices(o.Along, o.Indices))
		shape = o.shape()
	}
	if !slices.Equal(shape, o.Want) {
		fmt.Fprintf(&b, ".reshape(%s)", numbers(o.Want))
	}
	return b.String()
}

// stays reports whether the order of memory stays.
func (o Order) stays() bool {
	return o.Indices == nil && len(o.Flips) == 0 && slices.IsSorted(o.Axes)
}

// shape returns the shape of the view after the permutation.
func (o Order) shape() []int {
	shape := make([]int, len(o.Axes))
	for i, axis := range o.Axes {
		shape[i] = o.View[axis]
	}
	return shape
}

// sources returns, for each element of the expected output, the place in the output's memory that
// holds it.
func (o Order) sources() func(i int) int {
	strides := make([]int, len(o.View))
	stride := 1
	for d := len(o.View) - 1; d >= 0; d-- {
		strides[d] = stride
		stride *= o.View[d]
	}
	shape := o.shape()
	return func(i int) int {
		at := 0
		for d := len(shape) - 1; d >= 0; d-- {
			index := i % shape[d]
			i /= shape[d]
			if slices.Contains(o.Flips, d) {
				index = shape[d] - 1 - index
			}
			if d == o.Along && o.Indices != nil {
				index = o.Indices[index]
			}
			at += index * strides[o.Axes[d]]
		}
		return at
	}
}

// permutation writes a permutation of axes; "" if they stay.
func permutation(axes []int) string {
	var moved []int
	for i, axis := range axes {
		if axis != i {
			moved = append(moved, i)
		}
	}
	switch len(moved) {
	case 0:
		return ""
	case 2:
		return fmt.Sprintf(".transpose(%d, %d)", moved[0], moved[1])
	}
	return fmt.Sprintf(".permute(%s)", numbers(axes))
}

// indices writes an order of indices along an axis; "" if they stay.
func indices(axis int, order []int) string {
	n := len(order)
	if n == 0 {
		return ""
	}
	shift, rolled := order[0], true
	for i, from := range order {
		rolled = rolled && from == (i+shift)%n
	}
	switch {
	case rolled && shift <= n/2:
		return fmt.Sprintf(".roll(-%d, %d)", shift, axis)
	case rolled:
		return fmt.Sprintf(".roll(%d, %d)", n-shift, axis)
	}
	return fmt.Sprintf(".index_select(%d, tensor([%s]))", axis, shortened(order))
}

func numbers(list []int) string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(list), " ", ", "), "[]")
}

// shortened writes the first indices of a list.
func shortened(list []int) string {
	const shown = 16
	if len(list) <= shown {
		return numbers(list)
	}
	return numbers(list[:shown]) + ", ..."
}

// view returns a shape without its dimensions of one element.
func view(shape []int) []int {
	return slices.DeleteFunc(slices.Clone(shape), func(n int) bool { return n == 1 })
}

// splits returns the views of a shape: its own, and the ones with the last dimension cut in two,
// as heads are.
func splits(shape []int) [][]int {
	own := view(shape)
	all := [][]int{own}
	if len(own) == 0 {
		return all
	}
	lead, width := own[:len(own)-1], num.Last(own)
	for heads := 2; heads <= width/2; heads++ {
		if width%heads == 0 {
			all = append(all, slices.Concat(lead, []int{heads, width / heads}))
		}
	}
	return all
}
