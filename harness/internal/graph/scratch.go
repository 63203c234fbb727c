package graph

import "sync"

// The sizes of the memory that is used again, in elements. Less is cheap to make, and more would
// stay in use for long.
const (
	leastUsedAgain = 64
	mostUsedAgain  = 1 << 16
)

// idle holds memory of each size that values no longer need.
var idle64, idle32 sync.Map // from a size to a *sync.Pool of *[]T

func idleOf[T Float]() *sync.Map {
	if sameBits[T]() {
		return &idle32
	}
	return &idle64
}

// zeros returns memory for so many elements.
func zeros[T Float](count int) []T {
	if leastUsedAgain <= count && count <= mostUsedAgain {
		if pool, known := idleOf[T]().Load(count); known {
			if data, ok := pool.(*sync.Pool).Get().(*[]T); ok {
				clear(*data)
				return *data
			}
		}
	}
	return make([]T, count)
}

// useAgain lets other values have the memory of a value that nobody needs.
func (t *Tensor[T]) useAgain() {
	data := t.Data
	t.Data = nil
	if count := len(data); leastUsedAgain <= count && count <= mostUsedAgain {
		pool, known := idleOf[T]().Load(count)
		if !known {
			pool, _ = idleOf[T]().LoadOrStore(count, &sync.Pool{})
		}
		pool.(*sync.Pool).Put(&data)
	}
}

// made returns a tensor of zeros in memory of its own.
func made[T Float](shape []int, count int) *Tensor[T] {
	return &Tensor[T]{Shape: shape, Data: zeros[T](count), made: true}
}

// sharers counts the values of a run in each piece of memory that the run made, by its first
// element. Memory without sharers can be used again. Memory that is not listed stays.
type sharers[T Float] map[*T]int

// memoryOf returns the first element of a tensor, nil if there is none.
func memoryOf[T Float](t *Tensor[T]) *T {
	if t == nil || len(t.Data) == 0 {
		return nil
	}
	return &t.Data[0]
}

// isNew reports whether the value of a node has memory that nothing else refers to.
func (s sharers[T]) isNew(n *Node, value *Tensor[T], values overlay[T]) bool {
	if n.Computed != nil || !value.made || memoryOf(value) == nil {
		return false
	}
	for _, o := range n.Operands {
		if o.Name != "" && memoryOf(values.of(o.Name)) == memoryOf(value) {
			return false
		}
	}
	return true
}

// add counts the value of a node. A value whose memory is not known to be its own may refer to that
// of its operands, which then stays.
func (s sharers[T]) add(n *Node, value *Tensor[T], values overlay[T]) {
	memory := memoryOf(value)
	switch {
	case s[memory] > 0:
		s[memory]++
	case s.isNew(n, value, values):
		s[memory] = 1
	default:
		for _, o := range n.Operands {
			delete(s, memoryOf(values.of(o.Name)))
		}
	}
}

// drop takes a value from the count.
func (s sharers[T]) drop(value *Tensor[T]) {
	memory := memoryOf(value)
	if s[memory] == 0 {
		return
	}
	if s[memory]--; s[memory] == 0 {
		delete(s, memory)
		value.useAgain()
	}
}
