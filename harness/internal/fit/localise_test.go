package fit

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/internal/campaign"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/oracletest"
	"github.com/difftest/difftest/harness/internal/variant"
)

// placements are the four projections' in some state dict.
var placements = [4]attention.Placement{
	{Weight: "q.weight", Bias: "q.bias"},
	{Weight: "k.weight", Bias: "k.bias"},
	{Weight: "v.weight", Bias: "v.bias"},
	{Weight: "o.weight", Bias: "o.bias"},
}

// redrawings are the parts of a projection to draw anew: all of it, its last head, its bias.
var redrawings = []string{"weight", "head", "bias"}

// redraw draws a part of a projection anew, of the same size, in float32. It reports whether the
// projection has such a part.
func redraw(p *oracle.Problem, m Projection, part string) bool {
	l := p.Layer
	linear, heads := l.Projections()[m], headsOf(l, m)
	if part == "bias" && linear.Bias == nil || part == "head" && heads == 1 {
		return false
	}
	free := freeSet{projections: []Projection{m}, bias: part == "bias"}
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

// localised asks for the parameters of an output. It reports whether the output is outside the
// noise.
func localised(p *oracle.Problem, trace oracle.Trace, got []float64) (at localisation, seen bool) {
	truth := p.Run().Expected()
	c := compare.Outputs(truth.Shape, got, truth)
	if c.OK() || c.NonFinite > 0 {
		return at, false
	}
	f := &fitter{
		ctx: context.Background(), p: p, trace: trace, shape: truth.Shape, got: got, placements: placements,
	}
	return f.localise(c.Rel), true
}

// named lists the projections that a localisation names.
func (at localisation) named() []Projection {
	list := slices.Clone(at.confusable)
	for _, x := range at.holding {
		list = append(list, x.free.projections...)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// layers returns the problems of the committed cases of layers.
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

// some cases of each sort.
var some = []string{
	"decoder/gemma", "decoder/qwen-biases", "decoder/cache", "layouts/gpt",
	"mha/bias-kv-zero-attn-left-padding", "mha/causal", "mha/kdim", "samples/forward-batch-packed-mask",
}

// Each part of each projection is drawn anew, and computed in float32 by code that shares nothing
// with the oracle. The projection is found, or is among several that the case cannot tell apart, or
// none is named. The plain run takes a few layers of its own. The full campaign also takes every
// third committed layer.
func TestAnUnknownParameterIsLocalised(t *testing.T) {
	campaign.SkipShort(t)
	var mutex sync.Mutex
	count := map[string]int{}
	t.Run("cases", func(t *testing.T) {
		all := layers(t)
		for n, name := range slices.Sorted(maps.Keys(all)) {
			p := all[name]
			if !slices.Contains(some, name) && (!campaign.Full() || n%3 != 0) {
				continue
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				trace := p.Trace()
				for m := QueryProjection; m <= OutputProjection; m++ {
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
	for _, line := range slices.Sorted(maps.Keys(count)) {
		t.Log(line, count[line])
	}
	require.Zero(t, count["wrong"])
	if campaign.Full() {
		require.GreaterOrEqual(t, count["unique"], 110)
		require.GreaterOrEqual(t, count["head"], 60)
	} else {
		require.GreaterOrEqual(t, count["unique"], 25)
		require.GreaterOrEqual(t, count["head"], 5)
	}
}

// redrawnVerdict draws a part of a projection anew, and returns what the fits make of it.
func redrawnVerdict(t *testing.T, p *oracle.Problem, trace oracle.Trace, m Projection, part string) string {
	wrong := p.Clone()
	if !redraw(wrong, m, part) {
		return "absent"
	}
	at, seen := localised(p, trace, variant.Variant{}.Run(wrong))
	named := at.named()
	switch {
	case !seen:
		return "not seen"
	case len(at.holding) == 0 && at.heads == nil:
		return "refused"
	case len(at.holding) == 0:
		last := ofHead(m, headsOf(p.Layer, m)-1).queryHeads(p.Layer)
		if part == "head" && slices.Equal(at.heads, last) && m != OutputProjection {
			return "head"
		}
		t.Errorf("the %s %s was drawn anew, and the fits blame heads %v", m, part, at.heads)
		return "wrong"
	case !slices.Contains(named, m):
		t.Errorf("the %s %s was drawn anew, and the fits say: %v", m, part, at.reasons())
		return "wrong"
	case len(named) == 1:
		return "unique"
	}
	return "class"
}

// With enough rows each projection is found for sure, whatever scores are made of.
func TestEveryProjectionIsFoundWhereRowsSuffice(t *testing.T) {
	for _, tc := range tallLayers {
		for _, kvHeads := range []int{2, 1} {
			t.Run(fmt.Sprintf("%s, %d key heads", tc.name, kvHeads), func(t *testing.T) {
				t.Parallel()
				p := oracletest.Tall(kvHeads)
				tc.change(p)
				for m := QueryProjection; m <= OutputProjection; m++ {
					wrong := p.Clone()
					require.True(t, redraw(wrong, m, "weight"))
					at, seen := localised(p, p.Trace(), variant.Variant{Dot: variant.Pairwise}.Run(wrong))
					require.True(t, seen)
					require.Equal(t, []Projection{m}, at.named(), "%s: %+v", m, at.tried)
					// With a softcap the search may miss a parameter, and rules out none.
					if p.Softcap == 0 {
						require.Empty(t, at.untested, m)
					}
					require.Greater(t, at.apart, 0.05)
					require.Contains(t, at.reasons()[0], placements[m].Weight)
				}
			})
		}
	}
}

// Value and output weights that are both drawn anew are found together.
func TestValueAndOutputTogether(t *testing.T) {
	p := oracletest.Tall(2)
	wrong := p.Clone()
	redraw(wrong, ValueProjection, "weight")
	redraw(wrong, OutputProjection, "weight")
	at, _ := localised(p, p.Trace(), variant.Variant{}.Run(wrong))
	require.Equal(t, []Projection{ValueProjection, OutputProjection}, at.named(), "%+v", at.tried)
	require.Len(t, at.holding, 1)
	require.Equal(t, at.holding[0].Freed, at.tried[len(at.tried)-1].Freed)
	require.True(t, at.tried[len(at.tried)-1].Narrowest)
}

// Three projections drawn anew are not explained by one, nor by two.
func TestThreeProjectionsAreNotLocalised(t *testing.T) {
	p := oracletest.Tall(2)
	wrong := p.Clone()
	for _, m := range []Projection{QueryProjection, ValueProjection, OutputProjection} {
		redraw(wrong, m, "weight")
	}
	at, _ := localised(p, p.Trace(), variant.Variant{}.Run(wrong))
	require.Empty(t, at.named())
	require.Nil(t, at.reasons())
	require.Len(t, at.tried, 9, "a bias and all of each projection, and value and output together")
	require.Equal(t, all(ValueProjection, OutputProjection), at.tried[8].free)
}

// Heads differ if their weights do by more than a tenth of the most different head's change.
func TestDiffering(t *testing.T) {
	for _, tc := range []struct {
		changes []float64 // of the heads
		want    []int
	}{
		{[]float64{10, 1, 0, 0}, []int{0}}, {[]float64{10, 1.2, 0, -10}, []int{0, 1, 3}}, {[]float64{1, 1, 1, 1}, num.UpTo(4)},
	} {
		for m := range allProjections {
			right := grouped(1).Layer
			right.KVHeads, right.Key, right.Value = 4, right.Query, right.Query
			other := (&oracle.Problem{Layer: right}).Clone().Layer
			l := *other.Projections()[m]
			clear(right.Projections()[m].Weight)
			for at := range l.Weight {
				h := at / l.In / 3
				if Projection(m) == OutputProjection {
					h = at % l.In / 3
				}
				l.Weight[at] = tc.changes[h]
			}
			require.Equal(t, tc.want, differing(right, other, Projection(m)))
		}
	}
}

// Where rows are too few for all of a projection, its heads are asked for one by one, and the one
// that explains the output comes first. The only head of a layer is not asked for, nor are the
// heads of a projection that does not explain the output.
func TestFreeProjection(t *testing.T) {
	p := oracletest.First(oracletest.Tall(2), 3)
	wrong := p.Clone()
	require.True(t, redraw(wrong, OutputProjection, "head"))
	f := fitterOf(t, p, oracletest.InFloat32(wrong.Run()))
	list := f.freeProjection(OutputProjection)
	require.Len(t, list, 3)
	require.Equal(t, []freeSet{ofHead(OutputProjection, 1), biasOf(OutputProjection), all(OutputProjection)},
		[]freeSet{list[0].free, list[1].free, list[2].free})
	require.True(t, list[0].Explains())
	require.NotEmpty(t, list[2].Refused)

	// Values of 10 inputs have 10 directions. 13 rows are enough for these, and too few with a
	// bias.
	p = oracletest.First(oracletest.Tall(2), 13)
	p.Query.Shape[1], p.Query.Value = 1, p.Query.Value[:13*13]
	p.Layer.Heads, p.Layer.KVHeads, p.Layer.Value.Bias = 1, 1, nil
	wrong = p.Clone()
	require.True(t, redraw(wrong, OutputProjection, "weight"))
	f = fitterOf(t, p, oracletest.InFloat32(wrong.Run()))
	require.True(t, f.fit(ofHead(OutputProjection, 0)).Explains())
	list = f.freeProjection(OutputProjection)
	require.Len(t, list, 2)
	require.NotEmpty(t, list[1].Refused)

	// All of it, its narrower part, and the bias that was asked for first.
	p = oracletest.Tall(2)
	wrong = p.Clone()
	require.True(t, redraw(wrong, ValueProjection, "head"))
	list = fitterOf(t, p, oracletest.InFloat32(wrong.Run())).freeProjection(ValueProjection)
	require.Len(t, list, 3)
	require.Equal(t, []freeSet{ofHead(ValueProjection, 1), all(ValueProjection), biasOf(ValueProjection)},
		[]freeSet{list[0].free, list[1].free, list[2].free})
	wrong = p.Clone()
	require.True(t, redraw(wrong, ValueProjection, "bias"))
	list = fitterOf(t, p, oracletest.InFloat32(wrong.Run())).freeProjection(ValueProjection)
	require.Len(t, list, 1)
	require.Equal(t, biasOf(ValueProjection), list[0].free)
	require.True(t, list[0].Explains())
}

// The noise of another precision is no other parameter.
func TestRoundingIsNotLocalised(t *testing.T) {
	campaign.SkipShort(t)
	for name, p := range layers(t) {
		if !slices.Contains(some, name) && name != "mha/unmasked" {
			continue
		}
		for _, v := range []variant.Variant{{Store: variant.BFloat16}, {Store: variant.TensorFloat32}} {
			if at, seen := localised(p, p.Trace(), v.Run(p)); seen {
				require.Empty(t, at.named(), "%s: %+v", name, at.holding)
				require.Nil(t, at.heads, name)
			}
		}
	}
}

func BenchmarkLocalise(b *testing.B) {
	p := oracletest.Committed(b, "mha/unmasked")
	trace := p.Trace()
	wrong := p.Clone()
	redraw(wrong, QueryProjection, "weight")
	got := variant.Variant{}.Run(wrong)
	for b.Loop() {
		localised(p, trace, got)
	}
}
