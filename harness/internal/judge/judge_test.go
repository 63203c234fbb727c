package judge

import (
	"math"
	"strings"
	"testing"

	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/harnesstest"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/report"
	"github.com/stretchr/testify/require"
)

func TestJudgeRefusesACaseItCannotReproduce(t *testing.T) {
	c := *harnesstest.ReadCase(t, "mha/causal")
	c.Truth = append([]float64{}, c.Truth...)
	c.Truth[7] += 1e-11
	_, err := Outputs(t.Context(), &c, &oracle.Array{Shape: c.Output.Shape, Value: c.Truth}, nil)
	require.ErrorContains(t, err, "mha/causal: the oracle differs from PyTorch's float64 result")
	c.Truth[7] = math.NaN()
	_, err = Outputs(t.Context(), &c, &oracle.Array{Shape: c.Output.Shape, Value: c.Truth}, nil)
	require.Error(t, err)
}

func TestJudgeRefusesAnOutputOfOtherLength(t *testing.T) {
	c := harnesstest.ReadCase(t, "mha/causal")
	for _, got := range [][]float64{c.Truth[:5], append([]float64{0}, c.Truth...), nil} {
		_, err := Outputs(t.Context(), c, &oracle.Array{Shape: c.Output.Shape, Value: got}, nil)
		require.ErrorContains(t, err, "mha/causal: an output of shape (5, 9, 40) and")
	}
}

// The judge is PyTorch's float64 result, not the oracle's.
func TestJudgeHoldsAgainstPyTorchsTruth(t *testing.T) {
	c := harnesstest.ReadCase(t, "mha/causal")
	r, err := Outputs(t.Context(), c, &oracle.Array{Shape: c.Output.Shape, Value: c.Truth}, nil)
	require.NoError(t, err)
	require.Zero(t, r.Comparison.MaxZ)
}

// Values that are a little off stand in no other order.
func TestSmallErrorsAreNotReordered(t *testing.T) {
	if testing.Short() {
		t.Skip("every mistake on every case")
	}
	names, err := fixture.Names(fixtures.FS)
	require.NoError(t, err)
	failed := 0
	for _, name := range names {
		c := harnesstest.ReadCase(t, name)
		got := append([]float64{}, c.Truth...)
		for i := range got {
			got[i] *= 1 + 2e-6
		}
		r, err := Outputs(t.Context(), c, &oracle.Array{Shape: c.Output.Shape, Value: got}, nil)
		require.NoError(t, err)
		if r.Verdict == report.Fail {
			failed++
			require.NotContains(t, strings.Join(r.Diagnosis.Reasons, "\n"), "order", name)
		}
	}
	require.Positive(t, failed)
}
