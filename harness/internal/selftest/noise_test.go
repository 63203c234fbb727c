package selftest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/campaign"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// Random numbers in a part of a right output are blamed on nothing. The full campaign judges 200
// outputs of each sort.
func TestNoiseIsBlamedOnNothing(t *testing.T) {
	cases, noises := 2, 1
	if campaign.Full() {
		cases, noises = 50, 4
	}
	if testing.Short() {
		cases = 1
	}
	planted := 0
	for n := range cases {
		tr := &trial{seed: DefaultSeed + 1, n: n, c: drawCase(DefaultSeed+1, n)}
		tr.problem = oracle.FromCase(tr.c)
		tr.truth = tr.problem.Run().Expected()
		var err error
		tr.without, err = newReferee(tr.c)
		require.NoError(t, err)
		require.NoError(t, tr.judgeNoise(t.Context(), Extent{Noises: noises}))
		for _, f := range tr.found.Findings {
			t.Errorf("%+v", f)
		}
		if tr.found.Noise.Blamed>0 { t.Log(n) }
		planted += tr.found.Noise.Planted
	}
	require.Equal(t, cases*noises*len(noisyParts), planted)
}
