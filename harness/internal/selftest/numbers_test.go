package selftest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/campaign"
)

// numbersTrial plants wrong numbers alone on a drawn case.
func numbersTrial(t *testing.T, seed uint64, n int) *trial {
	t.Helper()
	tr := drawnTrial(seed, n)
	tr.seed, tr.n, tr.name = seed, n, "drawn"
	var err error
	tr.without, err = newReferee(tr.c)
	require.NoError(t, err)
	require.NoError(t, tr.judgeNumbers(t.Context()))
	return tr
}

// Wrong numbers are found on fresh cases of every kind, and no other number is named.
func TestNumbersAreFound(t *testing.T) {
	cases := 3
	if campaign.Full() {
		cases = 60
	}
	var sum Counts
	for n := range cases {
		tr := numbersTrial(t, 77, n)
		sum.add(tr.found.Numbers)
		for _, f := range tr.found.Findings {
			t.Log(n, f)
		}
	}
	require.Greater(t, sum.Distinguishable, 3*cases)
	require.Zero(t, sum.Wrong)
	require.GreaterOrEqual(t, sum.below(numbersBar), significance, "%d of %d", sum.Right+sum.Class, sum.Distinguishable)
}
