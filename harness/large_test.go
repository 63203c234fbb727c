package harness

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/fixture"
	"github.com/difftest/difftest/harness/oracle"
	"github.com/difftest/difftest/harness/report"
)

// A layer of B2 T1024 D768 H12: every mistake is made on a sample of its rows, and the one that was made is
// named. The output is that of the attention package, in float32.
func TestLarge(t *testing.T) {
	if testing.Short() {
		t.Skip("a minute with the race detector")
	}
	for _, tc := range []struct {
		mistake        string
		causal, padded bool
		change         func(*attention.Config, attention.StateDict, *attention.Inputs)
	}{
		{"causal-missing", true, true, func(c *attention.Config, _ attention.StateDict, _ *attention.Inputs) { c.Bidirectional = true }},
		{"query-weight-transposed", true, false, func(_ *attention.Config, s attention.StateDict, _ *attention.Inputs) {
			w := s["in_proj_weight"]
			for i := range 768 {
				for j := range i {
					a, b := &w.Data[i*768+j], &w.Data[j*768+i]
					*a, *b = *b, *a
				}
			}
		}},
		{"scale-missing", false, false, func(c *attention.Config, _ attention.StateDict, _ *attention.Inputs) { c.Scale = 1 }},
	} {
		t.Run(tc.mistake, func(t *testing.T) {
			c := large(tc.causal, tc.padded)
			config, state, in := c.Layer, attention.StateDict{}, c.Inputs
			for name, p := range c.State {
				state[name] = p.Clone()
			}
			tc.change(&config, state, &in)
			m, err := attention.New(config)
			require.NoError(t, err)
			_, err = m.LoadStateDict(state, attention.Strict)
			require.NoError(t, err)
			out, err := m.Forward(in)
			require.NoError(t, err)
			start := userTime()
			r, err := Judge(t.Context(), c, out.Output.Shape, out.Output.Float64s())
			require.NoError(t, err)
			t.Logf("user time %.1f s, largest %d MiB so far", userTime()-start, maxRSS()>>10)
			require.Equal(t, report.Fail, r.Verdict)
			require.Equal(t, tc.mistake, matchedIDs(r.Diagnosis), r.Diagnosis.Reasons)
		})
	}
}

// large is a layer with biases. Its truth is the oracle's own.
func large(causal, padded bool) *fixture.Case {
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
			"in_proj_weight": random(0.05, 3*width, width), "in_proj_bias": random(0.1, 3*width),
			"out_proj.weight": random(0.05, width, width), "out_proj.bias": random(0.1, width),
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
	f := oracle.FromCase(c).Run()
	c.Truth, c.Output = f.Value, attention.NewTensor(f.Shape...)
	for i, v := range f.Value {
		c.Output.Data[i] = float32(v)
	}
	return c
}
