package fit

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/oracletest"
	"github.com/difftest/difftest/harness/internal/variant"
)

// Least squares takes noise away: the noise left must be smaller by as much.
func TestNoiseThatAFitLeaves(t *testing.T) {
	c := compare.Comparison{
		GotShape: []int{1}, WantShape: []int{1}, Elements: 1,
		Limits: compare.Limits{Z: compare.MaxZ, RMS: compare.MaxRMSZ}, RMSZ: 1,
	}
	require.True(t, holds(c, 0.9))
	require.False(t, holds(c, 0.1))
	c.Rel = 2 * compare.MaxResidual
	require.False(t, holds(c, 0.9))
}

// Under a saturated softmax, rows differ by rounding alone, and large or noisy parameters would
// explain anything: outputs of no layer at all get no explanation.
func TestImplausibleParametersExplainNothing(t *testing.T) {
	p := oracletest.Committed(t, "mha/hot")
	width := p.Query.Shape[2]
	for name, change := range map[string]func(y []float64){
		"the query is added": func(y []float64) {
			for i, v := range p.Query.Value {
				y[i] += v
			}
		},
		"the last row everywhere": func(y []float64) {
			rows := p.Query.Shape[1]
			for i := range y {
				y[i] = y[i/(rows*width)*rows*width+(rows-1)*width+i%width]
			}
		},
	} {
		got := variant.Variant{}.Run(p)
		change(got)
		at, seen := localised(p, p.Trace(), got)
		require.True(t, seen)
		require.Empty(t, at.named(), "%s: %+v", name, at.holding)
	}
}
