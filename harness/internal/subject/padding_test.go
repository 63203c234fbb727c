package subject_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/subject"
)

// Two runs may leave different numbers in a padded row.
func TestSameOutputWithoutPaddedRows(t *testing.T) {
	output := func(values ...float32) *attention.Tensor {
		return &attention.Tensor{Shape: []int{1, 2, 2}, Data: values}
	}
	c := &fixture.Case{
		Output: output(1, 2, 3, 4),
		Padded: []fixture.Padding{{Rows: attention.Mask{Shape: []int{1, 2}, Data: []bool{false, true}}}},
	}
	require.True(t, subject.SameOutput(c, output(1, 2, 3, 4), output(1, 2, 30, 40)))
	require.False(t, subject.SameOutput(c, output(1, 2, 3, 4), output(1, 20, 3, 4)))
	c.Padded = nil
	require.False(t, subject.SameOutput(c, output(1, 2, 3, 4), output(1, 2, 30, 40)))
}
