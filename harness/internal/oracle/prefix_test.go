package oracle

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
)

// causalLayer is a layer whose rows need no later token.
func causalLayer() *Problem {
	p := whole()
	p.Past, p.Offset = nil, 0
	p.Layer.LearnedKey, p.Layer.LearnedValue, p.Layer.ZeroKey = nil, nil, false
	p.Padding = attention.NewMask(2, 3)
	p.Padding.Data[3] = true
	return p
}

// The first tokens of a batch element give the first rows of its result, unless some row needs a
// later token, or something is placed by the whole length.
func TestPrefix(t *testing.T) {
	p := causalLayer()
	p.Slopes, p.Window = []float64{0.1, 0.2, 0.3, 0.4}, 2
	all, err := p.Rows(t.Context(), nil, ValuesAlone)
	require.NoError(t, err)
	for b := range 2 {
		for n := 1; n <= 3; n++ {
			prefix := p.Prefix(b, n)
			require.NotNil(t, prefix)
			require.Equal(t, []int{1, n, 6}, prefix.Query.Shape)
			require.Equal(t, []int{1, n}, prefix.Padding.Shape)
			got, err := prefix.Rows(t.Context(), nil, ValuesAlone)
			require.NoError(t, err)
			require.Equal(t, all.Value[b*18:][:n*6], got.Value, "%d tokens of %d", n, b)
		}
		require.Nil(t, p.Prefix(b, 4))
	}
	last := causalLayer().ForkAfterContext().Prefix(0, 1)
	require.False(t, last.afterContext)
	for name, change := range map[string]func(p *Problem, l *Layer){
		"past": func(p *Problem, _ *Layer) {
			p.Past = &Past{Array{Shape: []int{2, 2, 0, 4}}, Array{Shape: []int{2, 2, 0, 4}}}
		},
		"allow":         func(p *Problem, _ *Layer) { p.Allow = attention.NewMask(3, 3) },
		"block":         func(p *Problem, _ *Layer) { p.Block = attention.NewMask(3, 3) },
		"bias":          func(p *Problem, _ *Layer) { p.Bias = &Array{[]int{3, 3}, sine(1, 9)} },
		"mean":          func(p *Problem, _ *Layer) { p.EmptyMean = true },
		"split":         func(_ *Problem, l *Layer) { l.SplitIndex = otherIndex },
		"merge":         func(_ *Problem, l *Layer) { l.MergeIndex = otherIndex },
		"learned":       func(_ *Problem, l *Layer) { l.LearnedKey = sine(1, 8) },
		"zeros":         func(_ *Problem, l *Layer) { l.ZeroKey = true },
		"turn":          func(p *Problem, _ *Layer) { p.Turn = &Turn{} },
		"hooks":         func(p *Problem, _ *Layer) { p.ZeroKeys = 1 },
		"another batch": func(p *Problem, _ *Layer) { p.Key.Shape = []int{1, 6, 6} },
		"more values":   func(p *Problem, _ *Layer) { p.Value.Shape = []int{2, 4, 6} },
		"few queries":   func(p *Problem, _ *Layer) { p.Query = Array{[]int{2, 1, 6}, sine(1, 12)} },
		"not causal":    func(p *Problem, _ *Layer) { p.Causal = nil },
		"later keys":    func(p *Problem, _ *Layer) { p.Offset = 1 },
	} {
		p := causalLayer()
		change(p, p.Layer)
		require.Nil(t, p.Prefix(0, 2), name)
	}
	function := &Problem{Query: Array{Shape: []int{1, 3, 2}}}
	require.Nil(t, function.Prefix(0, 1))
}

// A problem projects anew if the inputs or weights of its keys or values are not the owner's.
func TestProjectsAnew(t *testing.T) {
	base := causalLayer().CachedParts(causalLayer())
	for name, tc := range map[string]struct {
		change func(p *Problem, l *Layer)
		anew   bool
	}{
		"nothing":      {func(*Problem, *Layer) {}, false},
		"query weight": {func(_ *Problem, l *Layer) { l.Query.Weight = sine(9, 96) }, false},
		"key bias":     {func(_ *Problem, l *Layer) { l.Key.Bias = sine(9, 8) }, false},
		"key weight":   {func(_ *Problem, l *Layer) { l.Key.Weight = sine(9, 48) }, true},
		"value weight": {func(_ *Problem, l *Layer) { l.Value.Weight = sine(9, 48) }, true},
		"key":          {func(p *Problem, _ *Layer) { p.Key.Value = sine(9, 36) }, true},
		"value":        {func(p *Problem, _ *Layer) { p.Value.Value = sine(9, 36) }, true},
		"no layer":     {func(p *Problem, _ *Layer) { p.Layer = nil }, true},
		"no cache":     {func(p *Problem, _ *Layer) { p.cache = nil }, true},
	} {
		p := base.Fork()
		tc.change(p, p.Layer)
		require.Equal(t, tc.anew, p.ProjectsAnew(), name)
	}
}

// Batch elements are independent unless a hook may combine them.
func TestIndependentElements(t *testing.T) {
	for name, tc := range map[string]struct {
		change      func(p *Problem)
		independent bool
	}{
		"nothing": {func(*Problem) {}, true},
		"turn":    {func(p *Problem) { p.Turn = &Turn{} }, false},
		"prepare": {func(p *Problem) { p.Prepare = func(_, _, _ *Field) {} }, true},
		"heads alone": {func(p *Problem) {
			p.Prepare, p.Layer = func(_, _, _ *Field) {}, nil
		}, false},
		"no prepare": {func(p *Problem) { p.Layer = nil }, true},
		"KVHead":     {func(p *Problem) { p.KVHead = func(int) int { return 0 } }, false},
		"mix":        {func(p *Problem) { p.Mix = func(f Field) Field { return f } }, false},
		"finish":     {func(p *Problem) { p.Finish = func(f Field) Field { return f } }, false},
		"heads":      {func(p *Problem) { p.Axis = OverHeads }, true},
		"batch":      {func(p *Problem) { p.Axis = OverBatch }, false},
	} {
		p := causalLayer()
		tc.change(p)
		require.Equal(t, tc.independent, p.Independent(), name)
	}
	p := &Problem{Query: Array{Shape: []int{2, 2, 3, 4}}}
	p.Prepare = func(_, _, _ *Field) {}
	require.True(t, p.Independent(), "a batch of heads")
}

// Arrays that differ between batch elements go with each of them.
func TestElementsOfWhatDiffers(t *testing.T) {
	p := causalLayer()
	p.Offsets, p.CausalShift, p.WindowShift, p.Window = []int{1, 0}, []int{0, -1}, []int{1, 0}, 2
	p.Slopes, p.Sinks = sine(1, 8), sine(2, 8)
	p.Past = whole().Past
	p.Padding = nil
	p.MisplacedPadding = attention.NewMask(2, 1, 1, 5)
	p.MisplacedPadding.Data[1], p.MisplacedPadding.Data[7] = true, true
	p.Block = attention.NewMask(1, 1, 3, 5)
	p.Block.Data[2] = true
	p.Bias = &Array{[]int{2, 1, 3, 5}, sine(3, 30)}
	all := p.Run()
	for b := range 2 {
		part := p.Element(b)
		got := part.Run()
		require.Equal(t, all.Value[b*18:][:18], got.Value)
		require.Equal(t, all.Variance[b*18:][:18], got.Variance)
		require.Equal(t, []int{p.Offsets[b]}, part.Offsets)
		require.Equal(t, p.Slopes[4*b:][:4], part.Slopes)
	}
	p.Slopes, p.Bias = sine(1, 4), &Array{[]int{1, 1, 3, 5}, sine(3, 15)}
	require.Equal(t, p.Slopes, p.Element(1).Slopes, "the elements share these")
	require.Same(t, p.Bias, p.Element(1).Bias)
	require.Same(t, p.Block, p.Element(1).Block)
}

// Rotary positions turn a whole head, with a factor of 1, unless the case says otherwise.
func TestDefaultsOfRotaryPositions(t *testing.T) {
	of := func(r *attention.RoPE) *Layer {
		p := &Problem{Layer: &Layer{}, Offset: 3}
		p.setRotary(r, 6)
		return p.Layer
	}
	require.Nil(t, of(nil).QueryRotary)
	l := of(&attention.RoPE{Base: 100})
	require.Equal(t, &Rotary{Dim: 6, Base: 100, Factor: 1, First: 3}, l.QueryRotary)
	require.Equal(t, l.QueryRotary, l.KeyRotary)
	require.NotSame(t, l.QueryRotary, l.KeyRotary)
	l = of(&attention.RoPE{Base: 100, Dim: 4, Factor: 8, Style: attention.Interleaved})
	require.Equal(t, &Rotary{Interleaved: true, Dim: 4, Base: 100, Factor: 8, First: 3}, l.KeyRotary)
}

// Inputs and parameters are rounded as asked, and are then no noise.
func TestRoundedInputsAndParameters(t *testing.T) {
	p := whole()
	rounded := func(values []float64) []float64 { return BFloat16.roundAll(values) }
	for _, what := range []Given{0, Inputs, Parameters, Inputs | Parameters} {
		q := p.Rounded(BFloat16, what)
		inputs, parameters := what&Inputs != 0, what&Parameters != 0
		for i, pair := range [][2][]float64{
			{p.Query.Value, q.Query.Value}, {p.Key.Value, q.Key.Value}, {p.Value.Value, q.Value.Value},
			{p.Past.Key.Value, q.Past.Key.Value}, {p.Past.Value.Value, q.Past.Value.Value},
			{p.Layer.Query.Weight, q.Layer.Query.Weight}, {p.Layer.Output.Bias, q.Layer.Output.Bias},
			{p.Layer.LearnedKey, q.Layer.LearnedKey},
		} {
			want := pair[0]
			if inputs && i < 5 || parameters && i >= 5 {
				want = rounded(pair[0])
				require.NotEqual(t, pair[0], want)
			}
			require.Equal(t, want, pair[1], "%d: array %d", what, i)
		}
		require.Equal(t, inputs, q.Precision.given == 0)
		require.Equal(t, parameters, q.Precision.learned == 0)
	}
}
