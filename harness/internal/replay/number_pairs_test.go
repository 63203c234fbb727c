package replay

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/campaign"
	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/oracletest"
)

// A wrong number and a mistake that are made together are both named, with the number's value.
func TestFindNumbersWithMistakes(t *testing.T) {
	campaign.SkipShort(t)
	for _, tc := range []struct {
		name, id, mistake string
		value             float64
	}{
		{"sdpa/window", "window", "causal-next-seen", 6},
		{"decoder/window", "window", "scale-missing", 2},
		{"sdpa/softcap", "softcap", "scale-twice", 3},
		{"mha/causal-left-padding", "scale", "padding-ignored", 0.5},
		{"mha/causal-left-padding", "causal-offset", "padding-inverted", 2},
		{"decoder/rope-half", "rope-base", "causal-missing", 1e5},
		{"decoder/rope-half", "rope-factor", "scale-missing", 4},
	} {
		c := caseOf(oracletest.Committed(t, tc.name))
		m, _ := catalogue.ByID(tc.mistake)
		n, _ := catalogue.NumberByID(tc.id)
		wrong, ok := catalogue.Make(c.Problem, nil, m)
		require.True(t, ok, tc.name)
		n.Set(wrong, tc.value)
		got := wrong.Run().Value
		for i, v := range got {
			got[i] = float64(float32(v))
		}
		matches, cut := FindNumbersWithMistakes(t.Context(), against(t, c, got))
		require.Empty(t, cut)
		own := false
		for _, match := range matches {
			p, _ := catalogue.Make(c.Problem, nil, match.With...)
			match.Number.Set(p, match.Value)
			f := p.Run()
			require.True(t, compare.Outputs(f.Shape, got, f.Expected()).OK(), "%s: %s", tc.name, match)
			own = own || match.Number.ID == tc.id && match.With[0].ID == tc.mistake && match.Allows(tc.value)
		}
		require.True(t, own, "%s: %v", tc.name, matches)
		require.Contains(t, matches[0].Label(), "+")
		require.Contains(t, matches[0].Title(), " instead of ")
		require.Len(t, matches[0].Fixes(), 2)

		matches, cut = FindNumbersWithMistakes(ended(t), against(t, c, got))
		require.Empty(t, matches)
		require.NotEmpty(t, cut)
	}
}

// A mistake that gives the output alone is not named with a number: not beside a value within a
// hair of the right one, and not beside a number that changes nothing.
func TestNoNumberBesideAMistakeThatIsEnough(t *testing.T) {
	campaign.SkipShort(t)
	for name, id := range map[string]string{
		"sdpa/window": "causal-next-seen", "sdpa/softcap": "scale-twice", "decoder/rope-half": "causal-missing",
		"mha/causal-left-padding": "padding-ignored", "sdpa/causal": "tail-keys-of-zero",
	} {
		p := oracletest.Committed(t, name)
		c := caseOf(p)
		got := oracletest.InFloat32(planted(t, p, id).Run())
		matches, cut := FindNumbersWithMistakes(t.Context(), against(t, c, got))
		require.Empty(t, cut)
		require.Empty(t, matches, "%s: %s", name, id)
	}
}
