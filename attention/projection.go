package attention

// projection is one linear map of a layer, y = x weight^T + bias, as torch.nn.Linear.
type projection struct {
	weight  []float32 // (out, in)
	bias    []float32 // (out), nil for none
	in, out int
}

// apply maps the last dimension of x: (B, T, in) -> (B, T, out).
func (p projection) apply(x *Tensor) *Tensor {
	y := NewTensor(x.Shape[0], x.Shape[1], p.out)
	parallel(x.Shape[0]*x.Shape[1], func(row int) {
		in, out := x.Data[row*p.in:][:p.in], y.Data[row*p.out:][:p.out]
		for o := range out {
			sum := dot(in, p.weight[o*p.in:][:p.in])
			if p.bias != nil {
				sum += float64(p.bias[o])
			}
			out[o] = float32(sum)
		}
	})
	return y
}
