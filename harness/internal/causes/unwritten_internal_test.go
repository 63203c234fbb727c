package causes

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/fixture"
)

// Three titles are shown, and the others counted.
func TestSomeTitles(t *testing.T) {
	require.Equal(t, "a", someTitles([]string{"a"}))
	require.Equal(t, "a; b; c", someTitles([]string{"a", "b", "c"}))
	require.Equal(t, "a; b; c; and 1 more", someTitles([]string{"a", "b", "c", "d"}))
}

// A pass with two heads, or two batch elements, speaks against a part that nobody writes.
func TestHasSeveral(t *testing.T) {
	of := func(batch, heads int) *fixture.Case {
		q := attention.NewTensor(batch, heads, 3, 4)
		return &fixture.Case{Op: fixture.SDPA, Inputs: attention.Inputs{Query: q, Key: q, Value: q}}
	}
	require.True(t, hasSeveral(of(1, 2), "heads-not-written"))
	require.False(t, hasSeveral(of(2, 1), "heads-not-written"))
	require.True(t, hasSeveral(of(2, 1), "batch-elements-not-written"))
	require.False(t, hasSeveral(of(1, 2), "batch-elements-not-written"))
	require.False(t, hasSeveral(of(2, 2), "rows-not-written"))
}
