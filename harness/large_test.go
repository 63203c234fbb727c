package harness

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/catalogue"
	"github.com/difftest/difftest/harness/fixture"
	"github.com/difftest/difftest/harness/oracle"
)

// large is a layer of B2 T1024 D768 H12 with biases. Its truth is the oracle's own.
func large(t testing.TB, causal, padded bool) *fixture.Case {
	t.Helper()
	const batch, length, width = 2, 1024, 768
	r := rand.New(rand.NewPCG(1024, 768))
	random := func(scale float64, shape ...int) *attention.Tensor {
		x := attention.NewTensor(shape...)
		for i := range x.Data {
			x.Data[i] = float32(scale * r.NormFloat64())
		}
		return x
	}
	x := random(1, batch, length, width)
	c := &fixture.Case{
		Name: "large", Op: fixture.MultiHead,
		Layer: attention.Config{EmbedDim: width, NumHeads: 12, Bidirectional: !causal},
		State: attention.StateDict{
			"in_proj_weight": random(0.036, 3*width, width), "in_proj_bias": random(0.1, 3*width),
			"out_proj.weight": random(0.036, width, width), "out_proj.bias": random(0.1, width),
		},
		Inputs: attention.Inputs{Query: x, Key: x, Value: x},
	}
	if padded {
		c.Inputs.Padding = attention.NewMask(batch, length)
		for b, filler := range []int{117, 40} {
			for j := range filler {
				c.Inputs.Padding.Data[b*length+j] = true
			}
		}
	}
	start := time.Now()
	f := oracle.FromCase(c).Run()
	t.Logf("truth made in %s", time.Since(start))
	c.Truth, c.Output = f.Value, attention.NewTensor(f.Shape...)
	for i, v := range f.Value {
		c.Output.Data[i] = float32(v)
	}
	return c
}

func TestLarge(t *testing.T) {
	c := large(t, true, true)
	_, _ = c, slices.Contains([]int{1}, 2)
	m, _ := catalogue.ByID("causal-missing")
	_ = m
	require.NotNil(t, c)
}
