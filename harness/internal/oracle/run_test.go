package oracle_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/harnesstest"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// The oracle may judge a case only when it reproduces PyTorch's float64 result of it.
func TestReproducesPyTorchsFloat64(t *testing.T) {
	names := harnesstest.AttentionCases(t)
	require.GreaterOrEqual(t, len(names), 90)
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			c, err := fixture.Read(fixtures.FS, name)
			require.NoError(t, err)
			out := oracle.FromCase(c).Run()
			got := oracle.Array{Shape: out.Shape, Value: out.Value}
			if c.Op == fixture.MultiHead {
				got = oracle.FromBatchFirst(c.Layer.InputLayout, got)
			}
			requireTruth(t, c, got.Shape, got.Value)
		})
	}
}

func requireTruth(t *testing.T, c *fixture.Case, shape []int, got []float64) {
	t.Helper()
	require.Equal(t, c.Output.Shape, shape)
	require.Len(t, got, len(c.Truth))
	var worst, scale float64
	for i, want := range c.Truth {
		require.Equal(t, math.IsNaN(want), math.IsNaN(got[i]), "element %d", i)
		if !math.IsNaN(want) {
			worst = math.Max(worst, math.Abs(got[i]-want))
			scale = math.Max(scale, math.Abs(want))
		}
	}
	if !(worst <= 1e-12*scale) {
		t.Errorf("differs from PyTorch's float64 result by %.3g of its largest value, want 1e-12", worst/scale)
	}
	t.Logf("%.2g", worst/scale)
}
