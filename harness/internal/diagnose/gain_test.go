package diagnose

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracletest"
)

// The expected output times a number, or plus the same in every row, is called that and nothing
// else.
func TestGainAndShift(t *testing.T) {
	p := oracletest.Padded()
	width := num.Last(p.Run().Shape)
	for _, tc := range []struct {
		name   string
		change func(y []float64)
		says   string
	}{
		{"gain", func(y []float64) {
			for i := range y {
				y[i] *= 1.25
			}
		}, "the output is the expected one times 1.25 in every element"},
		{"a gain near the largest float64", func(y []float64) {
			for i := range y {
				y[i] *= -3e306
			}
		}, "the output is the expected one times -3e+306 in every element"},
		{"a gain near the largest float32", func(y []float64) {
			for i := range y {
				y[i] = float64(float32(y[i] * 2.5e37))
			}
		}, "the output is the expected one times 2.5e+37 in every element"},
		{"shift", func(y []float64) {
			for i := range y {
				y[i] += 0.125 * float64(i%width-3)
			}
		}, "the output is the expected one plus the same"},
		{"gain but for one element", func(y []float64) {
			for i := range y {
				y[i] *= 1.25
			}
			y[7] += 0.01
		}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := changed(p, tc.change)
			require.Empty(t, d.Matches)
			said := strings.Join(d.Reasons, "\n")
			require.Equal(t, tc.says != "", strings.Contains(said, "the output is the expected one"), said)
			require.Contains(t, said, tc.says)
		})
	}
}
