package oracle_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/fixture"
	"github.com/difftest/difftest/harness/oracle"
)

// The oracle may judge a case only when it reproduces PyTorch's float64 result of it.
func TestReproducesPyTorchsFloat64(t *testing.T) {
	names, err := fixture.Names(fixtures.FS)
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(names), 15)
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			c, err := fixture.Read(fixtures.FS, name)
			require.NoError(t, err)
			got := oracle.FromCase(c).Run()
			require.Equal(t, c.Output.Shape, got.Shape)
			require.Len(t, got.Value, len(c.Truth))
			var worst, scale float64
			for i, want := range c.Truth {
				worst = math.Max(worst, math.Abs(got.Value[i]-want))
				scale = math.Max(scale, math.Abs(want))
			}
			if !(worst <= 1e-12*scale) {
				t.Errorf("differs from PyTorch's float64 result by %.3g of its largest value, want 1e-12", worst/scale)
			}
			t.Logf("%.2g", worst/scale)
		})
	}
}
