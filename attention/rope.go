package attention

import "math"

// RoPE is rotary position embedding (Su et al., RoFormer, 2021): the features of a head are
// rotated in pairs, by an angle that grows with the position.
type RoPE struct {
	Style  RoPEStyle
	Dim    int     // r: the first r features of a head are rotated, an even number; 0 is all
	Base   float64 // theta: pair i turns by theta^(-2i/r) a position; 10000 in the paper
	Factor float64 // positions are divided by it; 0 is 1
}

// RoPEStyle says which features are a pair.
type RoPEStyle int

const (
	// HalfSplit pairs feature i with i + r/2, as Hugging Face's models and GPT-NeoX do.
	HalfSplit RoPEStyle = iota
	// Interleaved pairs feature 2i with 2i + 1, as the paper and Meta's Llama do.
	Interleaved
)

func (r *RoPE) check(headDim int, refuse refusal) {
	refuse(r.Style < HalfSplit || r.Style > Interleaved, "rope: unknown style %d", r.Style)
	refuse(r.Dim < 0 || r.Dim%2 != 0 || r.Dim > headDim || (r.Dim == 0 && headDim%2 != 0),
		"rope: dim %d, want an even number up to the head dim %d, or 0 for all of an even one", r.Dim, headDim)
	refuse(!finite(r.Base) || r.Base <= 0, "rope: base %v, want a positive number", r.Base)
	refuse(!finite(r.Factor) || r.Factor < 0, "rope: factor %v, want 0 (1) or a positive number", r.Factor)
}

// rotate turns every head of x (B, H, T, E) in place; its first position is given.
func (r *RoPE) rotate(x *Tensor, first int) {
	if r == nil {
		return
	}
	length, e := x.Shape[2], x.Shape[3]
	dim, factor := r.Dim, r.Factor
	if dim == 0 {
		dim = e
	}
	if factor == 0 {
		factor = 1
	}
	parallel(x.Shape[0]*x.Shape[1]*length, func(row int) {
		at := float64(first+row%length) / factor
		features := x.Data[row*e:][:e]
		for i := range dim / 2 {
			a, b := r.pair(i, dim)
			sin, cos := math.Sincos(at * math.Pow(r.Base, -2*float64(i)/float64(dim)))
			one, two := float64(features[a]), float64(features[b])
			features[a] = float32(one*cos - two*sin)
			features[b] = float32(two*cos + one*sin)
		}
	})
}

func (r *RoPE) pair(i, dim int) (first, second int) {
	if r.Style == Interleaved {
		return 2 * i, 2*i + 1
	}
	return i, i + dim/2
}
