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

// What parameterCases must show: every mistake of these families.
var parameterFamilies = []catalogue.Family{
	catalogue.Weights, catalogue.Biases, catalogue.Files, catalogue.Heads, catalogue.QKNorm, catalogue.CrossAttention,
}

// parameterCases are few that have between them all that the mistakes need: biases, norms, shared
// key heads, a cache, a memory, square weights and others, a function alone, no batch.
var parameterCases = []string{
	"decoder/cache", "decoder/gemma", "decoder/multi-head", "decoder/qk-norm", "decoder/qwen-biases", "layouts/fused-grouped",
	"layouts/neox", "mha/bias-kv", "mha/causal-left-padding", "mha/cross", "mha/cross-kdim", "mha/no-bias", "mha/unbatched",
	"samples/module-bare", "sdpa/causal", "sdpa/gqa", "sdpa/no-batch", "seed/causal",
}

// alike are mistakes that give the same output wherever both can be made.
var alike = map[[2]string]string{
	{"weights-transposed", "weights-column-major"}:             "a square array in the other order is its transpose",
	{"output-weight-transposed", "output-weight-column-major"}: "a square array in the other order is its transpose",
}

// madeOn is what a mistake makes of a problem: its output, nil where it does not apply.
func madeOn(p *oracle.Problem, m catalogue.Mistake) []float64 {
	if !m.Plant(p, rand.New(rand.NewPCG(1, 2))) {
		return nil
	}
	return p.Run().Value
}

func parameterMistakes() (all []catalogue.Mistake) {
	for _, m := range catalogue.Mistakes {
		if slices.Contains(parameterFamilies, m.Family) {
			all = append(all, m)
		}
	}
	return all
}

func problemOf(t *testing.T, name string) *oracle.Problem {
	t.Helper()
	c, err := fixture.Read(fixtures.FS, name)
	require.NoError(t, err)
	return oracle.FromCase(c)
}

// identical compares bits, so that NaN is itself.
func identical(a, b []float64) bool {
	return slices.EqualFunc(a, b, func(x, y float64) bool { return math.Float64bits(x) == math.Float64bits(y) })
}

// apart is the root mean square of a difference over that of b; infinite where only one is finite.
func apart(a, b []float64) float64 {
	var difference, size float64
	for i := range a {
		if math.IsNaN(a[i]) && math.IsNaN(b[i]) {
			continue
		}
		if d := a[i] - b[i]; !math.IsNaN(d) {
			difference += d * d
		} else {
			return math.Inf(1)
		}
		size += b[i] * b[i]
	}
	if difference == 0 {
		return 0
	}
	return math.Sqrt(difference / size)
}

// Every mistake shows on a case. It changes its own copy of the problem and no other, does the same
// each time, and changes nothing where it does not apply.
func TestParameterMistakesChangeTheirCopyAlone(t *testing.T) {
	shown := map[string]bool{}
	for _, name := range parameterCases {
		p := problemOf(t, name)
		shared := p.Cached()
		right := shared.Run().Value // from now on it keeps its queries, keys and values
		for _, m := range parameterMistakes() {
			clone := p.Clone()
			made := madeOn(clone, m)
			if made == nil {
				require.True(t, identical(right, clone.Run().Value), "%s changes %s, and says that it does not", m.ID, name)
				continue
			}
			require.True(t, identical(made, madeOn(p.Clone(), m)), "%s on %s, made twice", m.ID, name)
			require.True(t, identical(made, madeOn(shared.Fork(), m)), "%s on %s, with what is known of the right one", m.ID, name)
			if m.Stage == catalogue.Context {
				require.True(t, identical(made, madeOn(shared.ForkAfterContext(), m)), "%s on %s, with the context of the right one", m.ID, name)
			}
			require.True(t, identical(right, p.Run().Value), "%s on %s: the original is changed", m.ID, name)
			require.True(t, identical(right, shared.Fork().Run().Value), "%s on %s: the shared problem is changed", m.ID, name)
			shown[m.ID] = shown[m.ID] || len(made) == len(right) && apart(made, right) > 1e-6
		}
	}
	for _, m := range parameterMistakes() {
		require.True(t, shown[m.ID], "%s shows on no case", m.ID)
	}
}

// No two mistakes are the same one, but for those that are listed, with the reason.
func TestParameterMistakesAreNotAlike(t *testing.T) {
	mistakes := slices.DeleteFunc(parameterMistakes(), func(m catalogue.Mistake) bool { return m.Random })
	both, differ := map[[2]string]bool{}, map[[2]string]bool{}
	for _, name := range parameterCases {
		p := problemOf(t, name)
		var outputs [][]float64
		for _, m := range mistakes {
			outputs = append(outputs, madeOn(p.Clone(), m))
		}
		for i, a := range mistakes {
			for j, b := range mistakes[:i] {
				if pair := [2]string{b.ID, a.ID}; outputs[i] != nil && outputs[j] != nil {
					both[pair] = true
					differ[pair] = differ[pair] || apart(outputs[i], outputs[j]) > 1e-9
				}
			}
		}
	}
	for pair := range both {
		require.Equal(t, alike[pair] == "", differ[pair], "%v", pair)
	}
	for pair, why := range alike {
		require.True(t, both[pair], "%v (%s): no case has both", pair, why)
	}
}
