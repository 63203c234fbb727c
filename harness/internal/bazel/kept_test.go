package bazel_test

import (
	"errors"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/bazel"
)

// Each call writes all that earlier ones kept, one call after the other.
func TestKept(t *testing.T) {
	var kept bazel.Kept[int]
	var last []int
	var group sync.WaitGroup
	for i := range 10 {
		group.Go(func() {
			_ = kept.Add([]int{i}, func(all []int) error {
				last = all
				return nil
			})
		})
	}
	group.Wait()
	require.ElementsMatch(t, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, last)
	require.EqualError(t, kept.Add(nil, func([]int) error { return errors.New("no") }), "no")
}
