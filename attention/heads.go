package attention

import "slices"

// splitHeads cuts the features of every token into heads and moves the heads forward:
// (B, T, H*E) -> (B, H, T, E). Head h has the features h*E to (h+1)*E - 1.
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

// joinTokens puts the tokens of each head one part after another: (..., T1, E), (..., T2, E) and so
// on -> (..., T1+T2+..., E). Parts that are nil are left out; one must not be nil.
func joinTokens(parts ...*Tensor) *Tensor {
	var present []*Tensor
	length := 0
	for _, part := range parts {
		if part != nil {
			present = append(present, part)
			length += fromEnd(part, 2)
		}
	}
	if len(present) == 1 {
		return present[0]
	}
	shape := slices.Clone(present[0].Shape)
	shape[len(shape)-2] = length
	y := NewTensor(shape...)
	heads, _ := Size(shape[:len(shape)-2]) // NewTensor has seen no error
	for n := range heads {
		to := matrix(y, n)
		for _, part := range present {
			to = to[copy(to, matrix(part, n)):]
		}
	}
	return y
}

// averageHeads returns the mean over the heads: (B, H, L, S) -> (B, L, S).
func averageHeads(w *Tensor) *Tensor {
	heads, size := w.Shape[1], w.Shape[2]*w.Shape[3]
	mean := NewTensor(w.Shape[0], w.Shape[2], w.Shape[3])
	for i := range mean.Data {
		sum := 0.0
		for h := range heads {
			sum += float64(w.Data[(i/size*heads+h)*size+i%size])
		}
		mean.Data[i] = float32(sum / float64(heads))
	}
	return mean
}
