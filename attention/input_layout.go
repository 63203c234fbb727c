package attention

// batchFirst gives x, in the order o, as (B, T, width).
func (o InputLayout) batchFirst(x *Tensor) *Tensor {
	switch o {
	case SequenceFirst:
		return swapped(x)
	case Unbatched:
		return &Tensor{Shape: []int{1, x.Shape[0], x.Shape[1]}, Data: x.Data}
	}
	return x
}

// restore undoes batchFirst.
func (o InputLayout) restore(x *Tensor) *Tensor {
	switch o {
	case SequenceFirst:
		return swapped(x)
	case Unbatched:
		return &Tensor{Shape: x.Shape[1:], Data: x.Data}
	}
	return x
}

// swapped exchanges the first two of three dimensions.
func swapped(x *Tensor) *Tensor {
	first, second, width := x.Shape[0], x.Shape[1], x.Shape[2]
	y := NewTensor(second, first, width)
	for a := range first {
		for b := range second {
			copy(y.Data[(b*first+a)*width:][:width], x.Data[(a*second+b)*width:])
		}
	}
	return y
}

// splitHeads views the last dimension as H heads and moves them forward:
// (B, T, H*E) -> (B, H, T, E). Head h is features h*E..(h+1)*E.
func splitHeads(x *Tensor, heads int) *Tensor {
	batch, length, e := x.Shape[0], x.Shape[1], x.Shape[2]/heads
	y := NewTensor(batch, heads, length, e)
	for b := range batch {
		for h := range heads {
			for t := range length {
				copy(y.Data[((b*heads+h)*length+t)*e:][:e], x.Data[((b*length+t)*heads+h)*e:][:e])
			}
		}
	}
	return y
}

// mergeHeads undoes splitHeads: (B, H, T, E) -> (B, T, H*E).
func mergeHeads(x *Tensor) *Tensor {
	batch, heads, length, e := x.Shape[0], x.Shape[1], x.Shape[2], x.Shape[3]
	y := NewTensor(batch, length, heads*e)
	for b := range batch {
		for h := range heads {
			for t := range length {
				copy(y.Data[((b*length+t)*heads+h)*e:][:e], x.Data[((b*heads+h)*length+t)*e:][:e])
			}
		}
	}
	return y
}
