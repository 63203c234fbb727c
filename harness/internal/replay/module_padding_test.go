package replay

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/graph"
)

// Rows that do not matter are NaN in every output.
func TestRowsThatDoNotMatter(t *testing.T) {
	m := tiny(t, times("fourth", 0.25))
	require.Same(t, m.values["sum"], m.Output(), "nothing is padded")
	padded := m.WithPadding(func(shape []int) []bool {
		require.Equal(t, []int{4, 3}, shape)
		return []bool{false, true, false, false}
	})
	fourth := m.at(times("fourth", 0.25), everywhere)[0]
	for _, outputs := range [][]*graph.Tensor[float64]{
		{m.Output(), padded.Output()}, {m.outputOf(fourth), padded.outputOf(fourth)},
	} {
		for i, x := range outputs[1].Data {
			if i/3 == 1 {
				require.True(t, math.IsNaN(x))
				continue
			}
			require.InDelta(t, outputs[0].Data[i], x, 0)
		}
		require.Equal(t, outputs[0].Shape, outputs[1].Shape)
		require.False(t, math.IsNaN(outputs[0].Data[4]))
	}
	require.Same(t, m.values["sum"], m.Output(), "the module stays as it was")
	none := m.WithPadding(func([]int) []bool { return []bool{false, false, false, false} })
	require.Same(t, m.values["sum"], none.Output())
}
