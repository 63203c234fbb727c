package attention

// InputLayout selects the order of the dimensions of query, key, value and output: the argument
// batch_first of torch.nn.MultiheadAttention. Masks, caches and attention weights have the batch
// first in every layout.
type InputLayout int

const (
	// BatchFirst is (B, T, width): batch_first=True.
	BatchFirst InputLayout = iota
	// SequenceFirst is (T, B, width): batch_first=False, PyTorch's default.
	SequenceFirst
	// Unbatched is (T, width), which PyTorch takes too. The padding mask is then (S), and the
	// attention weights have no batch dimension either. A cache keeps its batch dimension of 1.
	Unbatched
)

// sizes returns the batch and the length of an input's shape.
func (o InputLayout) sizes(shape []int) (batch, length int) {
	switch o {
	case SequenceFirst:
		return shape[1], shape[0]
	case Unbatched:
		return 1, shape[0]
	}
	return shape[0], shape[1]
}

// shape returns the shape of an input.
func (o InputLayout) shape(batch, length, width int) []int {
	switch o {
	case SequenceFirst:
		return []int{length, batch, width}
	case Unbatched:
		return []int{length, width}
	}
	return []int{batch, length, width}
}

// letters names the dimensions of an input before its width; length is "L" or "S".
func (o InputLayout) letters(length string) string {
	switch o {
	case SequenceFirst:
		return length + ", B"
	case Unbatched:
		return length
	}
	return "B, " + length
}

// toBatchFirst rearranges an input of this layout: -> (B, T, width).
func (o InputLayout) toBatchFirst(x *Tensor) *Tensor {
	switch o {
	case SequenceFirst:
		return transposed(x)
	case Unbatched:
		return &Tensor{Shape: []int{1, x.Shape[0], x.Shape[1]}, Data: x.Data}
	}
	return x
}

// fromBatchFirst undoes toBatchFirst.
func (o InputLayout) fromBatchFirst(x *Tensor) *Tensor {
	switch o {
	case SequenceFirst:
		return transposed(x)
	case Unbatched:
		return &Tensor{Shape: x.Shape[1:], Data: x.Data}
	}
	return x
}

// transposed exchanges the first two dimensions of x: (A, B, width) -> (B, A, width).
func transposed(x *Tensor) *Tensor {
	first, second, width := x.Shape[0], x.Shape[1], x.Shape[2]
	y := NewTensor(second, first, width)
	for a := range first {
		for b := range second {
			copy(y.Data[(b*first+a)*width:][:width], x.Data[(a*second+b)*width:])
		}
	}
	return y
}
