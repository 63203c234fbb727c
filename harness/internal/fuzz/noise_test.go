package fuzz

import (
	"fmt"
	"math"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/builtin"
	"github.com/difftest/difftest/harness/internal/campaign"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/fresh"
	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// The built-in implementation has the noise that the oracle expects, on cases of any shape in
// float32. A full campaign must also measure what CALIBRATION.md says.
func TestNoiseOfTheBuiltIn(t *testing.T) {
	const seed, full = 20261127, 3500
	count := full / 25
	if campaign.Full() {
		count = full
	}
	offered, err := newRunner(builtin.Subject(), nil).offers(t.Context())
	require.NoError(t, err)
	maxZ, squares := 0.0, []float64{}
	for n := uint64(0); len(squares) < count; n++ {
		c, err := fresh.Case("noise", newSource(seed, n).draw(offered))
		require.NoError(t, err)
		if c.Precision != fixture.Float32 {
			continue
		}
		fresh.SetResult(c, oracle.FromCase(c).Run())
		truth := oracle.FromCase(c).Run().Expected()
		ran := builtin.Subject().Run(t.Context(), c)
		require.NoError(t, ran.Err)
		got := oracle.Array{Shape: ran.Output.Shape, Value: ran.Output.Float64s()}
		if c.Op == fixture.MultiHead {
			got = oracle.ToBatchFirst(c.Layer.InputLayout, got)
		}
		r := compare.Outputs(truth.Shape, got.Value, truth)
		require.True(t, r.OK(), "%s: max z %g, rms z %g", c.Purpose, r.MaxZ, r.RMSZ)
		maxZ, squares = math.Max(maxZ, r.MaxZ), append(squares, r.RMSZ)
	}
	row := fmt.Sprintf("| cases of any shape | %d | %d | %.1f | %.2f |", seed, count, maxZ, num.RMS(squares))
	t.Log(row)
	require.Less(t, num.RMS(squares), 1.0)
	require.Greater(t, num.RMS(squares), 0.2)
	if campaign.Full() {
		text, err := os.ReadFile("../../CALIBRATION.md")
		require.NoError(t, err)
		require.Contains(t, string(text), row, "CALIBRATION.md")
	}
}
