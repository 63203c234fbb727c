package graph

import (
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/difftest/difftest/harness/internal/npy"
)

// Float is the arithmetic in which a graph is computed.
type Float interface{ float32 | float64 }

// Tensor is a value in row-major order. Integers and booleans are held as floats: integers are
// exact up to 2^24, and true is 1.
type Tensor[T Float] struct {
	Shape []int
	Data  []T
	Bool  bool // a mask of booleans, not of numbers to add
	made  bool // Data was made for this tensor alone

	// narrow holds the elements of a parameter in fewer bits than T, to save memory. Data is nil
	// then. [Tensor.Wide] returns a tensor with Data.
	narrow []float32
	// parts lists the parts of a table that the tensor consists of, and is nil for other tensors. A
	// tensor with parts may lack Data.
	parts *parts[T]
	// packed is the tensor as the weight of a linear layer, nil until [Tensor.right] needs it.
	packed atomic.Pointer[packed[T]]
	// rights holds parts of the tensor that products needed.
	rights rights[T]
}

// New returns a tensor of zeros.
func New[T Float](shape []int) (*Tensor[T], error) {
	count, err := elements(shape)
	if err != nil {
		return nil, err
	}
	return made[T](slices.Clone(shape), count), nil
}

// FromArray returns an array of any type as a tensor. An array of float32 shares its elements with
// a tensor of float32.
func FromArray[T Float](a *npy.Array) (*Tensor[T], error) {
	if t, err := narrowed[T](a); err == nil {
		if same, ok := any(t.narrow).([]T); ok {
			t.Data, t.narrow = same, nil
			return t, nil
		}
	}
	values, err := a.Numbers()
	if err != nil {
		return nil, err
	}
	t := &Tensor[T]{Shape: slices.Clone(a.Shape), Data: make([]T, len(values)), Bool: a.DType == npy.Bool}
	for i, v := range values {
		t.Data[i] = T(v)
	}
	return t, nil
}

// narrowed returns an array of float32 as a tensor that shares its elements, and fails on any other
// type.
func narrowed[T Float](a *npy.Array) (*Tensor[T], error) {
	t, err := a.Tensor(npy.Float32)
	if err != nil {
		return nil, err
	}
	return &Tensor[T]{Shape: slices.Clone(a.Shape), narrow: t.Data}, nil
}

// Wide returns a tensor with its elements in Data. Parameters of a graph in float64 may lack Data,
// and so may parts of them.
func (t *Tensor[T]) Wide() *Tensor[T] {
	if t != nil && t.Data == nil && t.parts != nil {
		return &Tensor[T]{Shape: t.Shape, Data: t.parts.copied(), Bool: t.Bool, parts: t.parts}
	}
	if t == nil || t.narrow == nil {
		return t
	}
	wide := &Tensor[T]{Shape: t.Shape, Data: make([]T, len(t.narrow)), Bool: t.Bool}
	for i, x := range t.narrow {
		wide.Data[i] = T(x)
	}
	return wide
}

// scalar returns a tensor without dimensions.
func scalar[T Float](x float64) *Tensor[T] { return &Tensor[T]{Data: []T{T(x)}} }

// converted returns a tensor in another arithmetic. It returns the tensor itself if it has this
// arithmetic already, and nil for nil.
func converted[T, F Float](t *Tensor[F]) *Tensor[T] {
	if same, ok := any(t).(*Tensor[T]); ok || t == nil {
		return same
	}
	c := &Tensor[T]{Shape: t.Shape, Data: make([]T, len(t.Data)), Bool: t.Bool}
	for i, x := range t.Data {
		c.Data[i] = T(x)
	}
	return c
}

// last returns the size of the last dimension.
func (t *Tensor[T]) last() int {
	if len(t.Shape) == 0 {
		return 1
	}
	return t.Shape[len(t.Shape)-1]
}

// strides returns the distance between neighbours in each dimension.
func strides(shape []int) []int {
	s, step := make([]int, len(shape)), 1
	for i := len(shape) - 1; i >= 0; i-- {
		s[i] = step
		step *= shape[i]
	}
	return s
}

// broadcast returns the shape that two shapes have together, aligned at their ends.
func broadcast(a, b []int) ([]int, error) {
	shape := make([]int, max(len(a), len(b)))
	for i := range shape {
		x, y := sizeFromEnd(a, len(shape)-i), sizeFromEnd(b, len(shape)-i)
		switch {
		case x == y || y == 1:
			shape[i] = x
		case x == 1:
			shape[i] = y
		default:
			return nil, fmt.Errorf("shapes %v and %v do not fit", a, b)
		}
	}
	return shape, nil
}

func sizeFromEnd(shape []int, i int) int {
	if i > len(shape) {
		return 1
	}
	return shape[len(shape)-i]
}

// spread returns, for each element of a broadcast shape, the place of its element in a tensor.
func spread(from, to []int) []int { return walk(to, spreadSteps(from, to), 0) }

// spreadSteps returns the step of a tensor in each dimension of a broadcast shape.
func spreadSteps(from, to []int) []int {
	steps := make([]int, len(to))
	own := strides(from)
	for i := range from {
		if from[i] != 1 {
			steps[len(to)-len(from)+i] = own[i]
		}
	}
	return steps
}

// walk lists the places of a view's elements: the view has a shape, a step in each dimension, and a
// start.
func walk(shape, steps []int, start int) []int {
	places := make([]int, 0, sizeOf(shape))
	eachLine(shape, view{steps, start}, view{}, func(at, _, width, step, _ int) {
		for i := range width {
			places = append(places, at+i*step)
		}
	})
	return places
}

// view is a way through the elements of a tensor: a step in each dimension, and a start. Without
// steps it stays at its start.
type view struct {
	steps []int
	start int
}

// eachLine calls a function for each line of the last dimension of a shape, in order. The function
// gets the place of the line's first element in two views, the width of the line, and the step from
// one element to the next in each view.
func eachLine(shape []int, a, b view, do func(atA, atB, width, stepA, stepB int)) {
	count, last := sizeOf(shape), len(shape)-1
	if count == 0 {
		return
	}
	if last < 0 {
		do(a.start, b.start, 1, 0, 0)
		return
	}
	if b.steps == nil {
		b.steps = make([]int, len(shape))
	}
	index := make([]int, len(shape))
	for range count / shape[last] {
		do(a.start, b.start, shape[last], a.steps[last], b.steps[last])
		for d := last - 1; d >= 0; d-- {
			index[d]++
			a.start += a.steps[d]
			b.start += b.steps[d]
			if index[d] < shape[d] {
				break
			}
			a.start -= a.steps[d] * shape[d]
			b.start -= b.steps[d] * shape[d]
			index[d] = 0
		}
	}
}

// sizeOf returns the number of elements of a shape.
func sizeOf(shape []int) int {
	count := 1
	for _, size := range shape {
		count *= size
	}
	return count
}

// at returns a copy of the elements at some places.
func (t *Tensor[T]) at(shape, places []int) *Tensor[T] {
	v := made[T](shape, len(places))
	v.Bool = t.Bool
	for i, p := range places {
		v.Data[i] = t.Data[p]
	}
	return v
}

// through returns a copy of the elements of a view, whose shape need not be the copy's.
func (t *Tensor[T]) through(shape []int, v view, viewed []int) *Tensor[T] {
	out := made[T](shape, sizeOf(shape))
	out.Bool = t.Bool
	to := out.Data
	eachLine(viewed, v, view{}, func(at, _, width, step, _ int) {
		if step == 1 {
			copy(to[:width], t.Data[at:])
		} else {
			for i := range to[:width] {
				to[i] = t.Data[at+i*step]
			}
		}
		to = to[width:]
	})
	return out
}
