package attention

import "math"

// RoPE configures rotary position embedding (Su et al., RoFormer, 2021). The features of a query
// or key head are rotated in pairs, pair i of the token at position t by the angle, in radians,
//
//	t / Factor * Base^(-2i/Dim)
//
// Positions count from 0, cached keys included. A score then depends on the distance between query
// and key alone.
type RoPE struct {
	// Style selects the features that form a pair.
	Style RoPEStyle
	// Dim is the number of leading features of a head that are rotated, an even number. Hugging
	// Face's configurations have head_dim * partial_rotary_factor. 0 means all of them.
	Dim int
	// Base is theta, a positive number: rope_theta. The paper has 10000; there is no default.
	Base float64
	// Factor divides the positions: the factor of linear rope scaling. 0 means 1.
	Factor float64
}

// RoPEStyle selects the features that [RoPE] rotates together.
type RoPEStyle int

const (
	// HalfSplit pairs feature i with feature i + Dim/2, as Hugging Face's Llama and GPT-NeoX do.
	HalfSplit RoPEStyle = iota
	// Interleaved pairs feature 2i with feature 2i + 1, as the paper and Meta's Llama do.
	Interleaved
)

func (r *RoPE) check(headDim int, refuse refusal) {
	refuse(r.Style < HalfSplit || r.Style > Interleaved, "rope: unknown style %d", r.Style)
	refuse(r.Dim < 0 || r.Dim%2 != 0 || r.Dim > headDim || (r.Dim == 0 && headDim%2 != 0),
		"rope: dim %d, want an even number up to the head dim %d, or 0 for all of an even one", r.Dim, headDim)
	refuse(!finite(r.Base) || r.Base <= 0, "rope: base %v, want a positive number", r.Base)
	refuse(!finite(r.Factor) || r.Factor < 0, "rope: factor %v, want 0 (1) or a positive number", r.Factor)
}

// rotate rotates every head of x (B, H, T, E) in place; first is the position of token 0. A nil
// RoPE changes nothing.
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
	turns := r.turns(first, length, dim, factor)
	parallel(x.Shape[0]*x.Shape[1]*length, 2*dim, func(row int) {
		features := x.Data[row*e:][:e]
		for i, turn := range turns[row%length*(dim/2):][:dim/2] {
			a, b := r.pair(i, dim)
			one, two := float64(features[a]), float64(features[b])
			features[a] = float32(one*turn.cos - two*turn.sin)
			features[b] = float32(two*turn.cos + one*turn.sin)
		}
	})
}

// turn is the sine and the cosine of the angle by which a pair of features is rotated.
type turn struct{ sin, cos float64 }

// turns returns the turns of all pairs at each of length positions, which begin with first.
func (r *RoPE) turns(first, length, dim int, factor float64) []turn {
	const sincos = 32 // multiplications in its time
	pairs := dim / 2
	powers, turns := make([]float64, pairs), make([]turn, length*pairs)
	for i := range powers {
		powers[i] = math.Pow(r.Base, -2*float64(i)/float64(dim))
	}
	parallel(length, sincos*pairs, func(t int) {
		position := float64(first+t) / factor
		for i, power := range powers {
			own := &turns[t*pairs+i]
			own.sin, own.cos = math.Sincos(position * power)
		}
	})
	return turns
}

// pair returns the features that form pair i.
func (r *RoPE) pair(i, dim int) (first, second int) {
	if r.Style == Interleaved {
		return 2 * i, 2*i + 1
	}
	return i, i + dim/2
}
