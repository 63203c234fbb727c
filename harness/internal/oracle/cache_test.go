package oracle

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
)

// A run that ctx interrupts leaves nothing in the cache.
func TestAnInterruptedRunIsForgotten(t *testing.T) {
	x := Array{[]int{1, 3, 2}, []float64{1, 2, 3, 4, 5, 6}}
	identity := Linear{Weight: []float64{1, 0, 0, 1}, In: 2, Out: 2}
	p := (&Problem{Query: x, Key: x, Value: x, Scale: 1, Layer: &Layer{
		Heads: 1, KVHeads: 1, Query: identity, Key: identity, Value: identity, Output: identity,
	}}).Cached()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := p.Rows(ended, nil, WithNoise)
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, p.Clone().Run(), p.Run())
	require.Equal(t, p.Clone().Run(), p.ForkAfterContext().Run())
}
