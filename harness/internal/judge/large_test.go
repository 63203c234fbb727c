package judge

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/campaign"
	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/diagnose"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/report"
	"github.com/difftest/difftest/harness/internal/subject"
)

// These tests judge layers that are so large that every mistake is made on a sample of the rows
// first.

// sizes returns the length and width of a large layer. The smaller one is just beyond the size up
// to which every mistake is made on all rows.
func sizes() (length, width int) {
	if campaign.Full() {
		return 512, 384
	}
	return 256, 192
}

// The mistake in a large layer is named. The attention package computes the output, in float32.
func TestLarge(t *testing.T) {
	campaign.SkipShort(t)
	for _, tc := range []struct {
		name           string
		causal, padded bool
		change         func(*attention.Config, attention.StateDict)
		match          string
		class          diagnose.Class
	}{
		{
			"padded", true, true,
			func(c *attention.Config, _ attention.StateDict) { c.Bidirectional = true },
			"causal-missing", diagnose.MissingFeature,
		},
		{
			"unmasked", false, false,
			func(_ *attention.Config, s attention.StateDict) { transposeQuery(s["in_proj_weight"]) },
			"query-weight-transposed", diagnose.WrongWeights,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := large(tc.causal, tc.padded)
			config, state := c.Layer, attention.StateDict{}
			for name, p := range c.State {
				state[name] = p.Clone()
			}
			tc.change(&config, state)
			m, err := attention.New(config)
			require.NoError(t, err)
			_, err = m.LoadStateDict(state, attention.Strict)
			require.NoError(t, err)
			out, err := m.Forward(c.Inputs)
			require.NoError(t, err)
			requireNamed(t, c, out.Output.Float64s(), tc.match, tc.class)
		})
	}
}

// Wrongly merged heads of a large layer are named. The attention package cannot merge wrongly, so
// the oracle computes the output, rounded to float32.
func TestLargeMerge(t *testing.T) {
	campaign.SkipShort(t)
	c := large(true, true)
	p := oracle.FromCase(c).Clone()
	m, _ := catalogue.ByID("heads-merge-untransposed")
	require.True(t, m.Plant(p, nil))
	f, err := p.Rows(t.Context(), nil, oracle.ValuesAlone)
	require.NoError(t, err)
	for i, v := range f.Value {
		f.Value[i] = float64(float32(v))
	}
	requireNamed(t, c, f.Value, m.ID, diagnose.WrongLayout)
}

func requireNamed(t *testing.T, c *fixture.Case, got []float64, match string, class diagnose.Class) {
	t.Helper()
	r, err := Outputs(t.Context(), c, subject.Float32, &oracle.Array{Shape: c.Output.Shape, Value: got}, nil)
	require.NoError(t, err)
	require.Equal(t, report.Fail, r.Verdict)
	require.Equal(t, match, matchedIDs(r.Diagnosis), r.Diagnosis.Reasons)
	require.Equal(t, class, r.Diagnosis.Class, r.Diagnosis.Reasons)
}

// transposeQuery transposes the first third of a packed weight, (3D, D).
func transposeQuery(w *attention.Tensor) {
	d := w.Shape[1]
	for i := range d {
		for j := range i {
			a, b := &w.Data[i*d+j], &w.Data[j*d+i]
			*a, *b = *b, *a
		}
	}
}

// large returns a case with a large layer with biases. The oracle computes its truth.
func large(causal, padded bool) *fixture.Case {
	const batch = 2
	length, width := sizes()
	r := rand.New(rand.NewPCG(1024, 768))
	random := func(scale float64, shape ...int) *attention.Tensor {
		x := attention.NewTensor(shape...)
		for i := range x.Data {
			x.Data[i] = float32(scale * r.NormFloat64())
		}
		return x
	}
	scale := 0.05 * math.Sqrt(768/float64(width)) // of weights: scores of the same size
	x := random(1, batch, length, width)
	c := &fixture.Case{
		Name: "large", Op: fixture.MultiHead,
		Layer: attention.Config{EmbedDim: width, NumHeads: 12, Bidirectional: !causal},
		State: attention.StateDict{
			"in_proj_weight": random(scale, 3*width, width), "in_proj_bias": random(0.1, 3*width),
			"out_proj.weight": random(scale, width, width), "out_proj.bias": random(0.1, width),
		},
		Inputs: attention.Inputs{Query: x, Key: x, Value: x},
	}
	if padded {
		c.Inputs.Padding = attention.NewMask(batch, length)
		for b, filler := range []int{117 * length / 1024, 40 * length / 1024} {
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

// matchedIDs joins the ids of the matches of a diagnosis.
func matchedIDs(d diagnose.Diagnosis) string {
	var ids []string
	for _, m := range d.Matches {
		ids = append(ids, m.ID())
	}
	return strings.Join(ids, " ")
}
