package selftest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/campaign"
	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/diagnose"
	"github.com/difftest/difftest/harness/internal/oracletest"
	"github.com/difftest/difftest/harness/internal/replay"
	"github.com/difftest/difftest/harness/internal/report"
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

// A planted number is found if the interval of a match holds it. A value far from it is a wrong
// name, and so is a number beside a mistake.
func TestOutcomeOfAPlantedNumber(t *testing.T) {
	tr := &trial{problem: oracletest.Committed(t, "sdpa/softcap")}
	n, _ := catalogue.NumberByID("softcap")
	wrongProblem := tr.problem.Fork()
	n.Set(wrongProblem, 3)
	p := plant{number: &wrongNumber{n, 3}, exact: wrongProblem.Run().Expected()}
	require.Equal(t, "softcap 3", p.id())
	match := replay.NumberMatch{Number: n, Value: 3, Least: 2.9, Most: 3.1}
	far := replay.NumberMatch{Number: n, Value: 4, Least: 3.9, Most: 4.1}
	beside := match
	beside.With = []catalogue.Mistake{catalogue.Mistakes[0]}
	for _, tc := range []struct {
		said []replay.NumberMatch
		want outcome
	}{
		{nil, unexplained},
		{[]replay.NumberMatch{match}, right},
		{[]replay.NumberMatch{match, far}, wrong},
		{[]replay.NumberMatch{far}, wrong},
		{[]replay.NumberMatch{beside}, wrong},
	} {
		r := report.Result{Diagnosis: diagnose.Diagnosis{Class: diagnose.WrongNumber, Numbers: tc.said}}
		require.Equal(t, tc.want, tr.outcome(p, r), "%v", tc.said)
	}
}
