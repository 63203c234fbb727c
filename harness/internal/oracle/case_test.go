package oracle_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// The time to compute slopes grows with the number of heads, not with its square.
func TestSlopesOfManyHeads(t *testing.T) {
	const heads = 1<<18 - 1
	x := attention.NewTensor(1, heads, 1, 1)
	p := oracle.FromCase(&fixture.Case{
		Op: fixture.SDPA, Options: attention.SDPAOptions{ALiBi: true},
		Inputs: attention.Inputs{Query: x, Key: x, Value: x},
	})
	require.Len(t, p.Slopes, heads)
	require.InDeltaSlice(t, attention.ALiBiSlopes(heads), p.Slopes, 1e-9)
}

// ToBatchFirst and FromBatchFirst are inverses.
func TestBatchFirst(t *testing.T) {
	a := oracle.Array{Shape: []int{2, 3, 2}, Value: []float64{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}}
	swapped := oracle.Array{Shape: []int{3, 2, 2}, Value: []float64{0, 1, 6, 7, 2, 3, 8, 9, 4, 5, 10, 11}}
	flat := oracle.Array{Shape: []int{6, 2}, Value: a.Value}
	for _, tc := range []struct {
		name            string
		layout          attention.InputLayout
		own, batchFirst oracle.Array
	}{
		{"batch first", attention.BatchFirst, a, a},
		{"sequence first", attention.SequenceFirst, swapped, a},
		{"unbatched", attention.Unbatched, flat, oracle.Array{Shape: []int{1, 6, 2}, Value: a.Value}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			require.Equal(t, tc.batchFirst, oracle.ToBatchFirst(tc.layout, tc.own))
			require.Equal(t, tc.own, oracle.FromBatchFirst(tc.layout, tc.batchFirst))
		})
	}
}
