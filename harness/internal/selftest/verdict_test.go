package selftest

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/diagnose"
	"github.com/difftest/difftest/harness/internal/oracletest"
	"github.com/difftest/difftest/harness/internal/replay"
	"github.com/difftest/difftest/harness/internal/report"
)

// The outcome of one planted output depends on the names that the diagnosis gives it.
func TestOutcome(t *testing.T) {
	tr := drawnTrial(1, 1)
	m, _ := catalogue.ByID("mask-multiplied")
	p, ok := tr.plant(tr.rand("test"), m)
	require.True(t, ok)
	for _, tc := range []struct {
		said []string
		want outcome
	}{
		{nil, unexplained},
		{[]string{"mask-multiplied"}, right},
		{[]string{"mask-value-near-zero", "mask-multiplied"}, equivalent},
		{[]string{"mask-value-near-zero"}, impostor},
		{[]string{"mask-multiplied", "scale-missing"}, wrong},
		{[]string{"weights-random"}, wrong},
		{[]string{"window-missing"}, wrong}, // it cannot even be made
	} {
		r := report.Result{Diagnosis: named(diagnose.Unclear, tc.said...)}
		require.Equal(t, tc.want, tr.outcome(p, r), "%v", tc.said)
	}
}

// An output without a finite number is rightly called non-finite, and one with a single finite
// number is not explained by that.
func TestOutcomeWithoutANumber(t *testing.T) {
	tr, nan := drawnTrial(1, 1), math.NaN()
	for _, tc := range []struct {
		values []float64
		said   diagnose.Class
		want   outcome
	}{
		{[]float64{nan, nan, nan}, diagnose.NonFinite, constant},
		{[]float64{nan, math.Inf(1), nan}, diagnose.NonFinite, constant},
		{[]float64{nan, 1, nan}, diagnose.NonFinite, unexplained},
		{[]float64{nan, nan, nan}, diagnose.Unclear, unexplained},
	} {
		p := plant{exact: compare.Expected{Shape: []int{1, 3}, Value: tc.values, Sigma: make([]float64, 3)}}
		require.Equal(t, tc.want, tr.outcome(p, report.Result{Diagnosis: named(tc.said)}), "%v", tc.values)
	}
}

// A number that does not give the planted output is a wrong name, and one that does is the name of
// an impostor.
func TestOutcomeOfNumbers(t *testing.T) {
	n, ok := catalogue.NumberByID("softcap")
	require.True(t, ok)
	tr := &trial{problem: oracletest.Committed(t, "sdpa/softcap")}
	right, _ := n.Get(tr.problem)
	wrongProblem := tr.problem.Fork()
	n.Set(wrongProblem, 2*right)
	p := plant{exact: wrongProblem.Run().Expected()}
	named := func(value float64) report.Result {
		return report.Result{Diagnosis: diagnose.Diagnosis{
			Class: diagnose.WrongNumber, Numbers: []replay.NumberMatch{{Number: n, Value: value, Right: right}},
		}}
	}
	require.Equal(t, impostor, tr.outcome(p, named(2*right)))
	require.Equal(t, wrong, tr.outcome(p, named(2.1*right)))
	require.Equal(t, "softcap 3", answer(named(3)))
}
