package selftest

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A right output that is refused is a false alarm.
func TestFalseAlarm(t *testing.T) {
	tr := drawnTrial(1, 0)
	off := make([]float64, len(tr.truth.Value))
	for i, v := range tr.truth.Value {
		off[i] = v + 17*tr.truth.Sigma[i]
	}
	tr.judgeVariant("off", 1, off, tr.truth)
	tr.judgeVariant("right", 1, tr.truth.Value, tr.truth)
	require.Equal(t, Variants{Run: 2, FalseAlarms: 1}, tr.found.Variants)
}
