package graph

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The forms of GELU are the textbook's, for rows longer than one block of exponentials.
func TestGELUByItsFormulas(t *testing.T) {
	x := &Tensor[float64]{Shape: []int{300}, Data: drawn[float64](300)}
	copy(x.Data, []float64{40, -40, 0, -6, 6, 1e300, -1e300})
	for _, factor := range []float64{math.Sqrt(2 / math.Pi), 0.79, -0.5} {
		a := Attributes{Approximate: "tanh", Factor: &factor}
		got, err := gelu(&Node{Attributes: a}, []*Tensor[float64]{x})
		require.NoError(t, err)
		for i, v := range x.Data {
			y := factor * (v + 0.044715*v*v*v)
			want := v / 2 * (1 + math.Tanh(y))
			assert.True(t, want == got.Data[i] || math.Abs(want-got.Data[i]) < 1e-15, "%v: %v, want %v", v, got.Data[i], want)
		}
	}
	got, err := gelu(&Node{Attributes: Attributes{Approximate: "none"}}, []*Tensor[float64]{x})
	require.NoError(t, err)
	for i, v := range x.Data {
		want := v / 2 * (1 + math.Erf(v/math.Sqrt2))
		assert.True(t, want == got.Data[i] || math.Abs(want-got.Data[i]) < 1e-15, "%v: %v, want %v", v, got.Data[i], want)
	}
	_, err = gelu(&Node{}, []*Tensor[float64]{x})
	assert.ErrorContains(t, err, "approximate")
}
