package trace

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/graph"
	"github.com/difftest/difftest/harness/internal/harnesstest"
)

// A linear layer inside a model has another weight. Its own output proves it where there are more
// rows than features, or where few columns differ. With fewer rows, any output would do, and the
// layer gets no weight's name.
func TestAWeightWithOtherValues(t *testing.T) {
	olmoe := of(t, harnesstest.ReadCase(t, "models/olmoe"))
	llama := open(t, "llama")
	for _, tc := range []struct {
		model   model
		layer   string
		columns []int // nil for all
		changed string
	}{
		{olmoe, "model.layers.1.self_attn.q_proj", nil, ""},
		{olmoe, "lm_head", nil, ""},
		{olmoe, "model.layers.1.self_attn.o_proj", []int{4, 20}, "2 of its 24 columns"},
		{llama, "layers.1.mlp.down_proj", []int{3}, "1 of its 40 columns"},
		{llama, "layers.1.mlp.down_proj", nil, "unproved"},
	} {
		t.Run(tc.layer, func(t *testing.T) {
			trace := tc.model.judge(t, tc.model.withColumns(t, tc.layer+".weight", tc.columns))
			require.Equal(t, tc.layer, trace.Lines[trace.First].Path)
			require.Empty(t, trace.Matches)
			if tc.changed == "unproved" {
				require.True(t, trace.empty(), trace.Values)
				return
			}
			require.Len(t, trace.Values, 1)
			require.Equal(t, []string{tc.layer + ".weight"}, trace.Values[0].Keys)
			require.Equal(t, tc.changed, trace.Values[0].Changed)
		})
	}
}

// withColumns returns the outputs of all modules if some columns of a weight, or all, are drawn
// anew.
func (m model) withColumns(t *testing.T, key string, columns []int) map[string]*Array {
	t.Helper()
	given, err := graph.Given[float32](m.graph, m.c.Given)
	require.NoError(t, err)
	right := given[key]
	require.NotNil(t, right)
	drawn, width := &graph.Tensor[float32]{Shape: right.Shape, Data: slices.Clone(right.Data)}, right.Shape[1]
	r := rand.New(rand.NewPCG(1, 2))
	for i := range drawn.Data {
		if x := float32(r.NormFloat64() / 5); columns == nil || slices.Contains(columns, i%width) {
			drawn.Data[i] = x
		}
	}
	given[key] = drawn
	require.False(t, slices.Equal(right.Data, drawn.Data))
	require.Equal(t, 2, len(right.Shape))
	return m.tracedFrom(t, m.graph, given)
}
