package transformer

import (
	"slices"

	"github.com/difftest/difftest/attention"
)

// linear is y = x weight^T + bias, as torch.nn.Linear, or with a transposed weight as the Conv1D of
// Hugging Face's GPT-2.
type linear struct {
	weight *attention.Tensor // (out, in), or (in, out) if inOut
	bias   *attention.Tensor // (out), nil for none
	inOut  bool
}

// forward maps the last dimension of x: (..., in) -> (..., out).
func (l *linear) forward(x *attention.Tensor) *attention.Tensor {
	out, in := l.weight.Shape[0], l.weight.Shape[1]
	rowStep, step := in, 1 // from weight to weight, along out and along in
	if l.inOut {
		out, in = in, out
		rowStep, step = 1, out
	}
	shape := slices.Clone(x.Shape)
	shape[len(shape)-1] = out
	y := attention.NewTensor(shape...)
	for row := range len(x.Data) / in {
		from, to := x.Data[row*in:][:in], y.Data[row*out:][:out]
		for o := range to {
			sum := 0.0
			for i, v := range from {
				sum += float64(v) * float64(l.weight.Data[o*rowStep+i*step])
			}
			if l.bias != nil {
				sum += float64(l.bias.Data[o])
			}
			to[o] = float32(sum)
		}
	}
	return y
}

// added returns the sum of two tensors of the same shape.
func added(a, b *attention.Tensor) *attention.Tensor {
	y := attention.NewTensor(a.Shape...)
	for i, v := range a.Data {
		y.Data[i] = v + b.Data[i]
	}
	return y
}
