package catalogue_test

import (
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// An identity gives the same output on every case on which it can be computed: the same to float64
// rounding, far within the noise of any precision.
func TestIdentitiesAreNoMistakes(t *testing.T) {
	applied, moved := map[string]int{}, map[string]bool{}
	for _, p := range rightProblems(t) {
		var want []float64
		for _, identity := range catalogue.Identities {
			other := p.Clone()
			if !identity.Plant(other) {
				continue
			}
			applied[identity.ID]++
			if want == nil {
				want = p.Run().Value
			}
			got := other.Run().Value
			requireAlike(t, identity.ID, got, want)
			moved[identity.ID] = moved[identity.ID] || !slices.Equal(got, want)
		}
	}
	for _, identity := range catalogue.Identities {
		require.Positive(t, applied[identity.ID], "%s was never tried", identity.ID)
		exact := strings.HasPrefix(identity.ID, "mask-minus") || strings.HasPrefix(identity.ID, "mask-added") // e^-1e9 is 0
		require.True(t, moved[identity.ID] || exact, "%s changes no bit: nothing was computed in another way", identity.ID)
	}
}

// rightProblems are those of the committed cases, and what none of them is: norms whose weights are one number,
// and an additive mask of 0 and -inf alone.
func rightProblems(t *testing.T) []*oracle.Problem {
	t.Helper()
	names, err := fixture.Names(fixtures.FS)
	require.NoError(t, err)
	var all []*oracle.Problem
	for _, name := range names {
		c, err := fixture.Read(fixtures.FS, name)
		require.NoError(t, err)
		p := oracle.FromCase(c)
		all = append(all, p)
		if c.Layer.QKNorm != nil {
			constant := p.Clone()
			for i := range constant.Layer.QueryNorm.Weight {
				constant.Layer.QueryNorm.Weight[i], constant.Layer.KeyNorm.Weight[i] = 0.7, 1.3
			}
			all = append(all, constant)
		}
		if p.Allow != nil {
			added := p.Clone()
			added.Allow, added.Bias = nil, &oracle.Array{Shape: p.Allow.Shape, Value: make([]float64, len(p.Allow.Data))}
			for i, allowed := range p.Allow.Data {
				if !allowed {
					added.Bias.Value[i] = math.Inf(-1)
				}
			}
			all = append(all, added)
		}
	}
	return all
}

func requireAlike(t *testing.T, id string, got, want []float64) {
	t.Helper()
	largest, worst := 0.0, 0.0
	for i, w := range want {
		if math.IsNaN(w) && math.IsNaN(got[i]) {
			continue
		}
		largest = math.Max(largest, math.Abs(w))
		worst = math.Max(worst, math.Abs(got[i]-w)) // NaN stays
	}
	if !(worst <= 1e-11*largest) {
		t.Errorf("%s differs by %.3g of the largest value", id, worst/largest)
	}
}

func TestIdentitiesAreNamedLikeMistakes(t *testing.T) {
	seen := map[string]bool{}
	for _, identity := range catalogue.Identities {
		require.Regexp(t, `^[a-z0-9]+(-[a-z0-9]+)*$`, identity.ID)
		_, isMistake := catalogue.ByID(identity.ID)
		require.False(t, isMistake || seen[identity.ID], identity.ID)
		seen[identity.ID] = true
		require.True(t, strings.HasSuffix(identity.Why, "."), identity.ID)
		require.NotEmpty(t, identity.Title, identity.ID)
	}
	_, ok := catalogue.IdentityByID("none-such")
	require.False(t, ok)
	found, ok := catalogue.IdentityByID("alibi-by-key")
	require.True(t, ok)
	require.Equal(t, []string{"F05s"}, found.Refs)
}

// uncovered are the collected faults that are neither a mistake nor an identity, and why.
var uncovered = map[string]string{
	"A22": "bytes in the wrong order give infinities, NaN and zeros at random: the output is non-finite, and no replay of it is another's",
	"J01": "float32 in all places is what a correct implementation of a float32 case is",
	"J06": "a softmax of bfloat16 between steps of float32: the class rounding says its size, and no step of it is known",
	"J09": "sums of float16 depend on the order of adding, which is not known: the class rounding says their size",
}

// Every fault that was collected is a mistake, an identity, or listed above with the reason.
func TestEveryCollectedFaultIsCovered(t *testing.T) {
	text, err := os.ReadFile("testdata/faults.txt")
	require.NoError(t, err)
	faults := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "#") {
			words := strings.Split(strings.TrimSpace(line), "\t")
			require.Len(t, words, 3)
			require.False(t, faults[words[0]], "%s is there twice", words[0])
			faults[words[0]] = true
		}
	}
	covered := map[string]bool{}
	for _, m := range catalogue.Mistakes {
		for _, ref := range m.Refs {
			require.True(t, faults[ref], "%s covers %s, which is no collected fault", m.ID, ref)
			covered[ref] = true
		}
	}
	for _, identity := range catalogue.Identities {
		for _, ref := range identity.Refs {
			require.True(t, faults[ref], "%s covers %s, which is no collected fault", identity.ID, ref)
			covered[ref] = true
		}
	}
	var missing []string
	for ref := range faults {
		_, listed := uncovered[ref]
		require.False(t, listed && covered[ref], "%s is covered: take it off the list", ref)
		if !listed && !covered[ref] {
			missing = append(missing, ref)
		}
	}
	slices.Sort(missing)
	require.Empty(t, missing, "neither a mistake nor an identity covers them")
	for ref := range uncovered {
		require.True(t, faults[ref], "%s is no collected fault", ref)
	}
}
