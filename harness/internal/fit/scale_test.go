package fit

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/oracletest"
	"github.com/difftest/difftest/harness/internal/variant"
)

// A scale that no catalogue holds is found, whatever else scores are made of, and nothing else
// passes for a scale.
func TestScale(t *testing.T) {
	for _, name := range []string{
		"sdpa/causal", "sdpa/gqa", "sdpa/sinks", "sdpa/softcap", "sdpa/no-batch", "sdpa/decode",
		"mha/causal-left-padding", "decoder/gemma", "decoder/alibi", "decoder/cache",
	} {
		p := oracletest.Committed(t, name)
		shape := p.Run().Shape
		for _, factor := range []float64{0.3, 0.75, 1.001, 1.3, 2.9} {
			wrong := p.Clone()
			wrong.Scale *= factor
			x := scaleFit(p, shape, variant.Variant{}.Run(wrong), 0)
			require.True(t, x.Explains(), "%s, %g: %+v", name, factor, x)
			require.Contains(t, x.Detail, "times as large", name)
		}
		wrong := p.Clone()
		wrong.Query.Value = slices.Clone(p.Query.Value)
		wrong.Query.Value[len(wrong.Query.Value)-1]++
		require.False(t, scaleFit(p, shape, variant.Variant{}.Run(wrong), 0).Explains(), name)
	}
}
