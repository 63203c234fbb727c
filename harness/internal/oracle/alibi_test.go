package oracle_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/campaign"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/variant"
)

// ALiBi from the key's position alone is right, and rounds scores at the size of a slope times the
// sequence. Long sequences show it: without the allowance they would be refused.
func TestALiBiByKeyIsWithinTheNoiseOfLongSequences(t *testing.T) {
	campaign.SkipShort(t)
	refused := 0
	for n := range uint64(4) {
		r := rand.New(rand.NewPCG(20261101, n))
		p := longALiBi(r)
		truth := p.Run().Expected()
		byDistance := p.Fork()
		byDistance.SlopeDistance = func(query, key int) int { return key - query }
		narrow := byDistance.Run().Expected()
		require.Equal(t, truth.Value, narrow.Value)
		for _, slopes := range []variant.Slopes{variant.ByDistance, variant.ByKey, variant.FromLast} {
			got := variant.Variant{Slopes: slopes}.Run(p)
			c := compare.Outputs(truth.Shape, got, truth)
			require.True(t, c.OK(), "case %d, slopes %d: max z %g, rms z %g", n, slopes, c.MaxZ, c.RMSZ)
			if slopes == variant.ByDistance {
				continue
			}
			require.Greater(t, c.RMSZ, 0.1, "case %d, slopes %d: the allowance is no wider than needed", n, slopes)
			if !compare.Outputs(truth.Shape, got, narrow).OK() {
				refused++
			}
		}
	}
	require.Greater(t, refused, 4, "outputs that the noise of distances refuses")
}

// Where a constant in a row does not cancel, ALiBi by key is a mistake and allows no noise.
func TestALiBiByKeyNeedsACausalMaskAndNoOtherScores(t *testing.T) {
	p := longALiBi(rand.New(rand.NewPCG(20261102, 0)))
	wide := p.Run().Variance
	for name, change := range map[string]func(*oracle.Problem){
		"later keys":           func(q *oracle.Problem) { q.Causal = nil },
		"sinks":                func(q *oracle.Problem) { q.Sinks = make([]float64, len(p.Slopes)) },
		"other scores of zero": func(q *oracle.Problem) { q.ZeroKeys = 1 },
	} {
		q := p.Fork()
		change(q)
		got := q.Run().Variance
		q.SlopeDistance = func(query, key int) int { return key - query }
		require.Equal(t, q.Run().Variance, got, name)
		require.NotEqual(t, wide, got, name)
	}
}

// Where a query sees later keys, a slope times the key's position is another computation. A variant
// then takes the distance.
func TestALiBiByKeyIsNotUsedWithLaterKeys(t *testing.T) {
	campaign.SkipShort(t)
	for name, sees := range map[string]func(query, key int) bool{
		"inverted":  func(query, key int) bool { return key > query },
		"next seen": func(query, key int) bool { return key <= query+1 },
		"none":      nil,
	} {
		p := longALiBi(rand.New(rand.NewPCG(20261103, 0)))
		p.Causal = sees
		want := p.Run().Expected()
		for _, slopes := range []variant.Slopes{variant.ByDistance, variant.ByKey, variant.FromLast} {
			c := compare.Outputs(want.Shape, variant.Variant{Slopes: slopes}.Run(p), want)
			require.True(t, c.OK(), "%s, slopes %d: max z %g", name, slopes, c.MaxZ)
		}
	}
}

// longALiBi draws a causal problem of a few hundred positions, with ALiBi's own slopes.
func longALiBi(r *rand.Rand) *oracle.Problem {
	heads, length, width := 2+r.IntN(3), 200+r.IntN(300), 8+r.IntN(8)
	p := &oracle.Problem{
		Query:  tensor(r, 1, 0, 1, heads, length, width),
		Key:    tensor(r, 1, 0, 1, heads, length, width),
		Value:  tensor(r, 1, 0, 1, heads, length, width),
		Causal: causal,
		Scale:  1 / math.Sqrt(float64(width)),
	}
	for h := range heads {
		p.Slopes = append(p.Slopes, math.Pow(2, -8*float64(h+1)/float64(heads)))
	}
	return p
}
