package diagnose

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/oracletest"
	"github.com/difftest/difftest/harness/internal/replay"
)

// unit scales a vector to length 1.
func unit(v []float64) []float64 {
	out := make([]float64, len(v))
	num.AddScaled(1/math.Sqrt(num.Dot(v, v)), v, out)
	return out
}

// orthogonal returns the part of a vector that is orthogonal to all of some vectors.
func orthogonal(v []float64, to ...[]float64) []float64 {
	out := slices.Clone(v)
	var basis [][]float64
	for _, d := range to {
		d = slices.Clone(d)
		for _, b := range basis {
			num.AddScaled(-num.Dot(d, b), b, d)
		}
		basis = append(basis, unit(d))
	}
	for _, b := range basis {
		num.AddScaled(-num.Dot(out, b), b, out)
	}
	return unit(out)
}

// Errors have a direction if their cosine with the truth, the query, a shift or the error of a
// known mistake is above 0.35, of either sign.
func TestDirected(t *testing.T) {
	const rows, width = 30, 4
	r := rand.New(rand.NewPCG(3, 3))
	random := func() []float64 { return oracletest.Normal(r, rows*width).Value }
	truth, query, mistake := random(), random(), random()
	shifts := make([][]float64, width) // the same in every row, one per feature
	for f := range shifts {
		shifts[f] = make([]float64, rows*width)
		for row := range rows {
			shifts[f][row*width+f] = 1
		}
	}
	noise := orthogonal(random(), append(shifts, truth, query, mistake)...)

	for _, tc := range []struct {
		name      string
		direction []float64
	}{
		{"gain", truth},
		{"residual connection", query},
		{"shift", shifts[2]},
		{"mistake", mistake},
		{"gain below 1", negative(truth)},
		{"shift down", negative(shifts[1])},
		{"the opposite of a mistake", negative(mistake)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, cosine := range []float64{0.34, 0.345, 0.355, 0.36} {
				errors := make([]float64, rows*width)
				num.AddScaled(cosine, unit(tc.direction), errors)
				num.AddScaled(math.Sqrt(1-cosine*cosine), noise, errors)
				require.Equal(t, cosine > 0.35, directed(erroneous(truth, query, errors, mistake, rows, width)), cosine)
			}
		})
	}
}

// A cosine of 0.35 with the truth, the query or a mistake is within the limit.
func TestDirectedAtTheLimit(t *testing.T) {
	errors := []float64{7, 13, 2, -13, -3, 0} // of the length 20, and 7 in the first element
	first, other := []float64{1, 0, 0, 0, 0, 0}, []float64{0, 0, 0, 0, 0, 1}
	require.False(t, directed(erroneous(first, other, errors, other, 3, 2)))
	require.False(t, directed(erroneous(other, first, errors, other, 3, 2)))
	require.False(t, directed(erroneous(other, other, errors, first, 3, 2)))
	errors[0] = 8
	require.True(t, directed(erroneous(first, other, errors, other, 3, 2)))
	require.True(t, directed(erroneous(other, first, errors, other, 3, 2)))
	require.True(t, directed(erroneous(other, other, errors, first, 3, 2)))
}

func negative(v []float64) []float64 {
	out := make([]float64, len(v))
	num.AddScaled(-1, v, out)
	return out
}

// erroneous is an output with errors, beside one mistake with others.
func erroneous(truth, query, errors, mistake []float64, rows, width int) *input {
	shape := []int{rows, width}
	want := compare.Expected{Shape: shape, Value: truth, Sigma: slices.Repeat([]float64{1}, len(truth))}
	got, wrong := slices.Clone(truth), slices.Clone(truth)
	num.AddScaled(1, errors, got)
	num.AddScaled(1, mistake, wrong)
	m, _ := catalogue.ByID("causal-missing")
	c := compare.Outputs(shape, got, want)
	return &input{
		problem: &oracle.Problem{Query: oracle.Array{Shape: shape, Value: query}},
		truth:   want, got: got, comparison: c,
		replays: replay.Output{
			Sampled: replay.Sampled{Sample: replay.Sample{Truth: want}, Got: got, Comparison: c},
			Visible: []replay.Replay{{Mistake: m, Outputs: [][]float64{wrong}}},
		},
	}
}

// A lower precision's own mistakes, and mistakes that cannot be replayed, give no direction.
func TestPrecisionsGiveNoDirection(t *testing.T) {
	const rows, width = 30, 4
	r := rand.New(rand.NewPCG(3, 3))
	random := func() []float64 { return oracletest.Normal(r, rows*width).Value }
	truth, query, mistake := random(), random(), random()
	in := erroneous(truth, query, mistake, mistake, rows, width)
	require.True(t, directed(in))
	for _, m := range catalogue.Mistakes {
		in.replays.Visible[0].Mistake = m
		require.Equal(t, m.Replayable() && m.Family != catalogue.Precision, directed(in), m.ID)
	}
}

// Errors as large as a lower precision makes them are told with its bits. Numbers of the precision
// itself are its own, and others may come from factors.
func TestRoundingOfALowerPrecision(t *testing.T) {
	p := oracletest.Tall(2)
	truth := p.Run().Expected()
	of := func(size float64, in oracle.Precision, store bool) answer {
		low, err := p.In(in).Rows(t.Context(), nil, oracle.WithNoise)
		require.NoError(t, err)
		sigma := low.Expected().Sigma
		r := rand.New(rand.NewPCG(1, 2))
		got := slices.Clone(truth.Value)
		for i := range got {
			got[i] += size * sigma[i] * r.NormFloat64()
			if store {
				got[i] = in.Round(got[i])
			}
		}
		return rounding(t.Context(), failed(p, truth, got), fits())
	}
	for _, tc := range []struct {
		in    oracle.Precision
		store bool
		text  string
	}{
		{oracle.Float16, true, "that float16 (11 bits) gives"},
		{oracle.Float16, false, "that TensorFloat-32 or factors of float16 (11 bits) gives"},
		{oracle.BFloat16, true, "that bfloat16 (8 bits) gives"},
		{oracle.BFloat16, false, "that factors of bfloat16 (8 bits) gives"},
	} {
		a := of(0.5, tc.in, tc.store)
		require.NotNil(t, a.finding, tc.text)
		require.Equal(t, Rounding, a.finding.class)
		require.Contains(t, told(a.finding), tc.text)
	}
	require.Nil(t, of(0.08, oracle.Float16, false).finding, "less than a tenth")
	require.NotNil(t, of(0.12, oracle.Float16, false).finding)
	require.Nil(t, of(3, oracle.BFloat16, false).finding, "more")

	// No element is off by itself, and all together are.
	got := slices.Clone(truth.Value)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range got {
		got[i] += 3 * truth.Sigma[i] * max(-2, min(2, r.NormFloat64()))
	}
	in := failed(p, truth, got)
	require.Less(t, in.comparison.MaxZ, float64(compare.MaxZ))
	require.Contains(t, told(rounding(t.Context(), in, fits()).finding), "all together are")

	ended, end := context.WithCancel(t.Context())
	end()
	for i := range got {
		got[i] += 300 * truth.Sigma[i] * r.NormFloat64()
	}
	a := rounding(ended, failed(p, truth, got), fits())
	require.Nil(t, a.finding)
	require.EqualValues(t, "the noise of fewer bits, and no two mistakes at once", a.cut)
}

// Errors in the noise of a lower precision count from the truth. They have another cause if a row
// is right, or if they are a gain.
func TestErrorsWithinALowerPrecision(t *testing.T) {
	p := oracletest.Tall(2)
	truth := p.Run().Expected()
	low, err := p.In(oracle.Float16).Rows(t.Context(), nil, oracle.WithNoise)
	require.NoError(t, err)
	noise := low.Expected()
	of := func(truth compare.Expected, errors []float64) answer {
		got := slices.Clone(truth.Value)
		num.AddScaled(1, errors, got)
		noise.Value = truth.Value
		require.InDelta(t, 0.5, compare.Outputs(truth.Shape, got, noise).RMSZ, 0.4, "as large as the noise")
		return rounding(t.Context(), failed(p, truth, got), fits())
	}
	errors := alternatingNoise(noise.Sigma)
	require.NotNil(t, of(truth, errors).finding)
	moved := truth
	moved.Value = slices.Clone(truth.Value)
	for i := range moved.Value {
		moved.Value[i]++
	}
	require.NotNil(t, of(moved, errors).finding)
	gain := make([]float64, len(errors))
	num.AddScaled(3e-4, truth.Value, gain)
	require.Equal(t, answer{}, of(truth, gain))
	clear(errors[:num.Last(truth.Shape)])
	require.Equal(t, answer{}, of(truth, errors), "the first row is right")
}

// alternatingNoise returns errors of half of some noise, of both signs.
func alternatingNoise(sigma []float64) []float64 {
	out := make([]float64, len(sigma))
	for i, s := range sigma {
		out[i] = alternating(0.5)(i) * s
	}
	return out
}

// failed is an output of a problem for steps, with no mistake made.
func failed(p *oracle.Problem, truth compare.Expected, got []float64) *input {
	c := compare.Outputs(truth.Shape, got, truth)
	in := &input{problem: p, truth: truth, whole: truth, got: got, output: got, comparison: c, visible: p.Visible()}
	in.replays.Sampled = replay.Sampled{Sample: replay.Sample{Truth: truth}, Got: got, Comparison: c}
	return in
}
