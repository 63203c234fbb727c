package selftest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/diagnose"
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
