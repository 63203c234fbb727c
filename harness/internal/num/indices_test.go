package num_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/num"
)

func TestIndices(t *testing.T) {
	require.Equal(t, []int{0, 1, 2}, num.UpTo(3))
	require.Equal(t, []int{1, 3}, num.Where([]bool{false, true, false, true}))
	require.Equal(t, []int{}, num.Where([]bool{false}))
}

func TestRanges(t *testing.T) {
	require.Equal(t, "0-3, 5, 7-8", num.Ranges([]int{0, 1, 2, 3, 5, 7, 8}))
	require.Empty(t, num.Ranges(nil))
}
