package judge

import (
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/internal/fit"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/harnesstest"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// A change of the tensor at a placement changes the named row of the projection in the oracle's
// problem, and nothing else. The oracle reads state dicts by code of its own.
func TestPlacementsAreWhereTheOracleReads(t *testing.T) {
	list, err := fixture.Names(fixtures.FS)
	require.NoError(t, err)
	layouts := map[any]bool{}
	for _, name := range list {
		c := harnesstest.ReadCase(t, name)
		if c.Op != fixture.MultiHead {
			continue
		}
		layouts[c.Layer.ParamLayout] = true
		for m, placement := range c.Layer.Placements() {
			if placement.Part != "" {
				require.Equal(t, fit.Projection(m).String()+" part", placement.Part)
			}
			linear := oracle.FromCase(c).Layer.Projections()[m]
			for _, row := range []int{0, linear.Out / 3, linear.Out - 1} {
				requireRow(t, c, m, placement, row)
			}
		}
	}
	require.Len(t, layouts, 7, "every layout has a case")
}

func requireRow(t *testing.T, c *fixture.Case, m int, p attention.Placement, row int) {
	t.Helper()
	at := row
	if p.Row != nil {
		at = p.Row(row)
	}
	changed := *c
	changed.State = maps.Clone(c.State)
	weight := c.State[p.Weight]
	require.NotNil(t, weight, "%s: %s", c.Name, p.Weight)
	weight = weight.Clone()
	for i := range weight.Data {
		if inOut := p.InOut; !inOut && i/weight.Shape[1] == at || inOut && i%weight.Shape[1] == at {
			weight.Data[i]++
		}
	}
	changed.State[p.Weight] = weight
	before, after := oracle.FromCase(c).Layer.Projections(), oracle.FromCase(&changed).Layer.Projections()
	for other := range before {
		a, b := before[other], after[other]
		for o := range a.Out {
			same := slices.Equal(a.Weight[o*a.In:][:a.In], b.Weight[o*a.In:][:a.In])
			const text = "%s: row %d of projection %d is %s %d: row %d of projection %d"
			require.Equal(t, other != m || o != row, same, text, c.Name, row, m, p.Weight, at, o, other)
		}
	}
	if bias := c.State[p.Bias]; before[m].Bias != nil {
		require.NotNil(t, bias, "%s: %s", c.Name, p.Bias)
	}
}
