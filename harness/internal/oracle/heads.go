package oracle

import (
	"slices"

	"github.com/difftest/difftest/harness/internal/num"
)

// Sizes are the sizes of one batch element: T positions, H heads, E features of a head.
type Sizes struct{ Length, Heads, Width int }

// Concatenated returns the index of a feature in (T, H*E), where the heads of a position stand
// side by side.
func (s Sizes) Concatenated(head, t, feature int) int {
	return (t*s.Heads+head)*s.Width + feature
}

// splitHeads moves the heads before the positions: (B, T, H*E) -> (B, H, T, E).
func (l *Layer) splitHeads(x Field, heads int, rows rowSet) Field {
	s := Sizes{x.Shape[1], heads, x.Shape[2] / heads}
	y := newField(x.detail(), x.Shape[0], heads, s.Length, s.Width)
	s.eachRun(x.Shape[0], l.SplitIndex, func(merged, split, n int) {
		if rows.has(merged / x.Shape[2]) {
			y.Take(split, x, merged, n)
		}
	})
	return y
}

// mergeHeads is the inverse of splitHeads: (B, H, T, E) -> (B, T, H*E), in borrowed memory.
func (l *Layer) mergeHeads(x Field, rows rowSet) Field {
	s := Sizes{x.Shape[2], x.Shape[1], x.Shape[3]}
	y := borrowField(x.detail(), x.Shape[0], s.Length, s.Heads*s.Width)
	if rows != nil || l.MergeIndex != nil {
		y.clear()
	}
	s.eachRun(x.Shape[0], l.MergeIndex, func(merged, split, n int) {
		if rows.has(merged / y.Shape[2]) {
			y.Take(merged, x, split, n)
		}
	})
	return y
}

// eachRun calls f for each run of n features that stay side by side, with its index when the heads
// are merged, (B, T, H*E), and when they are split, (B, H, T, E).
func (s Sizes) eachRun(batch int, index func(s Sizes, head, t, feature int) int, f func(merged, split, n int)) {
	step := 1
	if index == nil {
		index, step = Sizes.Concatenated, s.Width
	}
	for b := range batch {
		for h := range s.Heads {
			for t := range s.Length {
				for e := 0; e < s.Width; e += step {
					merged := b*s.Length*s.Heads*s.Width + index(s, h, t, e)
					split := ((b*s.Heads+h)*s.Length+t)*s.Width + e
					f(merged, split, step)
				}
			}
		}
	}
}

// concatenate joins two fields (..., Hk, T, E) along T.
func concatenate(first, second Field) Field {
	dims := len(second.Shape)
	before, length, width := first.Shape[dims-2], second.Shape[dims-2], second.Shape[dims-1]
	shape := slices.Clone(second.Shape)
	shape[dims-2] += before
	y := newField(second.detail(), shape...)
	for n := range num.Size(shape[:dims-2]) {
		to := y.matrix(n)
		to.Take(0, first.matrix(n), 0, before*width)
		to.Take(before*width, second.matrix(n), 0, length*width)
	}
	return y
}

// appendKeys appends a learned row, if there is one, and a row of zeros, if the layer has one, to
// keys or values (B, Hk, T, E).
func (p *Problem) appendKeys(x Field, learned []float64) Field {
	if learned != nil {
		row := newField(x.detail(), x.Shape[0], x.Shape[1], 1, x.Shape[3])
		for i := range row.Value {
			row.Value[i] = learned[i%len(learned)]
		}
		addSquares(row, p.Precision.learned)
		x = concatenate(x, row)
	}
	if p.Layer.ZeroKey {
		x = concatenate(x, newField(x.detail(), x.Shape[0], x.Shape[1], 1, x.Shape[3]))
	}
	return x
}
