package attention

import (
	"fmt"
	"slices"
)

// strides says where the elements of a mask lie that is broadcast to the scores (..., L, S).
type strides struct {
	lead      []int // one stride for each leading dimension of the scores
	dims      []int // sizes of those leading dimensions
	row, step int   // from query to query, from key to key
}

// broadcast lines a mask's shape up with the scores' from the right, as NumPy and PyTorch do:
// a dimension that is 1 or absent repeats.
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

// rowOf gives where query i of head n begins, and the step from key to key. n counts over all
// leading dimensions, the last one fastest.
func (s strides) rowOf(n, i int) (at, step int) {
	for d := len(s.dims) - 1; d >= 0; d-- {
		at += n % s.dims[d] * s.lead[d]
		n /= s.dims[d]
	}
	return at + i*s.row, s.step
}

// broadcastShapes gives the shape that two broadcast to.
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
