package graph

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The noise of a changed graph is the same from its change on and from its start: with a change at
// each node, with a node that draws its own rounding, and after a second change.
func TestNudged(t *testing.T) {
	g, arrays := smallModel(t, 5, 24, 60)
	given, err := Given[float64](g, arrays)
	require.NoError(t, err)
	values, err := Run(g, given)
	require.NoError(t, err)
	v, nudged := NewView(g, values), NewNudged(g, arrays, values)
	twice := func(_ *View, n Node) []Node {
		before := n
		before.Name += "/0"
		return []Node{before, n.Become("mul", Value(before.Name), Number(2))}
	}
	rounded := func(_ *View, n Node) []Node {
		n.Computed = func(in []*Tensor[float64], rounding Rounding) (*Tensor[float64], []float64, error) {
			sigma := make([]float64, len(in[0].Data))
			for i := range sigma {
				sigma[i] = 1e-6
			}
			if rounding == NoRounding {
				sigma = nil
			}
			return in[0], sigma, nil
		}
		return []Node{n}
	}
	both := v.Apply(twice, []int{0})
	after, err := Rerun(g, both, values)
	require.NoError(t, err)
	for name, changed := range map[string]*Graph{
		"none": g, "up": v.Apply(twice, []int{0}), "silu": v.Apply(twice, []int{1}), "logits": v.Apply(twice, []int{2}),
		"rounded": v.Apply(rounded, []int{1}), "both": NewView(both, after).Apply(rounded, []int{2}),
	} {
		outputs, err := Outputs(g, changed, values, changed.Output)
		require.NoError(t, err)
		want, err := NoiseOf(changed, arrays, outputs)
		require.NoError(t, err)
		j := nudged.Jitter(changed, outputs[changed.Output])
		_, err = j.Rough()
		require.NoError(t, err)
		got, err := j.Sigma()
		require.NoError(t, err)
		assert.Equal(t, want, got, name)
	}
	values["huge"] = &Tensor[float64]{Shape: []int{1 << 21}, Data: make([]float64, 1<<21)}
	assert.Nil(t, NewNudged(g, arrays, values), "too large")
}
