package judge

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/diagnose"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/harnesstest"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/random"
	"github.com/difftest/difftest/harness/internal/variant"
)

// Options in all their combinations, also those that no committed case has, mean the same to three
// implementations that share no arithmetic: the attention package, the oracle, and a float32 variant.
func TestRandomCasesAgree(t *testing.T) {
	for n := range uint64(1500) {
		r := random.Draw{Rand: rand.New(rand.NewPCG(20260301, n))}
		c := r.Layer()
		if n%3 == 0 {
			c = r.Function()
		}
		requireAgreement(t, fmt.Sprintf("case %d: %+v %+v", n, c.Layer, c.Options), c)
	}
}

// requireAgreement wants outputs and weights within the noise of the oracle.
func requireAgreement(t *testing.T, name string, c *fixture.Case) {
	t.Helper()
	problem := oracle.FromCase(c)
	own := problem.Run().Expected()
	truth := inLayout(c, own)
	ran := harnesstest.BuiltIn().Run(t.Context(), c)
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
		r := random.Draw{Rand: rand.New(rand.NewPCG(20260302, n))}
		c := r.Layer()
		if n%3 == 0 {
			c = r.Function()
		}
		problem := oracle.FromCase(c)
		own := problem.Run().Expected()
		reference := diagnose.NewReference(problem, own)
		require.NotEmpty(t, reference.Visibility().Absent)
		wrong := slices.Clone(own.Value)
		for i := range wrong {
			wrong[i] += 0.01 * float64(i%7)
		}
		require.NotEmpty(t, reference.Diagnose(t.Context(), wrong, compare.Outputs(own.Shape, wrong, own)).Class)
	}
}
