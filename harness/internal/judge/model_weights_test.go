package judge

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/graph"
	"github.com/difftest/difftest/harness/internal/harnesstest"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// A weight behind which no row depends on another is named where few of its columns have other
// values, or where there are more rows than features. Any other weight gets no name: 14 rows say
// too little about 40 features, and about the one row of a weight that differs.
func TestWeightsWithOtherValues(t *testing.T) {
	llama, _ := plantedIn(t, "llama")
	olmoe := harnesstest.ReadCase(t, "models/olmoe")
	all := func(int, int) bool { return true }
	column := func(_, in int) bool { return in == 5 }
	row := func(out, _ int) bool { return out == 5 }
	for _, tc := range []struct {
		c      *fixture.Case
		key    string
		change func(out, in int) bool
		want   string
	}{
		{llama, "layers.2.mlp.down_proj.weight", column, "layers.2.mlp.down_proj.weight (1 of its 40 columns)"},
		{llama, "layers.2.mlp.up_proj.weight", column, "layers.2.mlp.up_proj.weight (1 of its 24 columns)"},
		{llama, "lm_head.weight", column, "lm_head.weight (1 of its 24 columns)"},
		{llama, "lm_head.weight", row, ""},
		{llama, "lm_head.weight", all, ""},
		{llama, "layers.2.mlp.down_proj.weight", row, ""},
		{llama, "layers.1.mlp.down_proj.weight", column, ""},
		{olmoe, "lm_head.weight", all, "lm_head.weight"},
		{olmoe, "lm_head.weight", row, "lm_head.weight (1 of its 31 rows)"},
	} {
		referee, err := New(t.Context(), tc.c, oracle.Precision{})
		require.NoError(t, err)
		got := referee.Expected().Blank(withDrawn(t, tc.c, tc.key, tc.change))
		found, cut := referee.module.FindWeights(t.Context(), got)
		require.Empty(t, cut)
		var titles []string
		for _, v := range found {
			titles = append(titles, v.Title())
		}
		assert.Equal(t, tc.want, strings.Join(titles, ", or of "), "%s %s", tc.c.Name, tc.key)
	}
}

// withDrawn returns the output in float32 if some elements of a weight are drawn anew.
func withDrawn(t *testing.T, c *fixture.Case, key string, change func(out, in int) bool) []float64 {
	t.Helper()
	g, err := graph.Parse(c.Graph)
	require.NoError(t, err)
	given, err := graph.Given[float32](g, c.Given)
	require.NoError(t, err)
	right := given[key]
	require.NotNil(t, right, key)
	drawn := &graph.Tensor[float32]{Shape: right.Shape, Data: slices.Clone(right.Data)}
	r := rand.New(rand.NewPCG(3, 4))
	for i := range drawn.Data {
		if x := float32(r.NormFloat64() / 5); change(i/right.Shape[1], i%right.Shape[1]) {
			drawn.Data[i] = x
		}
	}
	given[key] = drawn
	values, err := graph.Run(g, given)
	require.NoError(t, err)
	var output []float64
	for _, x := range values[g.Output].Data {
		output = append(output, float64(x))
	}
	return output
}
