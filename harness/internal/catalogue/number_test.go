package catalogue_test

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// A number set to its right value changes nothing, another value changes the output, and neither
// changes the problem that was forked. A value is drawn from the number's range.
func TestNumbers(t *testing.T) {
	cases := []string{
		"sdpa/softcap", "sdpa/sinks", "sdpa/alibi", "sdpa/window", "sdpa/alibi-lower-right", "mha/bias-kv",
		"decoder/gemma", "decoder/alibi-cache", "decoder/relative-bias", "decoder/rope-partial", "decoder/qk-norm",
	}
	had := map[string]int{}
	for _, name := range cases {
		p := problemOf(t, name).Cached()
		right := p.Run()
		for _, n := range catalogue.Numbers {
			value, ok := n.Get(p)
			if !ok {
				continue
			}
			had[n.ID]++
			same := p.Fork()
			n.Set(same, value)
			require.LessOrEqual(t, apart(same.Run().Value, right.Value), 1e-12, "%s on %s", n.ID, name)
			wrong, ok := n.Draw(rand.New(rand.NewPCG(3, 3)), p)
			if !ok {
				continue
			}
			least, most := n.Range(p)
			require.True(t, wrong != value && least <= wrong && wrong <= most, "%s: %g", n.ID, wrong)
			require.NotEqual(t, right.Value, withNumber(p, n, wrong).Value, "%s %g on %s", n.ID, wrong, name)
			require.True(t, sameBits(right, p.Fork().Run()), "%s changes %s", n.ID, name)
		}
	}
	for _, n := range catalogue.Numbers {
		require.Positive(t, had[n.ID], "no case has %s", n.ID)
	}
}

// withNumber returns the output with another value of a number.
func withNumber(p *oracle.Problem, n catalogue.Number, value float64) oracle.Field {
	other := p.Fork()
	n.Set(other, value)
	return other.Run()
}

// Numbers have ids of their own, and texts that fit their places in a sentence.
func TestNumbersAreNamedLikeMistakes(t *testing.T) {
	seen := map[string]bool{}
	for _, n := range catalogue.Numbers {
		_, isMistake := catalogue.ByID(n.ID)
		_, isIdentity := catalogue.IdentityByID(n.ID)
		require.False(t, isMistake || isIdentity || seen[n.ID], n.ID)
		seen[n.ID] = true
		require.Regexp(t, `^[a-z]+(-[a-z]+)*$`, n.ID)
		require.True(t, strings.HasSuffix(n.Fix, "."), n.ID)
		require.False(t, strings.HasSuffix(n.Title, "."), n.ID)
		found, ok := catalogue.NumberByID(n.ID)
		require.True(t, ok)
		require.Equal(t, n.Title, found.Title)
	}
	_, ok := catalogue.NumberByID("rope-missing")
	require.False(t, ok)
}
