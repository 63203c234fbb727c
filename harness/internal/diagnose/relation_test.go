package diagnose

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/oracletest"
)

// The expected output times a number, or plus the same in every row, is called that and nothing
// else.
func TestGainAndShift(t *testing.T) {
	p := oracletest.Padded()
	width := num.Last(p.Run().Shape)
	for _, tc := range []struct {
		name   string
		change func(y []float64)
		says   string
	}{
		{"gain", func(y []float64) {
			for i := range y {
				y[i] *= 1.25
			}
		}, "the output is the expected one times 1.25 in every element"},
		{"a gain near the largest float64", func(y []float64) {
			for i := range y {
				y[i] *= -3e306
			}
		}, "the output is the expected one times -3e+306 in every element"},
		{"a gain near the largest float32", func(y []float64) {
			for i := range y {
				y[i] = float64(float32(y[i] * 2.5e37))
			}
		}, "the output is the expected one times 2.5e+37 in every element"},
		{"shift", func(y []float64) {
			for i := range y {
				y[i] += 0.125 * float64(i%width-3)
			}
		}, "the output is the expected one plus the same"},
		{"gain but for one element", func(y []float64) {
			for i := range y {
				y[i] *= 1.25
			}
			y[7] += 0.01
		}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := changed(p, tc.change)
			require.Empty(t, d.Matches)
			said := strings.Join(d.Reasons, "\n")
			require.Equal(t, tc.says != "", strings.Contains(said, "the output is the expected one"), said)
			require.Contains(t, said, tc.says)
		})
	}
}

// unknown returns an expected output of a module, N(0,1) in rows of their own scale.
func unknown(seed uint64, shape ...int) compare.Expected {
	r := rand.New(rand.NewPCG(seed, 11))
	e := compare.Expected{Shape: shape, Measured: true}
	for range num.Size(shape) {
		v := r.NormFloat64() + 0.3
		e.Value, e.Sigma = append(e.Value, v), append(e.Sigma, 1e-7*(math.Abs(v)+0.1))
	}
	return e
}

// ofUnknown diagnoses an output of a module: the expected one, changed element by element and
// rounded to float32.
func ofUnknown(want compare.Expected, change func(i int, w float64) float64) Diagnosis {
	got := make([]float64, len(want.Value))
	for i, w := range want.Value {
		got[i] = float64(float32(change(i, w)))
	}
	return DiagnoseModule(context.Background(), want, nil, nil, got, compare.Outputs(want.Shape, got, want))
}

// What a module's output has to do with the expected one is said, and one element refutes it.
func TestRelations(t *testing.T) {
	const width = 12
	steps := []string{
		"relu", "clamped above", "clamped", "absolute", "tanh", "silu", "gelu", "gelu by tanh", "sigmoid", "square",
		"exp", "softcap", "softmax", "log-softmax", "normalised",
	}
	want := unknown(1, 2, 7, width)
	for _, tc := range []struct {
		name   string
		change func(i int, w float64) float64
		says   string
	}{
		{"gain", func(_ int, w float64) float64 { return w * math.Sqrt(7) },
			"one times 2.645751 (sqrt(7), a size"},
		{"small gain", func(_ int, w float64) float64 { return w * 1.5e-6 }, "one times 1.5e-06 in every element"},
		{"shift", func(i int, w float64) float64 { return w - float64(i%width)*0.5 },
			"the same 12 numbers in every row"},
		{"gain and shift", func(_ int, w float64) float64 { return 0.75*w + 2 }, "one times 0.75, plus 2, in every"},
		{"factor by feature", func(i int, w float64) float64 { return w * (0.5 + float64(i%width)/8) },
			"each feature times a factor of its own: from 0.5 to 1.875"},
		{"factor of one feature", func(i int, w float64) float64 {
			if i%width == 4 {
				w *= -3
			}
			return w
		}, "each feature times a factor of its own: -3 for feature 4, 1 for the others"},
		{"factor by row", func(i int, w float64) float64 { return w * (1 + float64(i/width)) },
			"each row times a factor of its own: from 1 to 14"},
		{"line by feature", func(i int, w float64) float64 { return w*(1+float64(i%width)) + float64(i%width%3) },
			"each feature times a factor and plus a shift of its own: factors from 1 to 12, shifts from"},
		{"line by row", func(i int, w float64) float64 { return w*(1+float64(i/width)) + 1 + float64(i/width%3) },
			"each row times a factor and plus a shift of its own: factors from 1 to 14, shifts from 1 to 3"},
		{"relu", func(_ int, w float64) float64 { return math.Max(0, w) },
			"every negative element set to zero, as relu"},
		{"clamped above", func(_ int, w float64) float64 { return math.Min(0.875, w) },
			"every element above 0.875 set to it"},
		{"clamped", func(_ int, w float64) float64 { return math.Max(-0.5, math.Min(0.75, w)) },
			"every element below -0.5 set to it, and every element above 0.75 set to it"},
		{"absolute", func(_ int, w float64) float64 { return math.Abs(w) }, "the absolute value of the expected one"},
		{"tanh", func(_ int, w float64) float64 { return math.Tanh(w) }, "tanh of the expected one"},
		{"silu", func(_ int, w float64) float64 { return w / (1 + math.Exp(-w)) }, "silu of the expected one"},
		{"gelu", func(_ int, w float64) float64 { return w * 0.5 * math.Erfc(-w/math.Sqrt2) },
			"is gelu of the expected one"},
		{"gelu by tanh", func(_ int, w float64) float64 {
			return w / 2 * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(w+0.044715*w*w*w)))
		}, "is gelu of the expected one, by tanh"},
		{"sigmoid", func(_ int, w float64) float64 { return 1 / (1 + math.Exp(-w)) }, "sigmoid of the expected one"},
		{"square", func(_ int, w float64) float64 { return w * w }, "the square of the expected one"},
		{"exp", func(_ int, w float64) float64 { return math.Exp(w) }, "exp of the expected one"},
		{"softcap", func(_ int, w float64) float64 { return 1.375 * math.Tanh(w/1.375) },
			"the expected one behind a softcap of 1.375: 1.375·tanh(x/1.375) for"},
		{"softmax", func(i int, w float64) float64 { return math.Exp(w) / sums(want, math.Exp)[i/width] },
			"is the softmax of each row of the expected one"},
		{"log-softmax", func(i int, w float64) float64 { return w - math.Log(sums(want, math.Exp)[i/width]) },
			"the logarithm of the softmax of each row of the expected one"},
		{"normalised", func(i int, w float64) float64 {
			return w / math.Sqrt(sums(want, func(v float64) float64 { return v * v })[i/width])
		}, "each row divided by its length"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := ofUnknown(want, tc.change)
			require.Contains(t, d.Reasons[0], tc.says)
			require.Contains(t, d.Reasons[1], "residual ")
			class := Unclear
			if slices.Contains(steps, tc.name) {
				class = MissingFeature
			}
			require.Equal(t, class, d.Class)
			refuted := ofUnknown(want, func(i int, w float64) float64 {
				w = tc.change(i, w)
				if i == 50 {
					require.NotZero(t, w)
					w *= 1.001
				}
				return w
			})
			require.Contains(t, refuted.Reasons[0], "the case has no graph of this module")
		})
	}
}

// sums returns the sum of a function over each row of an expected output.
func sums(e compare.Expected, of func(float64) float64) []float64 {
	width := e.Shape[len(e.Shape)-1]
	sums := make([]float64, len(e.Value)/width)
	for i, v := range e.Value {
		sums[i/width] += of(v)
	}
	return sums
}

// An output that was rounded once has the class rounding. An output of the same type with larger
// errors has another class.
func TestRoundedModules(t *testing.T) {
	want := unknown(2, 5, 9)
	for name, p := range map[string]oracle.Precision{"float16": oracle.Float16, "bfloat16": oracle.BFloat16} {
		d := ofUnknown(want, func(_ int, w float64) float64 { return p.Round(w) })
		require.Equal(t, Rounding, d.Class)
		require.Equal(t, []string{"the output is the expected one, rounded once to " + name}, d.Reasons)
		d = ofUnknown(want, func(i int, w float64) float64 {
			if i == 20 {
				w *= 1.02
			}
			return p.Round(w)
		})
		require.Equal(t, Unclear, d.Class)
	}
}

// Too few elements refute nothing, so nothing is said.
func TestTooFewElementsForARelation(t *testing.T) {
	says := func(want compare.Expected, change func(i int, w float64) float64) string {
		return strings.Join(ofUnknown(want, change).Reasons, "\n")
	}
	double := func(_ int, w float64) float64 { return 2 * w }
	require.NotContains(t, says(unknown(3, 2), double), "the output is")
	require.Contains(t, says(unknown(3, 3), double), "the output is the expected one times 2 in")

	byRow := func(width int) func(i int, w float64) float64 {
		return func(i int, w float64) float64 { return w * (1 + float64(i/width)) }
	}
	for width := range 6 {
		if width == 0 {
			continue
		}
		said := says(unknown(4, 9, width), byRow(width))
		require.Equal(t, width >= 3, strings.Contains(said, "each row"), "%d: %s", width, said)
	}
	byFeature := func(i int, w float64) float64 { return w * (1 + float64(i%11)) }
	for rows := 1; rows < 6; rows++ {
		said := says(unknown(5, rows, 11), byFeature)
		require.Equal(t, rows >= 3, strings.Contains(said, "each feature"), "%d: %s", rows, said)
	}
	cut := func(_ int, w float64) float64 { return math.Min(w, 1.5) }
	require.NotContains(t, says(unknown(6, 4, 5), cut), "set to it")

	few := unknown(7, 6, 8) // a feature with one element that is not zero
	for i := 3; i < len(few.Value); i += 8 {
		if i > 8 {
			few.Value[i] = 0
		}
	}
	require.NotContains(t, says(few, func(i int, w float64) float64 { return w * (1 + float64(i%8)) }), "each feature")
}

// How many numbers each relation takes from an output.
func TestNumbersOfARelation(t *testing.T) {
	want, got := make([]float64, 12), make([]float64, 12)
	for i := range want {
		want[i] = float64(i) - 4.5
		got[i] = 3*want[i] + 2
	}
	in := looked(1e-6, []int{3, 4}, want, got)
	require.Equal(t, 1, gain(in).fitted)
	pair := looked(1e-6, []int{2, 4}, want[:8], got[:8])
	require.NotNil(t, gainAndShift(looked(1e-6, []int{1, 4}, want[:4], got[:4])), "two more than two numbers")
	require.Nil(t, gainAndShift(looked(1e-6, []int{1, 3}, want[:3], got[:3])))
	require.NotNil(t, factors(pair, byRow), "two rows are enough")
	require.NotNil(t, factorsAndShifts(pair, byRow))
	require.Nil(t, factors(looked(1e-6, []int{1, 8}, want[:8], got[:8]), byRow), "one is the whole output")
	require.NotNil(t, related(in, nil, gain(in), gainAndShift(in)), "the last one holds")
	require.Nil(t, related(in, gain(in), nil))
	larger := slices.Clone(want)
	num.AddScaled(4, want, larger)
	scaled := looked(1e-6, []int{3, 4}, want, larger)
	both := related(scaled, gain(scaled), gainAndShift(scaled))
	require.Len(t, both.reasons, 3)
	require.Contains(t, both.reasons[0], "the expected one times 5 in every element")
	require.Contains(t, both.reasons[1], "the expected one times 5, plus ")
	require.Equal(t, "this case cannot tell these apart", both.reasons[2])
	require.Equal(t, Unclear, both.class)
	for i := range want[:4] { // a row that was not written
		larger[i] = 0
	}
	require.Nil(t, factors(looked(1e-6, []int{3, 4}, want, larger), byRow))
	for i := range want {
		larger[i] = want[i] * float64(i%4)
	}
	require.Contains(t, factors(looked(1e-6, []int{3, 4}, want, larger), byFeature).text, "0 for feature 0, 2 for feature 2")
	nan := repeated([]float64{math.NaN()}, 12)
	require.Nil(t, gainOrShift(looked(1e-6, []int{3, 4}, want, nan)), "NaN is no gain")
	require.Nil(t, factorsOrFunctions(looked(1e-6, []int{3, 4}, want, nan)))
	line := gainAndShift(in)
	require.Equal(t, 2, line.fitted)
	require.Contains(t, line.text, "times 3, plus 2, in every element")
	require.InDeltaSlice(t, got, line.want.Value, 1e-12)
	for i := range got {
		got[i] = 2 * math.Tanh(want[i]/2)
	}
	require.Equal(t, 1, softcapped(looked(1e-6, []int{3, 4}, want, got)).fitted)
}
