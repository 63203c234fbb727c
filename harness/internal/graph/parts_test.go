package graph

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A product with chosen matrices of a table is the product with their copies. The table is of
// float64, or narrow.
func TestProductOfParts(t *testing.T) {
	const count, out, inner = 3, 20, 33
	wide := &Tensor[float64]{Shape: []int{count, out, inner}, Data: drawn[float64](count * out * inner)}
	narrow := &Tensor[float64]{Shape: wide.Shape, narrow: make([]float32, len(wide.Data))}
	for i, v := range wide.Data {
		narrow.narrow[i] = float32(v)
	}
	chosen := &Tensor[float64]{Shape: []int{5}, Data: []float64{2, 0, -1, 1, 0}}
	x := &Tensor[float64]{Shape: []int{5, inner, 1}, Data: drawn[float64](5 * inner)}
	for _, table := range []*Tensor[float64]{wide, narrow} {
		parts, err := index(&Node{Attributes: Attributes{Dims: []int{0}}}, []*Tensor[float64]{table, chosen})
		require.NoError(t, err)
		require.Nil(t, parts.Data)
		copies := &Tensor[float64]{Shape: parts.Shape, Data: parts.Wide().Data}
		require.Len(t, copies.Data, 5*out*inner)
		want, err := matmul(nil, []*Tensor[float64]{copies, x})
		require.NoError(t, err)
		for range 2 {
			got, err := matmul(nil, []*Tensor[float64]{parts, x})
			require.NoError(t, err)
			require.Equal(t, want.Shape, got.Shape)
			assert.InDeltaSlice(t, want.Data, got.Data, 1e-13)
		}
		same, err := index(&Node{Attributes: Attributes{Dims: []int{0}}}, []*Tensor[float64]{table, chosen})
		require.NoError(t, err)
		assert.True(t, same.equal(parts))
		assert.True(t, same.Wide().equal(parts.Wide()))
		assert.False(t, parts.equal(copies), "it would have to be copied")
		other := &Tensor[float64]{Shape: []int{5}, Data: []float64{2, 0, -1, 1, 1}}
		others, err := index(&Node{Attributes: Attributes{Dims: []int{0}}}, []*Tensor[float64]{table, other})
		require.NoError(t, err)
		assert.False(t, others.equal(parts))
	}
}
