package replay

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/oracletest"
)

func idsOfMistakes(list []catalogue.Mistake) (ids []string) {
	for _, m := range list {
		ids = append(ids, m.ID)
	}
	return ids
}

func reasons(v Visibility) map[string]string {
	why := map[string]string{}
	for _, b := range v.Blind {
		why[b.Mistake.ID] = b.Why
	}
	return why
}

func TestVisibilitySortsTheMistakes(t *testing.T) {
	p := oracletest.Padded()
	p.Padding = attention.NewMask(2, 3) // nothing is padded
	v := caseOf(p).Visibility()
	require.Contains(t, idsOfMistakes(v.Seen), "causal-missing")
	require.Equal(t, "the output is the same", reasons(v)["padding-ignored"])
	absent := []string{"causal-added", "mask-ignored", "mask-inverted", "bias-ignored"}
	require.Subset(t, idsOfMistakes(v.Absent), absent)
	require.Len(t, catalogue.Mistakes, len(v.Seen)+len(v.Blind)+len(v.Absent))
	for _, m := range v.Absent {
		require.NotEmpty(t, m.Needs, m.ID)
	}
}

// With one query after all keys a missing causal mask changes nothing, and the visibility says
// why.
func TestVisibilitySaysWhyAndWhatIsAlike(t *testing.T) {
	p := oracletest.Padded()
	for _, in := range []*oracle.Array{&p.Query, &p.Key, &p.Value} {
		*in = oracle.Array{Shape: []int{2, 1, 4}, Value: p.Query.Value[:8]}
	}
	p.Padding = nil
	past := oracle.Array{Shape: []int{2, 2, 1, 2}, Value: p.Query.Value[:8]}
	p.Past, p.Offset = &oracle.Past{Key: past, Value: past}, 1
	v := caseOf(p).Visibility()
	why := reasons(v)
	require.Equal(t, "the output is the same: one query, and every key is in its past", why["causal-missing"])
	require.Contains(t, why, "inputs-time-reversed")

	class := v.Class()
	require.Len(t, class, len(catalogue.Mistakes))
	for i, m := range catalogue.Mistakes {
		seen := slices.Contains(idsOfMistakes(v.Seen), m.ID)
		require.Equal(t, !seen, class[i] == -1, m.ID)
		if seen {
			require.Empty(t, why[m.ID], m.ID)
		}
	}
	for _, group := range v.Alike {
		require.Greater(t, len(group), 1)
	}
}
