package graph

import (
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The noise is the same after a rough measurement, and in one goroutine. The rough one is near it.
func TestJitter(t *testing.T) {
	g, arrays := smallModel(t, 5, 24, 60)
	given, err := Given[float64](g, arrays)
	require.NoError(t, err)
	values, err := Run(g, given)
	require.NoError(t, err)
	truths := Values[float64]{"up": values["up"], "logits": values["logits"]}
	want, err := NoiseOf(g, arrays, truths)
	require.NoError(t, err)
	j := NewJitter(g, arrays, truths)
	rough, err := j.Rough()
	require.NoError(t, err)
	got, err := j.Sigma()
	require.NoError(t, err)
	assert.Equal(t, want, got)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	alone, err := NoiseOf(g, arrays, truths)
	require.NoError(t, err)
	assert.Equal(t, want, alone)
	for name := range truths {
		assert.NotEqual(t, want[name], rough[name])
		assert.Less(t, sumOf(rough[name]), 2*sumOf(want[name]))
		assert.Greater(t, sumOf(rough[name]), sumOf(want[name])/2)
	}
}

func TestJitterReportsItsRun(t *testing.T) {
	g, arrays := smallModel(t, 5, 24, 60)
	g.Nodes[0].Shape = []int{1}
	_, err := NoiseOf(g, arrays, Values[float64]{"logits": {Shape: []int{5, 60}, Data: make([]float64, 300)}})
	assert.ErrorContains(t, err, "in float32")
}

// Elements of equal shapes, of a number and of broadcast shapes pair up alike.
func TestPairwise(t *testing.T) {
	x := &Tensor[float64]{Shape: []int{2, 3}, Data: []float64{1, 2, 3, 4, 5, 6}}
	for _, tc := range []struct {
		y    *Tensor[float64]
		want []float64
	}{
		{&Tensor[float64]{Shape: []int{2, 3}, Data: []float64{6, 5, 4, 3, 2, 1}}, []float64{-5, -3, -1, 1, 3, 5}},
		{scalar[float64](1), []float64{0, 1, 2, 3, 4, 5}},
		{&Tensor[float64]{Shape: []int{1, 1, 1}, Data: []float64{1}}, []float64{0, 1, 2, 3, 4, 5}},
		{&Tensor[float64]{Shape: []int{3}, Data: []float64{1, 2, 3}}, []float64{0, 0, 0, 3, 3, 3}},
		{&Tensor[float64]{Shape: []int{2, 1}, Data: []float64{1, 2}}, []float64{0, 1, 2, 2, 3, 4}},
	} {
		got, err := operators64["sub"].compute(nil, []*Tensor[float64]{x, tc.y})
		require.NoError(t, err)
		assert.Equal(t, tc.want, got.Data)
		back, err := operators64["sub"].compute(nil, []*Tensor[float64]{tc.y, x})
		require.NoError(t, err)
		for i, v := range back.Data {
			assert.Equal(t, -tc.want[i], v)
		}
	}
}
