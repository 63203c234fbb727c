package shard_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/shard"
)

func TestParse(t *testing.T) {
	s, err := shard.Parse("2/3")
	require.NoError(t, err)
	require.Equal(t, shard.Shard{Index: 2, Count: 3}, s)
	require.Equal(t, "2/3", s.String())
	for _, text := range []string{"", "2", "2/", "/3", "0/3", "4/3", "-1/3", "1/0", "1/1001", "a/3", "1/3/5", " 1/3", "01/3", "+1/3"} {
		_, err := shard.Parse(text)
		require.ErrorContains(t, err, fmt.Sprintf("%q, want i/n", text))
	}
}

// Every case is in one shard, and no shard has many more cases than the others.
func TestShardsDivideTheCases(t *testing.T) {
	names := some(1000)
	for count := 1; count <= 5; count++ {
		var all []string
		for i := range count {
			own := shard.Shard{Index: i + 1, Count: count}.Cases(names)
			require.InDelta(t, len(names)/count, len(own), 60)
			require.True(t, slices.IsSorted(own), "the order stays")
			all = append(all, own...)
		}
		require.ElementsMatch(t, names, all)
	}
	require.Equal(t, names, shard.Shard{}.Cases(names))
}

// A case stays in its shard when others are added, and in every version of difftest.
func TestShardsAreStable(t *testing.T) {
	names := some(100)
	second := shard.Shard{Index: 2, Count: 3}
	few, many := second.Cases(names[:50]), second.Cases(names)
	require.Equal(t, few, many[:len(few)])
	require.Equal(t, []int{1, 1, 3, 1}, []int{
		shard.Of("mha/causal", 3), shard.Of("sdpa/causal", 3), shard.Of("seed/causal", 3), shard.Of("seed/causal", 1),
	})
}

func some(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("suite/%04d", i)
	}
	return names
}
