package variant

import (
	"math"
	"slices"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// norm divides each head's features by their root mean square: (B, H, T, E).
func (v Variant) norm(x *attention.Tensor, n *oracle.Norm) *attention.Tensor {
	if n == nil {
		return x
	}
	e := x.Shape[3]
	for at := 0; at < len(x.Data); at += e {
		features := x.Data[at:][:e]
		mean := v.Dot(features, features) / float32(e)
		root := float32(math.Sqrt(float64(mean + float32(n.Epsilon))))
		for i := range features {
			features[i] = v.Store(features[i] / root * float32(n.Weight[i]))
		}
	}
	return x
}

// rotate multiplies pairs of features, taken as complex numbers, by e^(i angle), in float32.
func (v Variant) rotate(x *attention.Tensor, t *oracle.Rotary) *attention.Tensor {
	if t == nil {
		return x
	}
	length, e := x.Shape[2], x.Shape[3]
	for row := range len(x.Data) / e {
		features := x.Data[row*e:][:e]
		position := float32(t.First+row%length) / float32(t.Factor)
		for i := range t.Dim / 2 {
			exponent := float32(2*i) / float32(t.Dim)
			frequency := 1 / float32(math.Pow(t.Base, float64(exponent)))
			sin, cos := math.Sincos(float64(position * frequency))
			rotation := complex(float32(cos), float32(sin))
			a, b := i, i+t.Dim/2
			if t.Interleaved {
				a, b = 2*i, 2*i+1
			}
			z := complex(features[a], features[b]) * rotation
			features[a], features[b] = v.Store(real(z)), v.Store(imag(z))
		}
	}
	return x
}

// concatenate joins two tensors (B, H, T, E) along T.
func concatenate(first, second *attention.Tensor) *attention.Tensor {
	dims := len(second.Shape)
	e := second.Shape[dims-1]
	a, b := first.Shape[dims-2]*e, second.Shape[dims-2]*e
	out := &attention.Tensor{Shape: slices.Clone(second.Shape)}
	out.Shape[dims-2] += first.Shape[dims-2]
	for n := range len(second.Data) / b {
		out.Data = append(out.Data, first.Data[n*a:][:a]...)
		out.Data = append(out.Data, second.Data[n*b:][:b]...)
	}
	return out
}

// appendKeys appends to each head a learned row, if there is one, and a row of zeros, if the layer
// has one.
func appendKeys(x *attention.Tensor, learned []float64, l *oracle.Layer) *attention.Tensor {
	zeros := attention.NewTensor(x.Shape[0], x.Shape[1], 1, x.Shape[3])
	if learned != nil {
		row := zeros.Clone()
		for i := range row.Data {
			row.Data[i] = float32(learned[i%len(learned)])
		}
		x = concatenate(x, row)
	}
	if l.ZeroKey {
		x = concatenate(x, zeros)
	}
	return x
}
