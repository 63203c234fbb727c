package variant

import (
	"github.com/difftest/difftest/attention"
)

// Sizes are the sizes of one batch element.
type Sizes struct{ Length, Heads, Width int }

// concatenated returns the index [t][h][e].
func concatenated(s Sizes, h, t, e int) int { return (t*s.Heads+h)*s.Width + e }

// splitHeads moves the heads before the positions: (B, T, H*E) -> (B, H, T, E).
func (v Variant) splitHeads(x *attention.Tensor, heads int) *attention.Tensor {
	s := Sizes{x.Shape[1], heads, x.Shape[2] / heads}
	y := attention.NewTensor(x.Shape[0], heads, s.Length, s.Width)
	s.each(x.Shape[0], func(base, split, h, t, e int) {
		y.Data[split] = x.Data[base+v.SplitIndex(s, h, t, e)]
	})
	return y
}

// mergeHeads is the inverse of splitHeads: (N, T, E) -> (B, T, H*E).
func (v Variant) mergeHeads(x *attention.Tensor, batch, heads int) *attention.Tensor {
	s := Sizes{x.Shape[1], heads, x.Shape[2]}
	y := attention.NewTensor(batch, s.Length, heads*s.Width)
	s.each(batch, func(base, split, h, t, e int) {
		y.Data[base+v.MergeIndex(s, h, t, e)] = x.Data[split]
	})
	return y
}

// each calls f for every feature, with the index at which its batch element begins, and its own
// index when the heads are split.
func (s Sizes) each(batch int, f func(base, split, h, t, e int)) {
	split := 0
	for b := range batch {
		for h := range s.Heads {
			for t := range s.Length {
				for e := range s.Width {
					f(b*s.Length*s.Heads*s.Width, split, h, t, e)
					split++
				}
			}
		}
	}
}
