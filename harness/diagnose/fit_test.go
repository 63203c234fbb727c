package diagnose

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/compare"
	"github.com/difftest/difftest/harness/fixture"
	"github.com/difftest/difftest/harness/internal/variant"
	"github.com/difftest/difftest/harness/oracle"
)

// redrawings are what may be drawn anew of a map: all of it, the part of its last head, its bias.
var redrawings = []string{"weight", "head", "bias"}

// redraw draws a part of a map anew, of the same size, in float32. It says false where there is none.
func redraw(p *oracle.Problem, m Map, part string) bool {
	l := p.Layer
	linear, heads := l.Linears()[m], headsOf(l, m)
	if part == "bias" && linear.Bias == nil || part == "head" && heads == 1 {
		return false
	}
	free := freedom{maps: []Map{m}, bias: part == "bias"}
	if part == "head" {
		free.heads = []int{heads - 1}
	}
	r := rand.New(rand.NewPCG(11, uint64(m)))
	weight, bias := rms(linear.Weight), rms(linear.Bias)
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
	truth := expected(p.Run())
	c := compare.Outputs(truth.Shape, got, truth)
	if c.OK() || c.NonFinite > 0 {
		return at, false
	}
	return newFitter(p, trace, truth.Shape, got, names).localise(c.Rel), true
}

// said lists the maps that a localisation speaks of.
func (at localisation) said() []Map {
	list := slices.Clone(at.also)
	for _, x := range at.holding {
		list = append(list, x.free.maps...)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// Each part of each map is drawn anew on each committed layer, and computed in float32 by code that shares nothing with
// the oracle: the map is found, or is among several that the case cannot tell apart, or nothing is said.
func TestAnUnknownParameterIsLocalised(t *testing.T) {
	count := map[string]int{}
	cases := layers(t)
	for _, name := range sorted(cases) {
		p := cases[name]
		trace := p.Trace()
		for m := QueryMap; m <= OutputMap; m++ {
			for _, part := range redrawings {
				wrong := p.Clone()
				if !redraw(wrong, m, part) {
					continue
				}
				at, seen := localised(p, trace, variant.Variant{}.Run(wrong))
				if !seen {
					continue
				}
				said, verdict := at.said(), "class"
				switch {
				case len(at.holding) == 0:
					verdict = "refused"
					if at.within != nil {
						verdict = "head"
					}
				case !slices.Contains(said, m):
					verdict = "WRONG"
					t.Errorf("%s: the %s %s was drawn anew, and it is said: %v", name, m, part, at.finding().reasons)
				case len(said) == 1:
					verdict = "unique"
				}
				if os.Getenv("VERBOSE") != "" {
					fmt.Println(name, m, part, verdict, at.headText(names, p.Layer))
					if f := at.finding(); f != nil {
						fmt.Println("   ", strings.Join(f.reasons, "\n    "))
					}
				}
				count[fmt.Sprintf("%s %s: %s", m, part, verdict)]++
			}
		}
	}
	for _, line := range sorted(count) {
		t.Log(line, count[line])
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

var _ = math.Abs
