package replay

import (
	"context"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/oracletest"
)

// Random weights come from the catalogue's mistakes that the case sees, and from the usual initial
// values. A large case draws the catalogue's mistakes now.
func TestUnloadedWeights(t *testing.T) {
	// drawnWith returns a mistake that adds random numbers of a size to a bias.
	drawnWith := func(id string, size float64) catalogue.Mistake {
		return catalogue.Mistake{ID: id, Kind: catalogue.Unloaded, Random: true, Plant: func(p *oracle.Problem, r *rand.Rand) bool {
			layer := *p.Layer
			layer.Output.Bias = oracletest.Normal(r, len(layer.Output.Bias)).Value
			for i := range layer.Output.Bias {
				layer.Output.Bias[i] = p.Layer.Output.Bias[i] + size*layer.Output.Bias[i]
			}
			p.Layer = &layer
			return true
		}}
	}
	altered := drawnWith("altered", 1)
	altered.Kind = catalogue.Altered
	unseen := drawnWith("unseen", 0)
	small, large := oracletest.Padded(), oracletest.Long()
	for _, p := range []*oracle.Problem{small, large} {
		c := caseOf(p)
		o := against(t, c, oracletest.InFloat32(p.Run()))
		seen := 0
		for _, r := range o.Visible {
			if r.Mistake.Kind == catalogue.Unloaded {
				seen++
			}
		}
		require.Equal(t, p == large, c.sample.Partial())
		require.Equal(t, p == large, seen == 0)
		want := []string{"weights-unit-normal", "weights-random"}
		if p == large {
			c.known = []catalogue.Mistake{altered, drawnWith("seen", 1), unseen}
			want = []string{"seen"}
		}
		all, err := o.Unloaded(t.Context(), 3)
		require.NoError(t, err)
		var ids, titles, initial []string
		for _, r := range all {
			if r.Mistake.ID != "" {
				ids = append(ids, r.Mistake.ID)
				continue
			}
			titles = append(titles, r.Mistake.Title)
			require.Len(t, r.Outputs, 3)
			require.NotEqual(t, r.Outputs[0], r.Outputs[1])
		}
		for _, m := range catalogue.Initial {
			initial = append(initial, m.Title)
		}
		require.Equal(t, want, ids)
		require.Equal(t, initial, titles)
		_, err = o.Unloaded(ended(t), 3)
		require.ErrorIs(t, err, context.Canceled)
	}
}
