package attention_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
)

// The paper (Press et al., 2022) gives 1/2 to 1/256 for 8 heads. Its code gives 6 heads the slopes
// of 4 heads and two slopes of 8 heads.
func TestALiBiSlopes(t *testing.T) {
	half := math.Sqrt(0.5)
	for _, tc := range []struct {
		heads int
		want  []float64
	}{
		{1, []float64{1. / 256}},
		{2, []float64{1. / 16, 1. / 256}},
		{3, []float64{1. / 16, 1. / 256, 1. / 4}},
		{6, []float64{1. / 4, 1. / 16, 1. / 64, 1. / 256, 1. / 2, 1. / 8}},
		{8, []float64{1. / 2, 1. / 4, 1. / 8, 1. / 16, 1. / 32, 1. / 64, 1. / 128, 1. / 256}},
		{12, []float64{
			1. / 2, 1. / 4, 1. / 8, 1. / 16, 1. / 32, 1. / 64, 1. / 128, 1. / 256,
			half, half / 2, half / 4, half / 8,
		}},
	} {
		require.InDeltaSlice(t, tc.want, attention.ALiBiSlopes(tc.heads), 1e-15, "%d heads", tc.heads)
	}
}
