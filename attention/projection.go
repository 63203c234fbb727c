package attention

import "github.com/difftest/difftest/attention/kernel"

// projection is one linear map of a layer, y = x weight^T + bias, as torch.nn.Linear.
type projection struct {
	weight  kernel.Right[float32] // weight^T, (in, out)
	bias    []float32             // (out), nil for none
	in, out int
}

// newProjection returns a projection with a copy of weight (out, in).
func newProjection(weight, bias []float32, in, out int) projection {
	return projection{kernel.Transposed(weight, in, out, in, nil), bias, in, out}
}

// apply maps the last dimension of x: (B, T, in) -> (B, T, out). The sum of an output begins with
// its bias.
func (p projection) apply(x *Tensor) *Tensor {
	const rows = 96 // in a block: each block reads the whole weight
	y := NewTensor(x.Shape[0], x.Shape[1], p.out)
	count := x.Shape[0] * x.Shape[1]
	parallel((count+rows-1)/rows, func(block int) {
		first := block * rows
		n := min(rows, count-first)
		out := y.Data[first*p.out:][:n*p.out]
		for at := 0; at < len(out) && p.bias != nil; at += p.out {
			copy(out[at:], p.bias)
		}
		p.weight.MulAdd(n, x.Data[first*p.in:], p.in, out, p.out)
	})
	return y
}
