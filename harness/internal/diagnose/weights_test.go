package diagnose

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/oracletest"
	"github.com/difftest/difftest/harness/internal/pattern"
	"github.com/difftest/difftest/harness/internal/replay"
)

// normals returns N(0,1) numbers.
func normals(seed uint64, n int) []float64 {
	return oracletest.Normal(rand.New(rand.NewPCG(seed, 1)), n).Value
}

// turned returns rows of pairs, each turned by a right angle: orthogonal to the given ones, and
// alike where these are.
func turned(v []float64) []float64 {
	out := make([]float64, len(v))
	for i := 0; i < len(v); i += 2 {
		out[i], out[i+1] = -v[i+1], v[i]
	}
	return out
}

// elsewhere is an output of forty rows of eight features on a case of a layer.
func elsewhere(want, got []float64) *input {
	in := looked(1e-6, []int{1, len(want) / 8, 8}, want, got)
	in.problem.Layer = &oracle.Layer{}
	in.problem.Query = oracle.Array{Shape: in.truth.Shape, Value: normals(9, len(want))}
	small := oracletest.Padded()
	in.replays.Case = replay.NewCase(small, small.Run().Expected())
	in.replays.Comparison = in.comparison
	return in
}

// An output is wrong weights' if nothing else leads as far from the truth as random weights.
func TestUnrelatedOutputs(t *testing.T) {
	want := normals(1, 320)
	got := turned(want)
	kind := randomKind{
		title: "weights of a kind", listed: true, gain: replay.Range{Min: 1, Max: 1},
		limit: direction{0.3, 0.3}, alike: 0.8,
	}
	with := func(change func(k *randomKind)) []randomKind {
		k := kind
		change(&k)
		return []randomKind{k}
	}
	missing := func(kind catalogue.Kind, output []float64, gain float64) replay.Replay {
		return replay.Replay{
			Mistake: catalogue.Mistake{Title: "a part missing", Kind: kind}, Outputs: [][]float64{output},
			Comparisons: []compare.Comparison{{Gain: gain}},
		}
	}
	visible := func(r replay.Replay) func(in *input) {
		return func(in *input) { in.replays.Visible = []replay.Replay{r} }
	}
	between := slices.Clone(want) // a cosine of 0.7 with the truth and with the output
	num.AddScaled(1, got, between)
	for _, tc := range []struct {
		name   string
		kinds  []randomKind
		change func(in *input)
		says   string // of the first reason; "" for wrong weights
	}{
		{"as random weights", []randomKind{kind}, func(*input) {}, ""},
		{"the query", []randomKind{kind}, func(in *input) { in.problem.Query.Value = got }, "cosine 1.000 with the query"},
		{
			"a query of another size", []randomKind{kind},
			func(in *input) { in.problem.Query.Value = got[:312] }, "",
		},
		{"a missing part", []randomKind{kind}, visible(missing(catalogue.Missing, got, 1)), "but a part missing leads as far"},
		{"a part of another size", []randomKind{kind}, visible(missing(catalogue.Missing, got, 1.51)), ""},
		{"a part of a smaller size", []randomKind{kind}, visible(missing(catalogue.Missing, got, 1/1.51)), ""},
		{"a part nearly as large", []randomKind{kind}, visible(missing(catalogue.Missing, got, 1/1.49)), "but a part"},
		{"a part between", []randomKind{kind}, visible(missing(catalogue.Missing, between, 1)), ""},
		{"an altered part", []randomKind{kind}, visible(missing(catalogue.Altered, got, 1)), ""},
		{"a part near the truth", []randomKind{kind}, visible(missing(catalogue.Missing, want, 1)), ""},
		{"a part of its own", []randomKind{kind}, visible(missing(catalogue.Missing, normals(7, 320), 1)), ""},
		{"cosines up to 0.5", with(func(k *randomKind) { k.limit = direction{0.5, 0.5} }), func(*input) {}, ""},
		{
			"centred cosines above 0.5", with(func(k *randomKind) { k.limit = direction{0.5, 0.51} }),
			func(*input) {}, "the case is too small",
		},
		{"few elements", []randomKind{kind}, func(in *input) { in.comparison.Elements = 35 }, "the case is too small"},
		{"some elements", []randomKind{kind}, func(in *input) { in.comparison.Elements = 36 }, ""},
		{"cosines up to 0.9", with(func(k *randomKind) { k.limit.whole = 0.9 }), func(*input) {}, ""},
		{
			"cosines above 0.9", with(func(k *randomKind) { k.limit.whole = 0.91 }),
			func(*input) {}, "the case is too small",
		},
		{
			"cosines above 0.9 of a size that other mistakes do not have",
			with(func(k *randomKind) { k.limit.whole, k.gain = 0.91, replay.Range{Min: 3, Max: 3} }),
			func(in *input) { in.replays.Sampled.Comparison.Gain = 3 }, "",
		},
		{
			"rows as alike as those of some random weights",
			with(func(k *randomKind) { k.alike = 2 * geometry(elsewhere(want, got), got, want) }), func(*input) {}, "",
		},
		{
			"another size", with(func(k *randomKind) { k.gain = replay.Range{Min: 2, Max: 2} }),
			func(*input) {}, "but gain 1 does not fit weights of a kind (2 to 2 here)",
		},
		{
			"rows that are not alike", []randomKind{kind},
			func(in *input) { in.replays.Sampled.Got = normals(4, 320) }, "not even which rows are alike",
		},
		{
			"rows that need not be alike", with(func(k *randomKind) { k.alike = 0.09 }),
			func(in *input) { in.replays.Sampled.Got = normals(4, 320) }, "",
		},
	} {
		in := elsewhere(want, got)
		tc.change(in)
		f := in.unrelatedTo(direction{0.01, 0.01}, tc.kinds)
		require.NotNil(t, f, tc.name)
		if tc.says == "" {
			require.Equal(t, WrongWeights, f.class, "%s: %v", tc.name, f.reasons)
			require.Contains(t, f.reasons[0], "nothing in common with the expected output, as random weights give")
			continue
		}
		require.Equal(t, Unclear, f.class, tc.name)
		require.Contains(t, f.reasons[0], tc.says, tc.name)
	}
	in := elsewhere(want, got)
	in.replays.Visible = []replay.Replay{
		missing(catalogue.Altered, got, 1), missing(catalogue.Missing, want, 1), missing(catalogue.Missing, got, 1),
	}
	title, _ := in.missingAsFar(direction{0.3, 0.3})
	require.Equal(t, "a part missing", title, "the last one")
	for _, d := range []direction{{0.31, 0}, {0, 0.31}} {
		require.Nil(t, in.unrelatedTo(d, []randomKind{kind}), "farther than random weights")
	}
	absolute := slices.Clone(want)
	for i, w := range want {
		absolute[i] = math.Abs(w) - 0.8
	}
	f := elsewhere(want, absolute).unrelatedTo(direction{}, []randomKind{kind})
	require.Contains(t, f.reasons[0], "each element follows from the expected element")
}

// The reasons name the size, masks, and what was not tried.
func TestReasonsOfWrongWeights(t *testing.T) {
	want := normals(1, 320)
	in := elsewhere(want, turned(want))
	kinds := []randomKind{
		{title: "a", listed: true, gain: replay.Range{Min: 1, Max: 1}, limit: direction{0.5, 0.3}, alike: 1},
		{title: "b", listed: true, gain: replay.Range{Min: 5, Max: 5}},
		{title: "c", gain: replay.Range{Min: 7, Max: 7}},
	}
	f := in.unrelatedTo(direction{}, kinds)
	require.Len(t, f.reasons, 2)
	require.Contains(t, f.reasons[1], "gain 1: fits a (1 to 1 here), does not fit b (5 to 5 here)")
	require.NotContains(t, f.reasons[1], "c (7")
	kinds[0].limit.whole = 0.51
	in.problem.Window = 1
	in.replays.Sampled.Rows = make([]int, 40)
	for i := range in.replays.Sampled.Rows {
		in.replays.Sampled.Rows[i] = i
	}
	f = in.unrelatedTo(direction{0, 0.25}, kinds)
	require.Len(t, f.reasons, 5)
	require.Equal(t, "without the mean row, which outputs share by chance, the cosine is 0.250 (up to 0.300)", f.reasons[1])
	require.Contains(t, f.reasons[3], "two mistakes at once, which can lead as far, were not tried")
	require.Equal(t, "masks cannot be judged until the weights load", f.reasons[4])
}

// A gain may be half as large again as a mistake makes it, or that much smaller.
func TestGainsOfAMistake(t *testing.T) {
	band := replay.Band{Gain: replay.Range{Min: 2, Max: 4}}
	for gain, want := range map[float64]bool{2 / 1.51: false, 2 / 1.5: true, 3: true, 6: true, 6.01: false} {
		require.Equal(t, want, gainFits(gain, band), gain)
	}
}

// Random weights of the output's size set how much rows must be alike: half of the least.
func TestHowMuchRowsAreAlike(t *testing.T) {
	want := normals(1, 80)
	in := elsewhere(want, turned(want))
	of := func(gain, least float64) randomKind {
		return randomKind{gain: replay.Range{Min: gain, Max: gain}, alike: least}
	}
	for _, tc := range []struct {
		least float64
		kinds []randomKind
	}{
		{1, nil}, {0.4, []randomKind{of(1, 0.8)}}, {0.4, []randomKind{of(2, 0.2), of(1, 0.8)}},
		{0.2, []randomKind{of(1, 0.8), of(1, 0.4)}}, {0.05, []randomKind{of(1, 0.1)}},
		{-1, []randomKind{of(1, 0.09)}}, {-1, []randomKind{of(1, 0.09), of(1, 0.8)}}, {-1, []randomKind{of(1, 0.8), of(1, 0.09)}},
	} {
		alike, least := in.alike(tc.kinds, 1)
		require.InDelta(t, tc.least, least, 1e-12)
		require.InDelta(t, 1, alike, 1e-12)
	}
}

// Anything that is right, or that finite numbers do not show, speaks against wrong weights.
func TestWhenWrongWeightsAreAsked(t *testing.T) {
	want := normals(1, 320)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	of := func(change func(in *input)) answer {
		in := elsewhere(want, turned(want))
		change(in)
		return unrelated(ended, in, fits())
	}
	require.NotEmpty(t, of(func(*input) {}).cut, "layers are drawn, and the context has ended")
	for name, change := range map[string]func(in *input){
		"NaN":            func(in *input) { in.comparison.NonFinite = 1 },
		"a function":     func(in *input) { in.problem.Layer = nil },
		"attention":      func(in *input) { in.recovery.Pattern = &pattern.Pattern{} },
		"a right row":    func(in *input) { clear(in.comparison.Z[8:16]) },
		"near the truth": func(in *input) { in.replays.Sampled.Got = want },
	} {
		require.Equal(t, answer{}, of(change), name)
	}
	require.NotEmpty(t, of(func(in *input) { clear(in.comparison.Z[8:16]); in.visible[1] = 0 }).cut)

	in := looked(1e-3, []int{3, 2}, make([]float64, 6), []float64{0, 0, 0, 1, 0, 0})
	require.Equal(t, 2, rightRows(in))
	in.visible = []int{0, 1, 1}
	require.Equal(t, 1, rightRows(in))
	require.False(t, masked(in))
	for _, p := range []*oracle.Problem{
		{Causal: oracletest.Causal}, {Window: 1}, {Allow: &attention.Mask{}}, {Block: &attention.Mask{}},
		{Padding: &attention.Mask{}}, {Bias: &oracle.Array{}},
	} {
		in.problem = p
		require.True(t, masked(in))
	}
}

// On a large case random weights are drawn on early rows first, and on the sample if these are as
// far from the truth. An output that is near the truth in the early rows has other causes.
func TestUnrelatedOnALargeCase(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 8))
	p := selfAttention(r, 1, 700, 32, 4, false, linearDefault)
	p.Scale *= 30 // each query sees few keys, and rows differ
	of := func(layer *oracle.Layer) []float64 {
		q := p.Clone()
		q.Layer = layer
		f, err := q.Rows(t.Context(), nil, oracle.ValuesAlone)
		require.NoError(t, err)
		return f.Value
	}
	truth := compare.Expected{Shape: p.Query.Shape, Value: of(p.Layer), Sigma: slices.Repeat([]float64{1e-6}, 700*32)}
	known := replay.NewCase(p, truth)
	ended, end := context.WithCancel(t.Context())
	end()
	asked := func(got []float64) *input {
		c := compare.Outputs(truth.Shape, got, truth)
		in := &input{problem: p, truth: truth, whole: truth, got: got, output: got, comparison: c, visible: p.Visible()}
		in.replays, _ = replay.NewOutput(ended, known, got, c) // no mistake is made
		return in
	}
	other := of(linearDefault.layer(r, 32, 4))
	a := unrelated(t.Context(), asked(other), fits())
	require.Equal(t, WrongWeights, a.finding.class, a.finding.reasons)
	require.Contains(t, told(a.finding), "fits "+linearDefault.title)
	sampled := asked(other)
	sampled.replays, _ = sampled.replays.OnSample()
	all, _ := randomWeights(t.Context(), sampled)
	require.Contains(t, told(a.finding), fmt.Sprintf("on this case (up to %.3f)", limitOf(all).whole), "of the sample")
	require.NotEmpty(t, unrelated(ended, asked(other), fits()).cut)
	early := slices.Clone(other)
	for i := range 48 * 32 {
		early[i] = truth.Value[i] + 0.1*other[i]
	}
	require.Equal(t, answer{}, unrelated(t.Context(), asked(early), fits()))
}

// Errors are a lower precision's if they have no direction, stand out nowhere, and are as large.
func TestSizeOfALowerPrecision(t *testing.T) {
	const rows, width = 40, 8
	want, noise := normals(1, rows*width), normals(2, rows*width)
	of := func(change func(in *input), errors func(i int) float64) *finding {
		got := make([]float64, len(want))
		for i, w := range want {
			got[i] = w + errors(i)
		}
		in := looked(1e-6, []int{rows, width}, want, got)
		in.lower = map[string][]float64{"bfloat16": slices.Repeat([]float64{1e-3}, len(want))}
		change(in)
		return sizeOfLowerPrecision(in)
	}
	none := func(*input) {}
	sized := func(size float64) func(int) float64 {
		return func(i int) float64 { return size * 1e-3 * math.Copysign(1, noise[i]) }
	}
	f := of(none, sized(0.3))
	require.Equal(t, Rounding, f.class)
	require.Contains(t, f.reasons[0], "of the size that this module has in bfloat16")
	require.Contains(t, f.reasons[1], "--precision bfloat16")
	require.NotNil(t, of(none, sized(0.21)))
	require.Nil(t, of(none, sized(0.19)))
	require.NotNil(t, of(none, sized(0.99)))
	require.Nil(t, of(none, sized(1.01)))
	require.Nil(t, of(none, func(i int) float64 { return 3e-4 * want[i] }), "a gain")
	require.Nil(t, of(none, func(i int) float64 { return 3e-4 }), "a shift")
	require.Nil(t, of(none, func(i int) float64 {
		if i/width == 3 {
			return sized(1e-6)(i)
		}
		return sized(0.3)(i)
	}), "a row is right")
	require.Nil(t, of(func(in *input) { in.lower = nil }, sized(0.3)))

	in := looked(1e-6, []int{rows, width}, want, want)
	in.lower = map[string][]float64{"float16": slices.Repeat([]float64{1}, len(want))}
	_, ok := inNoiseOf(in, "float16")
	require.False(t, ok, "no error")
	_, ok = inNoiseOf(in, "bfloat16")
	require.False(t, ok, "no noise is known")
}

// Errors that are noisy in all rows alike, and nowhere outside the noise, are told with their size.
func TestTooNoisyEverywhere(t *testing.T) {
	const rows, width = 40, 10
	want, noise := normals(1, rows*width), normals(2, rows*width)
	of := func(size float64) answer {
		got := slices.Clone(want)
		for i := range got {
			got[i] += size * math.Copysign(0x1p-10, noise[i])
		}
		in := looked(0x1p-10, []int{rows, width}, want, got)
		in.problem.Query = oracle.Array{Shape: []int{rows, width}, Value: normals(3, rows*width)}
		return rounding(t.Context(), in, fits())
	}
	a := of(3)
	require.Equal(t, Rounding, a.finding.class)
	require.Contains(t, a.finding.reasons[0], "all together are 3 times as noisy as sigma, at most 1.5 is allowed")
	require.NotNil(t, of(16).finding, "the limit of an element is within")
}

// The output of a module may be a number or a vector: a vector is one row.
func TestModulesOfFewDimensions(t *testing.T) {
	for _, shape := range [][]int{{}, {12}, {2, 6}, {2, 2, 3}} {
		n := 1
		for _, d := range shape {
			n *= d
		}
		truth := compare.Expected{Shape: shape, Value: normals(5, n), Sigma: slices.Repeat([]float64{1e-6}, n), Measured: true}
		got := make([]float64, n)
		for i, w := range truth.Value {
			got[i] = 2 * w
		}
		d := DiagnoseModule(t.Context(), truth, nil, nil, got, compare.Outputs(shape, got, truth))
		require.Equal(t, n > 2, d.Reasons[0][:len("the output is")] == "the output is", shape)
		require.Equal(t, len(shape) > 1, d.Structure.Wrong != nil, shape)
		if n == 12 {
			shift := slices.Clone(truth.Value)
			for i := range shift {
				shift[i]++
			}
			d = DiagnoseModule(t.Context(), truth, nil, nil, shift, compare.Outputs(shape, shift, truth))
			require.Contains(t, d.Reasons[0], "plus", shape)
		}
	}
}

// The output is compared with the query of the same rows, where some rows are sampled.
func TestTheQueryOfSampledRows(t *testing.T) {
	want := normals(1, 320)
	in := elsewhere(want, turned(want))
	in.replays.Sampled.Rows = []int{1, 3, 4, 39}
	var query []float64
	for _, row := range in.replays.Sampled.Rows {
		query = append(query, in.problem.Query.Value[8*row:][:8]...)
	}
	num.AddScaled(-3, query, query) // twice as large, and the opposite
	in.replays.Sampled.Got = query
	d := in.towardsQuery()
	require.InDelta(t, -1, d.whole, 1e-12)
	require.InDelta(t, -1, d.centred, 1e-12)
}
