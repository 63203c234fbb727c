package attention

import (
	"fmt"
	"slices"
)

// strides finds the elements of a mask that broadcasts to the scores (..., L, S). The stride of a
// dimension that repeats is 0.
type strides struct {
	lead      []int // stride of each leading dimension of the scores
	dims      []int // size of each leading dimension of the scores
	row, step int   // strides from query to query and from key to key
}

// broadcast aligns a mask's shape with the shape of the scores from the right, as PyTorch does. A
// dimension that is 1 or absent repeats.
func broadcast(shape, scores []int) (strides, error) {
	mismatch := fmt.Errorf("shape %s does not broadcast to the scores' %s", FormatShape(shape), FormatShape(scores))
	if len(shape) > len(scores) {
		return strides{}, mismatch
	}
	all := make([]int, len(scores))
	stride := 1
	for back := 1; back <= len(shape); back++ {
		have, want := shape[len(shape)-back], scores[len(scores)-back]
		if have != want && have != 1 {
			return strides{}, mismatch
		}
		if have == want {
			all[len(scores)-back] = stride
		}
		stride *= have
	}
	n := len(scores) - 2
	return strides{lead: all[:n], dims: scores[:n], row: all[n], step: all[n+1]}, nil
}

// rowOf returns the index of the first element for query i of head n, and the stride from key to
// key. n counts over all leading dimensions, the last one fastest.
func (s strides) rowOf(n, i int) (at, step int) {
	for d := len(s.dims) - 1; d >= 0; d-- {
		at += n % s.dims[d] * s.lead[d]
		n /= s.dims[d]
	}
	return at + i*s.row, s.step
}

// broadcastShapes returns the shape that two shapes broadcast to, and whether they do.
func broadcastShapes(a, b []int) ([]int, bool) {
	if len(a) < len(b) {
		a, b = b, a
	}
	out := slices.Clone(a)
	for back := 1; back <= len(b); back++ {
		have, other := &out[len(out)-back], b[len(b)-back]
		switch {
		case *have == 1:
			*have = other
		case other != 1 && other != *have:
			return nil, false
		}
	}
	return out, true
}

// headsOf returns the matrix of t that serves each head of the scores' leading dimensions. A
// dimension of t that is 1 or absent repeats as a whole. A divisor, as Hk is of H, repeats each of
// its heads in place, as repeat_kv does.
func headsOf(t *Tensor, lead []int) []int {
	n, _ := Size(lead) // no overflow: the tensors' own sizes bound it
	own := t.Shape[:len(t.Shape)-2]
	matrices := make([]int, n)
	for i := range matrices {
		stride, rest := 1, i
		for back := 1; back <= len(own); back++ {
			size, target := own[len(own)-back], lead[len(lead)-back]
			matrices[i] += rest % target / (target / size) * stride
			stride, rest = stride*size, rest/target
		}
	}
	return matrices
}
