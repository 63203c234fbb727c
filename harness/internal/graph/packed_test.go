package graph

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A small weight is multiplied as a right factor, with the result of plain loops in either layout.
// A tensor that is the weight of two layouts has both results.
func TestTheRightFactorOfALinearLayer(t *testing.T) {
	const rows, inner, out = 5, 7, 19
	x, w := drawn[float64](rows*inner), drawn[float32](out*inner)
	for _, weight := range []*Tensor[float64]{
		{narrow: w}, {Data: (&Tensor[float64]{narrow: w}).Wide().Data},
	} {
		for layout, steps := range map[string][2]int{"out, in": {inner, 1}, "in, out": {1, out}} {
			right := weight.right(out, inner, layout)
			require.NotNil(t, right)
			assert.Same(t, right, weight.right(out, inner, layout), "packed once")
			got, want := make([]float64, rows*out), make([]float64, rows*out)
			right.Mul(rows, x, inner, got, out)
			multiply(x, matrix[float32]{w, out, inner, steps}, want)
			assert.InDeltaSlice(t, want, got, 1e-14, layout)
		}
	}
	large := &Tensor[float64]{narrow: make([]float32, 300*300)}
	assert.Nil(t, large.right(300, 300, "out, in"), "a copy would take memory")
	single := &Tensor[float32]{Data: w}
	assert.Nil(t, single.right(out, inner, "out, in"), "float32 has a rounding of its own")
}
