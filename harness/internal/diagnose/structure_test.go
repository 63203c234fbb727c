package diagnose

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/oracletest"
)

func TestStructure(t *testing.T) {
	d := changed(oracletest.Padded(), func(y []float64) {
		y[4]++  // batch 0, row 1, feature 0
		y[11]++ // batch 0, row 2, feature 3
		y[23]++ // batch 1, row 2, feature 3
	})
	s := d.Structure
	require.Equal(t, [][]bool{{false, true, true}, {false, false, true}}, s.Wrong)
	require.Equal(t, [][]int{{0, 1, 2}, {1, 2, 3}}, s.Visible)
	require.Equal(t, []int{0, 1}, s.WrongBatches)
	require.Equal(t, []int{1, 2}, s.WrongRows)
	require.Equal(t, []int{0, 3}, s.WrongFeatures)
	require.True(t, s.FirstRowExact)
	require.False(t, s.LastRowExact)
	require.Equal(t, []string{"-xx  batch 0", "..x  batch 1"}, s.Picture())
}

// An element as far off as the noise allows is not wrong.
func TestStructureAtTheLimit(t *testing.T) {
	want := make([]float64, 4)
	for off, wrong := range map[float64][]int{2: {}, 2.25: {1}} { // 16 sigma, 18
		s := looked(0.125, []int{1, 2, 2}, want, []float64{0, 0, off, 0}).structure
		require.Equal(t, wrong, s.WrongRows, off)
		require.Equal(t, len(wrong) == 0, s.LastRowExact)
	}
}

func TestPictureJoinsNeighbours(t *testing.T) {
	s := Structure{
		Lead:    []int{2, 2},
		Wrong:   [][]bool{{true, false}, {true, false}, {true, false}, {false, false}},
		Visible: [][]int{{1, 2}, {1, 2}, {1, 2}, {0, 2}},
	}
	require.Equal(t, []string{"x.  batch 0 head 0 to batch 1 head 0", "-.  batch 1 head 1"}, s.Picture())
	s.Wrong[0][1] = true
	require.Equal(t, "x.  batch 0 head 1 to batch 1 head 0", s.Picture()[1], "two neighbours")
}
