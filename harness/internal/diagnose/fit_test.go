package diagnose

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/variant"
)

// redrawings are what may be drawn anew of a map: all of it, the part of its last head, its bias.
var redrawings = []string{"weight", "head", "bias"}

// redraw draws a part of a map anew, of the same size, in float32. It says false where there is none.
func redraw(p *oracle.Problem, m Projection, part string) bool {
	l := p.Layer
	linear, heads := l.Projections()[m], headsOf(l, m)
	if part == "bias" && linear.Bias == nil || part == "head" && heads == 1 {
		return false
	}
	free := freedom{maps: []Projection{m}, bias: part == "bias"}
	if part == "head" {
		free.heads = []int{heads - 1}
	}
	r := rand.New(rand.NewPCG(11, uint64(m)))
	weight, bias := num.RMS(linear.Weight), num.RMS(linear.Bias)
	for o := range linear.Out {
		for i := range linear.In {
			if free.frees(l, m, o, i) {
				linear.Weight[o*linear.In+i] = float64(float32(weight * r.NormFloat64()))
			}
		}
		if part == "bias" {
			linear.Bias[o] = float64(float32(bias * r.NormFloat64()))
		}
	}
	return true
}

// names are the four maps', as a state dict may have them.
var names = [4]Parameter{{Weight: "q.weight", Bias: "q.bias"}, {Weight: "k.weight", Bias: "k.bias"}, {Weight: "v.weight", Bias: "v.bias"}, {Weight: "o.weight", Bias: "o.bias"}}

// layers are the committed cases of layers, laid open.
func layers(t *testing.T) map[string]*oracle.Problem {
	t.Helper()
	list, err := fixture.Names(fixtures.FS)
	require.NoError(t, err)
	all := map[string]*oracle.Problem{}
	for _, name := range list {
		c, err := fixture.Read(fixtures.FS, name)
		require.NoError(t, err)
		if c.Op == fixture.MultiHead {
			all[name] = oracle.FromCase(c)
		}
	}
	return all
}

// localised asks for the parameters of an output that is not right; seen is false where it is within the noise.
func localised(p *oracle.Problem, trace oracle.Trace, got []float64) (at localisation, seen bool) {
	truth := p.Run().Expected()
	c := compare.Outputs(truth.Shape, got, truth)
	if c.OK() || c.NonFinite > 0 {
		return at, false
	}
	return newFitter(p, trace, truth.Shape, got, names).localise(c.Rel), true
}

// said lists the maps that a localisation speaks of.
func (at localisation) said() []Projection {
	list := slices.Clone(at.also)
	for _, x := range at.holding {
		list = append(list, x.free.maps...)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// Each part of each map is drawn anew on every third committed layer, and some besides, and computed in float32 by code that shares nothing with
// the oracle: the map is found, or is among several that the case cannot tell apart, or nothing is said.
func TestAnUnknownParameterIsLocalised(t *testing.T) {
	var mutex sync.Mutex
	count := map[string]int{}
	t.Run("cases", func(t *testing.T) {
		all := layers(t)
		for n, name := range slices.Sorted(maps.Keys(all)) {
			p := all[name]
			if !slices.Contains(some, name) && (testing.Short() || n%3 != 0) {
				continue
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				trace := p.Trace()
				for m := QueryMap; m <= OutputMap; m++ {
					for _, part := range redrawings {
						verdict := redrawnVerdict(t, p, trace, m, part)
						mutex.Lock()
						count[fmt.Sprintf("%s %s: %s", m, part, verdict)]++
						count[verdict]++
						mutex.Unlock()
					}
				}
			})
		}
	})
	for _, line := range sorted(count) {
		t.Log(line, count[line])
	}
	require.Zero(t, count["wrong"])
	if !testing.Short() {
		require.GreaterOrEqual(t, count["unique"], 100)
		require.GreaterOrEqual(t, count["head"], 50)
	}
}

// some cases of each sort.
var some = []string{"decoder/gemma", "decoder/qwen-biases", "decoder/cache", "layouts/gpt", "mha/bias-kv-zero-attn-left-padding", "mha/causal", "mha/kdim", "samples/forward-batch-packed-mask"}

// redrawnVerdict is what is said of a part of a map that was drawn anew.
func redrawnVerdict(t *testing.T, p *oracle.Problem, trace oracle.Trace, m Projection, part string) string {
	wrong := p.Clone()
	if !redraw(wrong, m, part) {
		return "absent"
	}
	at, seen := localised(p, trace, variant.Variant{}.Run(wrong))
	said := at.said()
	switch {
	case !seen:
		return "not seen"
	case len(at.holding) == 0 && at.within == nil:
		return "refused"
	case len(at.holding) == 0:
		last := freedom{maps: []Projection{m}, heads: []int{headsOf(p.Layer, m) - 1}}.queryHeads(p.Layer)
		if part == "head" && slices.Equal(at.within, last) && m != OutputMap {
			return "head"
		}
		t.Errorf("the %s %s was drawn anew, and it is said: %s", m, part, at.headText(names, p.Layer))
		return "wrong"
	case !slices.Contains(said, m):
		t.Errorf("the %s %s was drawn anew, and it is said: %v", m, part, at.finding().reasons)
		return "wrong"
	case len(said) == 1:
		return "unique"
	}
	return "class"
}

// surplus layers have many more rows than a layer has unknowns, each with something that scores are made of.
var surplusLayers = []struct {
	name   string
	change func(p *oracle.Problem)
}{
	{"plain", func(*oracle.Problem) {}},
	{"causal", func(p *oracle.Problem) { p.Causal = func(i, j int) bool { return j <= i } }},
	{"rotated", func(p *oracle.Problem) {
		turn := oracle.Rotary{Dim: 4, Base: 100, Factor: 2}
		p.Layer.QueryRotary, p.Layer.KeyRotary = &turn, &turn
	}},
	{"interleaved", func(p *oracle.Problem) {
		turn := oracle.Rotary{Dim: 6, Base: 100, Factor: 1, Interleaved: true}
		p.Layer.QueryRotary, p.Layer.KeyRotary = &turn, &turn
	}},
	{"slopes", func(p *oracle.Problem) { p.Slopes = []float64{0.5, 0.25} }},
	{"sinks", func(p *oracle.Problem) { p.Sinks = []float64{0.5, -1} }},
	{"softcap", func(p *oracle.Problem) { p.Softcap = 5 }},
	{"padded", func(p *oracle.Problem) {
		p.Padding = attention.NewMask(p.Key.Shape[0], p.Key.Shape[1])
		for i := range p.Padding.Data {
			p.Padding.Data[i] = i%5 == 4
		}
	}},
	{"cached", func(p *oracle.Problem) {
		r := rand.New(rand.NewPCG(5, 5))
		past := func() oracle.Array { return drawnArray(r, p.Key.Shape[0], p.Layer.KVHeads, 2, 6) }
		p.Past, p.Offset = &oracle.Past{Key: past(), Value: past()}, 2
	}},
}

// surplusLayer has 2 heads of 6 features over 4 positions and a width of 13.
func surplusLayer(kvHeads int) *oracle.Problem {
	r := rand.New(rand.NewPCG(4, uint64(kvHeads)))
	const width, e, length, batch = 13, 6, 4, 60
	linear := func(in, out int) oracle.Linear {
		w := drawnArray(r, out, in).Value
		for i := range w {
			w[i] = float64(float32(w[i] / math.Sqrt(float64(in))))
		}
		return oracle.Linear{In: in, Out: out, Weight: w, Bias: drawnArray(r, out).Value}
	}
	p := &oracle.Problem{Query: drawnArray(r, batch, length, width), Scale: 1 / math.Sqrt(e)}
	p.Key = drawnArray(r, batch, length, width-2)
	p.Value = drawnArray(r, batch, length, width-3)
	p.Layer = &oracle.Layer{
		Heads: 2, KVHeads: kvHeads, Query: linear(width, 2*e), Key: linear(width-2, kvHeads*e), Value: linear(width-3, kvHeads*e), Output: linear(2*e, width),
	}
	return p
}

func drawnArray(r *rand.Rand, shape ...int) oracle.Array {
	n := 1
	for _, d := range shape {
		n *= d
	}
	a := oracle.Array{Shape: shape, Value: make([]float64, n)}
	for i := range a.Value {
		a.Value[i] = float64(float32(r.NormFloat64()))
	}
	return a
}

// With enough rows each map is found for sure, whatever scores are made of.
func TestEveryMapIsFoundWhereRowsSuffice(t *testing.T) {
	for _, tc := range surplusLayers {
		for _, kvHeads := range []int{2, 1} {
			t.Run(fmt.Sprintf("%s, %d key heads", tc.name, kvHeads), func(t *testing.T) {
				t.Parallel()
				p := surplusLayer(kvHeads)
				tc.change(p)
				for m := QueryMap; m <= OutputMap; m++ {
					wrong := p.Clone()
					require.True(t, redraw(wrong, m, "weight"))
					at, seen := localised(p, p.Trace(), variant.Variant{Dot: variant.Pairwise}.Run(wrong))
					require.True(t, seen)
					require.Equal(t, []Projection{m}, at.said(), "%s: %+v", m, at.tried)
					if p.Softcap == 0 { // with one the search may miss a parameter, and excludes none
						require.Empty(t, at.untested, m)
					}
					require.Greater(t, at.apart, 0.05)
					require.Contains(t, at.finding().reasons[0], names[m].Weight)
				}
			})
		}
	}
}

// Value and output both drawn anew are found together.
func TestValueAndOutputTogether(t *testing.T) {
	p := surplusLayer(2)
	wrong := p.Clone()
	redraw(wrong, ValueMap, "weight")
	redraw(wrong, OutputMap, "weight")
	at, _ := localised(p, p.Trace(), variant.Variant{}.Run(wrong))
	require.Equal(t, []Projection{ValueMap, OutputMap}, at.said(), "%+v", at.tried)
	require.Len(t, at.holding, 1)
}

// Three maps drawn anew are not explained by one, nor by two.
func TestThreeMapsAreNotLocalised(t *testing.T) {
	p := surplusLayer(2)
	wrong := p.Clone()
	for _, m := range []Projection{QueryMap, ValueMap, OutputMap} {
		redraw(wrong, m, "weight")
	}
	at, _ := localised(p, p.Trace(), variant.Variant{}.Run(wrong))
	require.Empty(t, at.said())
	require.Nil(t, at.finding())
}

// With fewer rows than unknowns least squares explains everything, also what another map gives: it is refused, with the figures.
func TestTooFewRowsAreRefused(t *testing.T) {
	p := surplusLayer(2).Element(0)
	wrong := p.Clone()
	redraw(wrong, QueryMap, "weight")
	truth := p.Run().Expected()
	f := newFitter(p, p.Trace(), truth.Shape, variant.Variant{}.Run(wrong), names)
	free := freedom{maps: []Projection{OutputMap}}
	x := newTangent(p, free)
	vacuous := fit{Fit: Fit{Residual: math.Inf(1), free: free}}
	f.solve(&vacuous, x.blocks(), p, 1)
	require.True(t, vacuous.Holds, "an output weight explains what another query weight gave")

	refused := f.try(free)
	require.False(t, refused.Explains())
	require.Equal(t, "4 rows that see a key and differ, and 13 unknowns of rank 4: at least 7 are needed", refused.Refused)
	require.Contains(t, f.try(freedom{maps: []Projection{ValueMap}}).Refused, "4 different mixtures of values in head 0, and 11 unknowns of rank 4")
	require.Contains(t, f.try(freedom{maps: []Projection{QueryMap}}).Refused, "12 differences of scores in head 0, and 84 unknowns")
	require.Contains(t, f.try(freedom{maps: []Projection{KeyMap}}).Refused, "12 differences of scores in head 0, and 72 unknowns")
	require.Contains(t, f.try(freedom{maps: []Projection{ValueMap, OutputMap}}).Refused, "4 rows that see a key and differ, and 21 unknowns")
}

// Rows that are alike count once: many batch elements of one input are no surplus.
func TestEqualRowsAreNoSurplus(t *testing.T) {
	p := surplusLayer(2)
	for _, a := range []*oracle.Array{&p.Query, &p.Key, &p.Value} {
		n := len(a.Value) / a.Shape[0]
		for i := range a.Value {
			a.Value[i] = a.Value[i%n]
		}
	}
	wrong := p.Clone()
	redraw(wrong, QueryMap, "weight")
	at, seen := localised(p, p.Trace(), variant.Variant{}.Run(wrong))
	require.True(t, seen)
	require.Empty(t, at.said())
	for _, x := range at.tried {
		if x.free.heads == nil && !x.free.bias {
			require.NotEmpty(t, x.Refused, x.Freed)
		}
	}
}

// The noise of another precision is no other parameter.
func TestRoundingIsNotLocalised(t *testing.T) {
	for name, p := range layers(t) {
		if !slices.Contains(some, name) && name != "mha/unmasked" {
			continue
		}
		for _, v := range []variant.Variant{{Store: variant.BFloat16}, {Store: variant.TensorFloat32}} {
			at, seen := localised(p, p.Trace(), v.Run(p))
			if seen {
				require.Empty(t, at.said(), "%s: %+v", name, at.holding)
				require.Nil(t, at.within, name)
			}
		}
	}
}

// A step of least squares needs the tangent and its transpose to belong together, and the tangent to be the slope.
func TestTangent(t *testing.T) {
	for _, tc := range surplusLayers {
		p := surplusLayer(1)
		tc.change(p)
		r := rand.New(rand.NewPCG(8, 8))
		x := newTangent(p, freedom{maps: []Projection{QueryMap, KeyMap, ValueMap, OutputMap}})
		step, out := drawnArray(r, len(x.mask)).Value, drawnArray(r, len(x.t.Output.Value)).Value
		x.restrict(step)
		forward, backward := x.forward(step), x.backward(out)
		require.LessOrEqual(t, math.Abs(num.Dot(forward, out)-num.Dot(step, backward)), 1e-9*math.Sqrt(num.Dot(forward, forward)*num.Dot(out, out)), tc.name)

		const small = 1e-6
		for i := range step {
			step[i] *= small
		}
		ahead := x.moved(step).Trace().Output.Value
		var off, size float64
		for i, d := range forward {
			moved := (ahead[i] - x.t.Output.Value[i]) / small * x.weight[i/x.outs]
			off, size = off+(moved-d)*(moved-d), size+d*d
		}
		require.Less(t, math.Sqrt(off/size), 1e-4, tc.name)
	}
}

func sorted[T any](m map[string]T) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// Least squares takes noise away: what is left must be as much smaller.
func TestNoiseThatAFitLeaves(t *testing.T) {
	c := compare.Comparison{GotShape: []int{1}, WantShape: []int{1}, Elements: 1, Limits: compare.Limits{Z: compare.MaxZ, RMS: compare.MaxRMSZ}, RMSZ: 1}
	require.True(t, holds(c, 0.9))
	require.False(t, holds(c, 0.1))
	c.Rel = 2 * near
	require.False(t, holds(c, 0.9))
}

// Work grows with the case: a large one is refused, and says so.
func TestLargeCasesAreRefused(t *testing.T) {
	l := &oracle.Layer{Heads: 12, KVHeads: 12}
	for _, linear := range l.Projections() {
		*linear = oracle.Linear{In: 768, Out: 768, Bias: make([]float64, 768)}
	}
	x := &tangent{p: &oracle.Problem{Layer: l}, weight: make([]float64, 2048)}
	for m := QueryMap; m <= OutputMap; m++ {
		_, reason := x.surplus(freedom{maps: []Projection{m}})
		require.Contains(t, reason, "the case is too large", m)
	}
	large := &oracle.Problem{Query: oracle.Array{Shape: []int{2, 1024, 768}}, Key: oracle.Array{Shape: []int{2, 1024, 768}}, Layer: l}
	require.Equal(t, "the case is too large: 25165824 attention weights", untraceable(large))
	require.Empty(t, untraceable(surplusLayer(2)))
}

func BenchmarkLocalise(b *testing.B) {
	c, err := fixture.Read(fixtures.FS, "mha/unmasked")
	require.NoError(b, err)
	p := oracle.FromCase(c)
	trace := p.Trace()
	wrong := p.Clone()
	redraw(wrong, QueryMap, "weight")
	got := variant.Variant{}.Run(wrong)
	for b.Loop() {
		localised(p, trace, got)
	}
}

func BenchmarkPattern(b *testing.B) {
	c, err := fixture.Read(fixtures.FS, "mha/unmasked")
	require.NoError(b, err)
	p := oracle.FromCase(c)
	trace := p.Trace()
	got := p.Run().Value
	for b.Loop() {
		pattern(p, trace, got)
	}
}

// Where the softmax is saturated rows are alike but for rounding, and large parameters, or noisy ones, would explain anything: outputs
// of no layer at all get no explanation.
func TestWildParametersExplainNothing(t *testing.T) {
	p := problemOf(t, "mha/hot")
	width := p.Query.Shape[2]
	for name, change := range map[string]func(y []float64){
		"the query is added": func(y []float64) {
			for i, v := range p.Query.Value {
				y[i] += v
			}
		},
		"the last row everywhere": func(y []float64) {
			rows := p.Query.Shape[1]
			for i := range y {
				y[i] = y[i/(rows*width)*rows*width+(rows-1)*width+i%width]
			}
		},
	} {
		got := variant.Variant{}.Run(p)
		change(got)
		at, seen := localised(p, p.Trace(), got)
		require.True(t, seen)
		require.Empty(t, at.said(), "%s: %+v", name, at.holding)
	}
}
