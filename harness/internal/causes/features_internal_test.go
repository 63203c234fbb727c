package causes

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/internal/campaign"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/report"
)

// wholeSuite reads every embedded case.
func wholeSuite(t *testing.T) []*fixture.Case {
	t.Helper()
	names, err := fixture.Names(fixtures.FS)
	require.NoError(t, err)
	var all []*fixture.Case
	for _, name := range names {
		c, err := fixture.Read(fixtures.FS, name)
		require.NoError(t, err)
		all = append(all, c)
	}
	return all
}

// divided returns the cases that have a feature, and the others.
func divided(all []*fixture.Case, has func(*fixture.Case) bool) (with, without []*fixture.Case) {
	for _, c := range all {
		if has(c) {
			with = append(with, c)
		} else {
			without = append(without, c)
		}
	}
	return with, without
}

// A fault in every case with a feature is described by the feature, or by others that exactly the
// same cases have.
func TestEveryFeatureIsFound(t *testing.T) {
	campaign.SkipShort(t)
	all := wholeSuite(t)
	ids, found := map[string]bool{}, 0
	for _, f := range features {
		require.False(t, ids[f.id], f.id)
		ids[f.id] = true
		failures, passes := divided(all, f.has)
		s := shared(report.AllFailures, failures, passes)
		if len(failures) < severalFailures || len(passes) < severalFailures {
			require.Nil(t, s, f.id)
			continue
		}
		require.NotNil(t, s, f.id)
		for _, g := range s.Features {
			require.Zero(t, g.Passes, "%s by %s", f.id, g.ID)
			require.NotContains(t, g.ID, "+", "%s by %s", f.id, g.ID)
		}
		found++
	}
	require.Greater(t, found, 35)
}

// Failures drawn at random share nothing, or a feature by chance, rarely.
func TestRandomFailuresShareNothing(t *testing.T) {
	campaign.SkipShort(t)
	all := wholeSuite(t)
	r := rand.New(rand.NewPCG(12, 5))
	draws, said := 40, 0
	if campaign.Full() {
		draws = 400
	}
	for range draws {
		r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		n := 2 + r.IntN(9)
		if shared(report.AllFailures, all[:n], all[n:]) != nil {
			said++
		}
	}
	require.LessOrEqual(t, said, draws/20)
}
