package catalogue_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// New keys and values go to the wrong slots of the cache. Keys are numbered from 1: cached ones,
// new ones, and one appended key at the end. 0 is an empty slot.
func TestCacheSlots(t *testing.T) {
	for _, tc := range []struct {
		id          string
		past, fresh int
		want        []float64
	}{
		{"cache-overwritten", 3, 2, []float64{4, 5, 3, 0, 0, 6}},
		{"cache-overwritten", 2, 3, []float64{3, 4, 5, 0, 0, 6}},
		{"cache-one-slot-late", 3, 2, []float64{1, 2, 3, 0, 4, 6}},
		{"cache-one-slot-late", 2, 3, []float64{1, 2, 0, 3, 4, 6}},
	} {
		cache := oracle.Array{Shape: []int{1, 1, tc.past, 1}}
		p := &oracle.Problem{
			Key:  oracle.Array{Shape: []int{1, tc.fresh, 1}},
			Past: &oracle.Past{Key: cache, Value: cache},
		}
		m, known := catalogue.ByID(tc.id)
		require.True(t, known && m.Plant(p, nil), tc.id)
		k := oracle.Field{
			Shape:    []int{1, 1, 6, 1},
			Value:    []float64{1, 2, 3, 4, 5, 6},
			Variance: make([]float64, 6),
		}
		v := k
		p.Prepare(nil, &k, &v)
		require.Equal(t, tc.want, k.Value, "keys of %s", tc.id)
		require.Equal(t, tc.want, v.Value, "values of %s", tc.id)
	}
}
