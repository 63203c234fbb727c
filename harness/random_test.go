package harness

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/compare"
	"github.com/difftest/difftest/harness/diagnose"
	"github.com/difftest/difftest/harness/fixture"
	"github.com/difftest/difftest/harness/internal/variant"
	"github.com/difftest/difftest/harness/oracle"
)

// Options in all their combinations, also those that no committed case has, mean the same to three
// implementations that share no arithmetic: the attention package, the oracle, and a float32 variant.
func TestRandomCasesAgree(t *testing.T) {
	for n := range uint64(1500) {
		r := draw{rand.New(rand.NewPCG(20260301, n))}
		c := r.layerCase()
		if n%3 == 0 {
			c = r.functionCase()
		}
		requireAgreement(t, fmt.Sprintf("case %d: %+v %+v", n, c.Layer, c.Options), c)
	}
}

// requireAgreement wants outputs and weights within the noise of the oracle.
func requireAgreement(t *testing.T, name string, c *fixture.Case) {
	t.Helper()
	problem := oracle.FromCase(c)
	own := expected(problem)
	truth := inOrder(c, own)
	ran := builtIn.Run(t.Context(), c)
	require.NoError(t, ran.Err, name)
	require.Empty(t, ran.Findings, name)
	for by, compared := range map[string]compare.Comparison{
		"attention": compare.Outputs(ran.Output.Shape, ran.Output.Float64s(), truth),
		"variant":   compare.Outputs(own.Shape, variant.Variant{}.Run(problem), own),
	} {
		require.True(t, compared.MaxZ <= compare.MaxZ && compared.SameShape(), "%s, %s: max z %.3g, worst %+v", name, by, compared.MaxZ, compared.Worst)
	}
	if c.Weights != nil {
		weights := expectedWeights(c, problem.Weights())
		compared := compare.Outputs(ran.Weights.Shape, ran.Weights.Float64s(), weights)
		require.True(t, compared.MaxZ <= compare.MaxZ && compared.SameShape(), "%s: weights: max z %.3g, worst %+v", name, compared.MaxZ, compared.Worst)
	}
	require.Len(t, problem.Visible(), len(own.Value)/own.Shape[len(own.Shape)-1], name)
}

// No mistake makes the catalogue panic, or lets a replay have another shape than the truth.
func TestRandomCasesAreSeen(t *testing.T) {
	for n := range uint64(40) {
		r := draw{rand.New(rand.NewPCG(20260302, n))}
		c := r.layerCase()
		if n%3 == 0 {
			c = r.functionCase()
		}
		problem := oracle.FromCase(c)
		own := expected(problem)
		reference := diagnose.NewReference(problem, own)
		require.NotEmpty(t, reference.Sight().Absent)
		wrong := slices.Clone(own.Value)
		for i := range wrong {
			wrong[i] += 0.01 * float64(i%7)
		}
		require.NotEmpty(t, reference.Diagnose(t.Context(), wrong, compare.Outputs(own.Shape, wrong, own)).Class)
	}
}

// draw makes cases of chance.
type draw struct{ *rand.Rand }

func (r draw) some() bool { return r.IntN(2) == 0 }

func (r draw) tensor(shape ...int) *attention.Tensor {
	t := attention.NewTensor(shape...)
	for i := range t.Data {
		t.Data[i] = float32(r.NormFloat64())
	}
	return t
}

func (r draw) mask(chance float64, shape ...int) *attention.Mask {
	m := attention.NewMask(shape...)
	for i := range m.Data {
		m.Data[i] = r.Float64() < chance
	}
	return m
}

// bias hides some keys: by -inf, by -1e4, and by the lowest number there is.
func (r draw) bias(shape ...int) *attention.Tensor {
	t := r.tensor(shape...)
	for i := range t.Data {
		switch r.IntN(8) {
		case 0:
			t.Data[i] = float32(math.Inf(-1))
		case 1:
			t.Data[i] = -1e4
		case 2:
			t.Data[i] = -math.MaxFloat32
		}
	}
	return t
}

func pick[T any](r draw, of ...T) T { return of[r.IntN(len(of))] }

func (r draw) functionCase() *fixture.Case {
	c := &fixture.Case{Op: fixture.SDPA}
	o := &c.Options
	batch, group, kvHeads := 1+r.IntN(3), 1+r.IntN(3), 1+r.IntN(3)
	queries, keys, width, valueWidth := 1+r.IntN(6), 1+r.IntN(6), 1+r.IntN(5), 1+r.IntN(5)
	o.GroupedQuery = r.some()
	heads := kvHeads
	if o.GroupedQuery {
		heads *= group
	}
	in := []**attention.Tensor{&c.Inputs.Query, &c.Inputs.Key, &c.Inputs.Value}
	whole := r.some() // leading dimensions are those of the scores, or 1, or absent
	for i, shape := range [][]int{{batch, heads, queries, width}, {batch, kvHeads, keys, width}, {batch, kvHeads, keys, valueWidth}} {
		if !whole && i != r.IntN(3) {
			shape[0] = 1
			if r.some() {
				shape = shape[1:]
			}
		}
		*in[i] = r.tensor(shape...)
	}
	shape, err := attention.SDPAShape(*in[0], *in[1], *in[2], o.GroupedQuery)
	if err != nil {
		panic(err)
	}
	scores := append(slices.Clone(shape[:len(shape)-1]), keys)
	o.Causality = pick(r, attention.NotCausal, attention.TopLeft, attention.LowerRight)
	if o.Causality == attention.NotCausal {
		masked := slices.Clone(scores)
		for d := range masked {
			if r.IntN(3) == 0 {
				masked[d] = 1
			}
		}
		masked = masked[r.IntN(len(masked)+1):]
		switch r.IntN(3) {
		case 0:
			o.Allow = r.mask(0.7, masked...)
		case 1:
			o.Bias = r.bias(masked...)
		}
	}
	o.Scale, o.Softcap = pick(r, 0, 0.3, -0.7), pick(r, 0, 0, 0.8, 20)
	o.Window, o.ALiBi, o.EmptyRow = pick(r, 0, 0, 1, 2, 4), r.some(), pick(r, attention.EmptyZero, attention.EmptyNaN)
	if r.some() {
		o.Sinks = r.tensor(shape[len(shape)-3])
	}
	return c
}

func (r draw) layerCase() *fixture.Case {
	c := &fixture.Case{Op: fixture.MultiHead, Layer: r.config()}
	filled, err := attention.New(c.Layer)
	if err != nil {
		panic(err)
	}
	layer := filled.Config()
	batch, queries := 1+r.IntN(3), 1+r.IntN(5)
	if layer.Order == attention.Unbatched {
		batch = 1
	}
	shape := func(length, width int) []int {
		return map[attention.Order][]int{attention.BatchFirst: {batch, length, width}, attention.SequenceFirst: {length, batch, width}, attention.Unbatched: {length, width}}[layer.Order]
	}
	c.Inputs.Query = r.tensor(shape(queries, layer.EmbedDim)...)
	c.Inputs.Key, c.Inputs.Value = c.Inputs.Query, c.Inputs.Query
	keys := queries
	if layer.KDim != layer.EmbedDim || layer.VDim != layer.EmbedDim || r.some() {
		keys = 1 + r.IntN(5)
		c.Inputs.Key, c.Inputs.Value = r.tensor(shape(keys, layer.KDim)...), r.tensor(shape(keys, layer.VDim)...)
	}
	if !layer.BiasKV && !layer.ZeroAttn && r.some() {
		past := r.IntN(4)
		c.Inputs.PastKey = r.tensor(batch, layer.NumKVHeads, past, layer.HeadDim)
		c.Inputs.PastValue = r.tensor(batch, layer.NumKVHeads, past, layer.HeadDim)
		keys += past
	}
	masked := pick(r, []int{queries, keys}, []int{batch * layer.NumHeads, queries, keys})
	if r.IntN(3) == 0 {
		c.Inputs.Block = r.mask(0.3, masked...)
	}
	if r.IntN(3) == 0 {
		c.Inputs.Bias = r.bias(masked...)
	}
	if r.IntN(3) == 0 {
		c.Inputs.Padding = r.mask(0.3, batch, keys)
		if layer.Order == attention.Unbatched {
			c.Inputs.Padding.Shape = []int{keys}
		}
	}
	c.State = filled.StateDict()
	for _, name := range slices.Sorted(maps.Keys(c.State)) {
		c.State[name] = r.tensor(c.State[name].Shape...)
	}
	if layer.Weights != attention.NoWeights {
		out, err := filled.Forward(c.Inputs)
		if err != nil {
			panic(err)
		}
		c.Weights = out.Weights // for its shape
	}
	return c
}

// config draws until one is not refused.
func (r draw) config() attention.Config {
	for {
		heads := 1 + r.IntN(6)
		c := attention.Config{
			EmbedDim: heads * (1 + r.IntN(5)), NumHeads: heads, NumKVHeads: pick(r, 0, 0, 1, 2, 3), HeadDim: pick(r, 0, 0, 3, 4, 6), KDim: pick(r, 0, 0, 5), VDim: pick(r, 0, 0, 7),
			Bidirectional: r.some(), WithoutBias: r.some(), WithoutOutputBias: r.IntN(4) == 0,
			Scale: pick(r, 0, 0, 0.4), Softcap: pick(r, 0, 0, 0.8, 20), Window: pick(r, 0, 0, 1, 2, 4), ALiBi: r.some(), Sinks: r.some(), Relative: pick(r, 0, 1, 3),
			BiasKV: r.IntN(4) == 0, ZeroAttn: r.IntN(4) == 0,
			Keys: attention.Keys(r.IntN(7)), Prefix: pick(r, "", "a.b."), Order: attention.Order(r.IntN(3)), Weights: attention.Weights(r.IntN(3)), EmptyRow: attention.EmptyRow(r.IntN(2)),
		}
		if r.some() {
			c.RoPE = &attention.RoPE{Style: attention.RoPEStyle(r.IntN(2)), Dim: pick(r, 0, 2, 4), Base: pick(r, 10., 10000), Factor: pick(r, 0, 1, 4.)}
		}
		if r.some() {
			c.QKNorm = &attention.QKNorm{Epsilon: pick(r, 0, 1e-6, 0.5)}
		}
		if r.IntN(3) == 0 { // nothing that has a position
			c.RoPE, c.ALiBi, c.Relative, c.Window = nil, false, 0, 0
		}
		if c.Check() == nil {
			return c
		}
	}
}
