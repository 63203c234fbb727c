package catalogue_test

import (
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// group holds families of mistakes, and cases that together have everything that they need.
type group struct {
	name     string
	families []catalogue.Family
	cases    []string

	// alike maps pairs of mistakes to the reason why they give the same output wherever both apply.
	alike map[[2]string]string
}

var scoreFamilies = []catalogue.Family{catalogue.Masks, catalogue.Scales, catalogue.Softmax, catalogue.Scores}

var groups = []group{
	{
		name: "parameters",
		families: []catalogue.Family{
			catalogue.Weights, catalogue.Biases, catalogue.Files, catalogue.Heads, catalogue.QKNorm,
			catalogue.CrossAttention,
		},
		// Biases, norms, shared key heads, a cache, a memory, square and other weights, a function
		// alone, no batch.
		cases: []string{
			"decoder/cache", "decoder/gemma", "decoder/multi-head", "decoder/qk-norm", "decoder/qwen-biases",
			"layouts/fused-grouped", "layouts/neox", "mha/bias-kv", "mha/causal-left-padding", "mha/cross",
			"mha/cross-kdim", "mha/no-bias", "mha/unbatched", "samples/module-bare", "sdpa/causal", "sdpa/gqa",
			"sdpa/no-batch", "seed/causal",
		},
		alike: map[[2]string]string{
			{"weights-transposed", "weights-column-major"}:             "column-major order transposes a square array",
			{"output-weight-transposed", "output-weight-column-major"}: "the same, for one weight",
		},
	},
	{
		name:     "scores",
		families: scoreFamilies,
		// Every mask, scale and term that a score can have.
		cases: []string{
			"mha/causal", "mha/causal-left-padding", "mha/padding", "mha/eval-left-padding", "mha/block",
			"mha/float-mask-causal", "mha/cross", "mha/cross-left-padding", "mha/bias-kv-zero-attn-left-padding",
			"mha/weights-left-padding", "mha/unbatched-padding", "mha/six-heads", "mha/hot", "decoder/cache-chunk",
			"decoder/cache-left-padding", "decoder/decode", "decoder/gemma", "decoder/window",
			"decoder/window-cache", "decoder/sinks", "decoder/softcap", "decoder/relative-bias-cache",
			"decoder/alibi-cache", "decoder/softcap-alibi", "decoder/softcap-relative-bias", "sdpa/causal", "sdpa/causal-lower-right",
			"sdpa/causal-rectangular", "sdpa/decode",
			"sdpa/bool-mask-blank-rows", "sdpa/float-mask-blank-rows", "sdpa/float-mask-lowest-blank-rows",
			"sdpa/float-mask", "sdpa/narrow-values", "sdpa/no-batch", "sdpa/scale", "sdpa/scale-one",
			"sdpa/window-two-sided", "sdpa/window-lower-right", "sdpa/sinks", "sdpa/sinks-window-gqa",
			"sdpa/softcap-window", "sdpa/bfloat16", "sdpa/past", "sdpa/key-lengths", "sdpa/key-lengths-causal",
			"sdpa/first-positions",
		},
		alike: map[[2]string]string{
			{"mask-value-near-zero", "mask-multiplied"}: "a score of -1e-9 acts like 0 to nine digits",
			{"causal-missing", "window-two-sided"}:      "a window without a causal mask is two-sided",
		},
	},
	{
		name:     "positions",
		families: []catalogue.Family{catalogue.RoPE, catalogue.KVCache, catalogue.ALiBi, catalogue.RelativeBias},
		// RoPE of both styles, on whole heads and on parts, caches, ALiBi and relative biases.
		cases: []string{
			"decoder/cache", "decoder/cache-chunk", "decoder/cache-left-padding", "decoder/decode",
			"decoder/gemma", "decoder/window-cache", "decoder/multi-head", "decoder/qk-norm",
			"decoder/qwen-biases", "decoder/rope-factor", "decoder/rope-half-left-padding",
			"decoder/rope-interleaved", "decoder/rope-meta", "decoder/rope-partial", "layouts/neox",
			"decoder/alibi", "decoder/alibi-cache", "decoder/alibi-decode", "decoder/alibi-left-padding",
			"decoder/softcap-alibi", "sdpa/alibi", "sdpa/alibi-decode", "sdpa/alibi-eight",
			"sdpa/alibi-lower-right", "decoder/relative-bias", "decoder/relative-bias-cache",
			"decoder/relative-bias-cross", "rotary/half", "rotary/merged-interleaved-partial", "rotary/tokens",
			"sdpa/past", "sdpa/first-positions-window",
		},
		alike: map[[2]string]string{
			{"alibi-missing", "alibi-missing-at-decode"}: "ALiBi missing for the only query is ALiBi missing",
		},
	},
}

func mistakesOf(families []catalogue.Family) (all []catalogue.Mistake) {
	for _, m := range catalogue.Mistakes {
		if slices.Contains(families, m.Family) {
			all = append(all, m)
		}
	}
	return all
}

// outputs holds the output of each mistake on each case that it applies to, by id and case.
type outputs map[string]map[string]oracle.Field

// Each mistake changes the output of some case, and no two mistakes are the same. Planting is
// repeatable, works in forks of a cached problem, and changes nothing but its own copy.
func TestMistakes(t *testing.T) {
	for _, g := range groups {
		t.Run(g.name, func(t *testing.T) {
			mistakes, right, planted := mistakesOf(g.families), map[string]oracle.Field{}, outputs{}
			for _, name := range g.cases {
				right[name] = plantAll(t, mistakes, name, planted)
			}
			for _, m := range mistakes {
				shown := false
				for name, out := range planted[m.ID] {
					shown = shown || apart(out.Value, right[name].Value) > 1e-6
				}
				require.True(t, shown, "%s changes no case", m.ID)
			}
			requireDistinct(t, g, planted)
		})
	}
}

// plantAll plants every mistake in copies of the case's problem. It adds their outputs to planted,
// and returns the right output.
func plantAll(t *testing.T, mistakes []catalogue.Mistake, name string, planted outputs) oracle.Field {
	t.Helper()
	p := problemOf(t, name)
	shared := p.Cached()
	right := shared.Run() // from now on shared keeps its queries, keys and values
	for _, m := range mistakes {
		clone := p.Clone()
		out := made(m, clone)
		if out == nil {
			require.True(t, sameBits(right, clone.Run()), "%s does not apply to %s, but changes it", m.ID, name)
			continue
		}
		require.True(t, sameBits(*out, *made(m, p.Clone())), "%s on %s, planted twice", m.ID, name)
		require.True(t, sameBits(*out, *made(m, shared.Fork())), "%s on %s, in a fork", m.ID, name)
		if m.Stage == catalogue.Context {
			later := made(m, shared.ForkAfterContext())
			require.True(t, sameBits(*out, *later), "%s on %s, in a fork after the context", m.ID, name)
		}
		if planted[m.ID] == nil {
			planted[m.ID] = map[string]oracle.Field{}
		}
		planted[m.ID][name] = *out
	}
	require.True(t, sameBits(right, p.Run()), "a mistake changes the original of %s", name)
	require.True(t, sameBits(right, shared.Fork().Run()), "a mistake changes the cached problem of %s", name)
	return right
}

// requireDistinct requires that two mistakes that apply to the same case differ on at least one
// such case, unless the group lists them as alike.
func requireDistinct(t *testing.T, g group, planted outputs) {
	t.Helper()
	seen := map[[2]string]bool{}
	mistakes := mistakesOf(g.families)
	for i, a := range mistakes {
		for _, b := range mistakes[i+1:] {
			pair, common, farthest := [2]string{a.ID, b.ID}, 0, 0.0
			for name, out := range planted[a.ID] {
				if other, ok := planted[b.ID][name]; ok {
					common++
					farthest = math.Max(farthest, apart(out.Value, other.Value))
				}
			}
			if common > 0 {
				seen[pair] = true
				require.Equal(t, g.alike[pair] == "", farthest > 1e-6, "%v differ by %.3g at most", pair, farthest)
			}
		}
	}
	for pair, why := range g.alike {
		require.True(t, seen[pair], "%v (%s): no case has both", pair, why)
	}
}

// problemOf returns the problem of a committed case.
func problemOf(t *testing.T, name string) *oracle.Problem {
	t.Helper()
	c, err := fixture.Read(fixtures.FS, name)
	require.NoError(t, err)
	return oracle.FromCase(c)
}

// made plants a mistake in p, with the same draws each time, and returns the output. It returns nil
// if the mistake does not apply.
func made(m catalogue.Mistake, p *oracle.Problem) *oracle.Field {
	if !m.Plant(p, rand.New(rand.NewPCG(1, 2))) {
		return nil
	}
	out := p.Run()
	return &out
}

// sameBits reports whether two outputs have the same bits, values and variances. NaN equals itself.
func sameBits(a, b oracle.Field) bool {
	same := func(x, y float64) bool { return math.Float64bits(x) == math.Float64bits(y) }
	return slices.EqualFunc(a.Value, b.Value, same) && slices.EqualFunc(a.Variance, b.Variance, same)
}

// apart returns RMS(a - b) / RMS(b), or +Inf if only one of two values is finite.
func apart(a, b []float64) float64 {
	var difference, size float64
	for i := range a {
		switch d := a[i] - b[i]; {
		case math.IsNaN(a[i]) && math.IsNaN(b[i]):
		case math.IsNaN(d):
			return math.Inf(1)
		default:
			difference += d * d
			size += b[i] * b[i]
		}
	}
	if difference == 0 {
		return 0
	}
	return math.Sqrt(difference / size)
}

// Mistakes with scores leave the projections alone, so forks can share queries, keys and values.
func TestScoreMistakesBeginAtTheScores(t *testing.T) {
	for _, m := range mistakesOf(scoreFamilies) {
		require.Equal(t, catalogue.Score, m.Stage, m.ID)
	}
}

// A mistake applies to a case with the feature that it gets wrong, and not to a case without it.
func TestMistakesApply(t *testing.T) {
	for _, tc := range []struct{ id, to, not string }{
		{"rope-missing", "decoder/cache", "decoder/alibi"},
		{"rope-whole-head", "decoder/rope-partial", "decoder/multi-head"},
		{"rope-frequencies-of-head", "layouts/neox", "decoder/multi-head"},
		{"rope-factor-ignored", "decoder/rope-factor", "decoder/rope-partial"},
		{"rope-biases-unpermuted", "decoder/qwen-biases", "decoder/multi-head"},
		{"rope-offset-lost", "decoder/decode", "decoder/multi-head"},
		{"cache-rotated-twice", "decoder/cache", "decoder/alibi-cache"},
		{"cache-ignored", "decoder/alibi-cache", "decoder/alibi"},
		{"alibi-slopes-not-power-of-two", "sdpa/alibi", "sdpa/alibi-eight"},
		{"alibi-past-ignored", "sdpa/alibi-lower-right", "sdpa/alibi"},
		{"alibi-missing-at-decode", "sdpa/alibi-decode", "sdpa/alibi-lower-right"},
		{"relative-past-ignored", "decoder/relative-bias-cache", "decoder/relative-bias-cross"},
	} {
		m, known := catalogue.ByID(tc.id)
		require.True(t, known, tc.id)
		require.True(t, m.Plant(problemOf(t, tc.to), nil), "%s on %s", tc.id, tc.to)
		require.False(t, m.Plant(problemOf(t, tc.not), nil), "%s on %s", tc.id, tc.not)
	}
}

// Selected rows equal the same rows of the whole output, for every mistake: with and without noise,
// in clones and in forks.
func TestMistakesInSomeRows(t *testing.T) {
	for _, name := range []string{
		"mha/causal-left-padding", "mha/cross-kdim", "mha/block-per-head", "decoder/gemma",
		"decoder/rope-half-left-padding", "decoder/alibi-cache", "sdpa/bool-mask-whole", "sdpa/gqa",
		"samples/sdpa-no-batch-causal",
	} {
		p := problemOf(t, name)
		shared := p.Cached()
		right := shared.Run()
		for _, m := range catalogue.Mistakes {
			whole := made(m, p.Clone())
			if whole == nil {
				continue
			}
			copies := map[string]*oracle.Problem{"a clone": p.Clone(), "a fork": shared.Fork()}
			if m.Stage == catalogue.Context {
				copies["a fork after the context"] = shared.ForkAfterContext()
			}
			for kind, wrong := range copies {
				require.True(t, m.Plant(wrong, rand.New(rand.NewPCG(1, 2))))
				requireRows(t, wrong, *whole, m.ID+" on "+name+" in "+kind)
			}
		}
		require.True(t, sameBits(right, shared.Fork().Run()), "%s was changed", name)
	}
}

// requireRows computes the last row, row 1 and the middle row of p alone, and compares them with
// the whole output.
func requireRows(t *testing.T, p *oracle.Problem, whole oracle.Field, what string) {
	t.Helper()
	width := whole.Shape[len(whole.Shape)-1]
	rows := []int{len(whole.Value)/width - 1, 1, len(whole.Value) / width / 2}
	noisy, err := p.Rows(t.Context(), rows, oracle.WithNoise)
	require.NoError(t, err)
	plain, err := p.Rows(t.Context(), rows, oracle.ValuesAlone)
	require.NoError(t, err)
	require.Nil(t, plain.Variance)
	for i, row := range rows {
		want := oracle.Field{Value: whole.Value[row*width:][:width], Variance: whole.Variance[row*width:][:width]}
		got := oracle.Field{Value: noisy.Value[i*width:][:width], Variance: noisy.Variance[i*width:][:width]}
		require.True(t, sameBits(want, got), "%s, row %d", what, row)
		want.Variance, got = nil, oracle.Field{Value: plain.Value[i*width:][:width]}
		require.True(t, sameBits(want, got), "%s, row %d without noise", what, row)
	}
}

// The context is averaged over the heads, and then merged so that a row holds parts of few heads.
func TestMixedHeadsInSomeRows(t *testing.T) {
	p := problemOf(t, "mha/causal").Clone()
	for _, id := range []string{"heads-averaged", "heads-merge-untransposed"} {
		m, _ := catalogue.ByID(id)
		require.True(t, m.Plant(p, nil))
	}
	whole := p.Run()
	one, err := p.Rows(t.Context(), []int{10}, oracle.ValuesAlone)
	require.NoError(t, err)
	require.Equal(t, whole.Value[10*40:][:40], one.Value)
}

// uncovered lists the collected faults that are no mistake, no number and no identity, with the
// reason.
var uncovered = map[string]string{
	"A22": "bytes in the wrong order give infinities, NaN and zeros: no replay matches a non-finite output",
	"J01": "float32 everywhere is right for a float32 case",
	"J06": "a bfloat16 softmax between float32 steps: the class rounding shows its size, but its steps are unknown",
	"J09": "float16 sums depend on the order of addition, which is unknown: the class rounding shows their size",
}

// Every collected fault is a mistake, a number, an identity, or listed above with the reason.
func TestEveryCollectedFaultIsCovered(t *testing.T) {
	faults, covered := readFaults(t), map[string]bool{}
	cover := func(id string, refs []string) {
		for _, ref := range refs {
			require.True(t, faults[ref], "%s covers %s, which is no collected fault", id, ref)
			covered[ref] = true
		}
	}
	for _, m := range catalogue.Mistakes {
		cover(m.ID, m.Refs)
	}
	for _, n := range catalogue.Numbers {
		cover(n.ID, n.Refs)
	}
	for _, identity := range catalogue.Identities {
		cover(identity.ID, identity.Refs)
	}
	for ref := range faults {
		_, listed := uncovered[ref]
		require.NotEqual(t, listed, covered[ref], "%s: listed as uncovered %t, covered %t", ref, listed, covered[ref])
	}
	for ref := range uncovered {
		require.True(t, faults[ref], "%s is no collected fault", ref)
	}
}

// readFaults returns the ids of the collected faults, the first column of testdata/faults.txt.
func readFaults(t *testing.T) map[string]bool {
	t.Helper()
	text, err := os.ReadFile("testdata/faults.txt")
	require.NoError(t, err)
	faults := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "#") {
			columns := strings.Split(strings.TrimSpace(line), "\t")
			require.Len(t, columns, 3)
			require.False(t, faults[columns[0]], "%s is listed twice", columns[0])
			faults[columns[0]] = true
		}
	}
	return faults
}
