package catalogue_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// casesOfScores have together every mask, scale and term that a score can have.
var casesOfScores = []string{
	"mha/causal", "mha/causal-left-padding", "mha/padding", "mha/eval-left-padding", "mha/block", "mha/float-mask-causal", "mha/cross",
	"mha/cross-left-padding", "mha/bias-kv-zero-attn-left-padding", "mha/weights-left-padding", "mha/unbatched-padding", "mha/six-heads", "mha/hot",
	"decoder/cache-chunk", "decoder/cache-left-padding", "decoder/decode", "decoder/gemma", "decoder/window", "decoder/window-cache",
	"decoder/sinks", "decoder/softcap", "decoder/relative-bias-cache", "decoder/alibi-cache",
	"sdpa/causal", "sdpa/causal-lower-right", "sdpa/decode", "sdpa/bool-mask-blank-rows", "sdpa/float-mask-blank-rows",
	"sdpa/float-mask-lowest-blank-rows", "sdpa/float-mask", "sdpa/narrow-values", "sdpa/no-batch", "sdpa/scale", "sdpa/scale-one",
	"sdpa/window-two-sided", "sdpa/window-lower-right", "sdpa/sinks", "sdpa/sinks-window-gqa", "sdpa/softcap-window", "sdpa/bfloat16",
}

// sameEverywhere are mistakes that no case tells apart.
var sameEverywhere = []struct{ a, b, why string }{
	{"mask-value-near-zero", "mask-multiplied", "a score of -1e-9 is that of 0 to nine digits"},
	{"causal-missing", "window-two-sided", "a window is a distance: without the causal mask it is two-sided"},
}

func problems(t *testing.T) map[string]*oracle.Problem {
	all := map[string]*oracle.Problem{}
	for _, name := range casesOfScores {
		c, err := fixture.Read(fixtures.FS, name)
		require.NoError(t, err)
		all[name] = oracle.FromCase(c)
	}
	return all
}

func ofScores() []catalogue.Mistake {
	families := []catalogue.Family{catalogue.Masks, catalogue.Scales, catalogue.Softmax, catalogue.Scores}
	return slices.DeleteFunc(slices.Clone(catalogue.Mistakes), func(m catalogue.Mistake) bool { return !slices.Contains(families, m.Family) })
}

// made plants a mistake, the same draws each time, and gives the result; nil where it does not apply.
func made(m catalogue.Mistake, p *oracle.Problem) *oracle.Field {
	if !m.Plant(p, rand.New(rand.NewPCG(1, 2))) {
		return nil
	}
	out := p.Run()
	return &out
}

// bits tells every value from every other, NaN from itself.
func bits(f oracle.Field) []uint64 {
	var all []uint64
	for _, v := range slices.Concat(f.Value, f.Variance) {
		all = append(all, math.Float64bits(v))
	}
	return all
}

// distance is RMS(a - b) / RMS(b), infinite where one alone is finite.
func distance(a, b oracle.Field) float64 {
	var off, size float64
	for i, v := range b.Value {
		switch wrong := a.Value[i]; {
		case math.IsNaN(v) && math.IsNaN(wrong):
		case math.IsNaN(v - wrong), math.IsInf(v-wrong, 0):
			return math.Inf(1)
		default:
			off += (wrong - v) * (wrong - v)
			size += v * v
		}
	}
	return math.Sqrt(off / max(size, math.SmallestNonzeroFloat64))
}

// Each mistake changes the output of some case, the same way each time and also beside shared queries
// and keys, and nothing of the problem that it was planted in a clone of.
func TestMistakesOfScores(t *testing.T) {
	all := problems(t)
	outputs := map[string]map[string]oracle.Field{}
	for _, m := range ofScores() {
		require.Equal(t, catalogue.Score, m.Stage, m.ID)
		outputs[m.ID] = map[string]oracle.Field{}
	}
	for name, p := range all {
		right, shared := p.Run(), p.Cached()
		for _, m := range ofScores() {
			out := made(m, p.Clone())
			again, later := made(m, p.Clone()), made(m, shared.Fork())
			require.Equal(t, out == nil, later == nil, "%s on %s", m.ID, name)
			if out == nil {
				untouched := p.Clone()
				m.Plant(untouched, nil)
				require.Equal(t, bits(right), bits(untouched.Run()), "%s changes %s, to which it does not apply", m.ID, name)
				continue
			}
			require.Equal(t, bits(*out), bits(*again), "%s twice on %s", m.ID, name)
			require.Equal(t, bits(*out), bits(*later), "%s late on %s", m.ID, name)
			outputs[m.ID][name] = *out
		}
		require.Equal(t, bits(right), bits(p.Run()), "%s was changed", name)
		require.Equal(t, bits(right), bits(shared.Run()), "%s was changed where it is shared", name)
	}
	for id, made := range outputs {
		changed := 0
		for name, out := range made {
			if distance(out, all[name].Run()) > 1e-6 {
				changed++
			}
		}
		require.Positive(t, changed, "%s changes no case", id)
	}
	requireDistinct(t, outputs)
}

// requireDistinct: every two mistakes give different outputs in some case that both apply to, or do not
// apply to the same cases. Those that are the same everywhere are the ones that are known to be.
func requireDistinct(t *testing.T, outputs map[string]map[string]oracle.Field) {
	known := func(a, b string) bool {
		return slices.ContainsFunc(sameEverywhere, func(s struct{ a, b, why string }) bool { return s.a == a && s.b == b })
	}
	found := 0
	mistakes := ofScores()
	for i, a := range mistakes {
		for _, b := range mistakes[i+1:] {
			common, farthest := 0, 0.0
			for name, out := range outputs[a.ID] {
				if other, both := outputs[b.ID][name]; both {
					common++
					farthest = math.Max(farthest, distance(out, other))
				}
			}
			if common > 0 && farthest < 1e-6 {
				require.True(t, known(a.ID, b.ID), "%s and %s are the same in %d cases", a.ID, b.ID, common)
				found++
			}
		}
	}
	require.Len(t, sameEverywhere, found)
}
